"""From scores to the tokens that training should not learn."""

from ifguide.selection.select import SelectionConfig, select, select_budgets
from ifguide.selection.smooth import SmoothingConfig, smooth

__all__ = ["SelectionConfig", "SmoothingConfig", "select", "select_budgets", "smooth"]
