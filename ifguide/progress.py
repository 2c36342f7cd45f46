"""One progress line a stage, on the error stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from ifguide import distributed


@contextmanager
def progress_line(
    stage: str, total: int | None, *, quiet: bool, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the line on; it shows rate and time left.

    A terminal is refreshed ten times a second, anything else gets a line every 15 seconds.
    """
    terminal = sys.stderr.isatty()
    with tqdm(
        total=total,
        initial=done,
        desc=f"{stage:<10}",
        unit=" tokens",
        unit_scale=True,
        disable=quiet or not distributed.is_main(),
        mininterval=0.1 if terminal else 15,
        leave=True,
        file=sys.stderr,
    ) as line:
        yield lambda count: (line.update(count), None)[1]
