"""H: the Fisher information and its factorisations."""
