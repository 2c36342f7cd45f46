"""A run: its stages, and the folder that keeps them."""
