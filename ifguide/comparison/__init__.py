"""Every method from the same start, on the same prompts, by the same judges."""

from ifguide.comparison.compare import Comparison

__all__ = ["Comparison"]
