"""From scores to the tokens that training should not learn."""

from ifguide.selection.select import SelectionConfig, select

__all__ = ["SelectionConfig", "select"]
