"""From scores to the tokens that training should not learn."""

from ifguide.selection.blend import LexiconConfig, blend
from ifguide.selection.select import SelectionConfig, select, select_budgets
from ifguide.selection.smooth import SmoothingConfig, smooth

__all__ = [
    "LexiconConfig",
    "SelectionConfig",
    "SmoothingConfig",
    "blend",
    "select",
    "select_budgets",
    "smooth",
]
