"""Training with some tokens suppressed."""
