"""Evaluation: what a model says, how toxic judges find it, and how fluent it still is."""
