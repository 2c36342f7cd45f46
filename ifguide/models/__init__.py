"""Models: loading, the weights that are tracked, and the only hooks in the project."""
