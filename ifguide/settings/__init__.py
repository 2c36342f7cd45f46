"""The settings of a run: their types, their reader, their manual."""
