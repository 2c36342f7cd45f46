"""The page's part of a run's YAML."""

from __future__ import annotations

from dataclasses import dataclass

from ifguide.ranges import Count, check_ranges


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What the page shows.

    Args:
        title: heading of the page.
        top: number of highest-ranked documents on it.
    """

    title: str = "ifguide: what taught the model to be toxic"
    top: Count = 200

    def __post_init__(self) -> None:
        check_ranges(self, "report")
