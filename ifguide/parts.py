"""What the program is at, told by whatever may take long and heard by whoever shows progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

_hearers: list[Callable[[str], None]] = []


def tell(part: str) -> None:
    """Say which part of the work begins, or how far it is: ``reading posts, record 2000``."""
    for hear in _hearers:
        hear(part)


def told(items: Iterable[Item], part: str, *, every: int = 1) -> Iterator[Item]:
    """Yield the items; before every so many the part is told with the number that comes."""
    for number, item in enumerate(items):
        if number % every == 0:
            tell(f"{part} {number:,}")
        yield item


@contextmanager
def heard_by(hear: Callable[[str], None]) -> Iterator[None]:
    """Let a function hear what is told meanwhile."""
    _hearers.append(hear)
    try:
        yield
    finally:
        _hearers.remove(hear)
