"""The page's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What the page shows.

    Args:
        title: heading of the page.
        top: number of highest-ranked documents on it.
    """

    title: str = "ifguide: what taught the model to be toxic"
    top: int = 200
