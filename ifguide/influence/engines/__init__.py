"""The score engines: ``jvp``, ``difference``, ``position``."""
