"""Judges: what gives a text a toxicity in [0, 1]."""
