"""One progress line a stage, on the error stream."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from ifguide import parts
from ifguide.distributed import ranks

COUNTED = "{desc} {n_fmt} tokens, {rate_fmt} [{elapsed}{postfix}]"
NOT_COUNTED = "{desc} [{elapsed}{postfix}]"
INTERVAL = 10.0  # seconds between lines where the error stream is no terminal


@contextmanager
def progress_line(
    stage: str, total: int | None, *, quiet: bool, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the line on by some tokens; it shows rate and time left.

    A terminal is refreshed ten times a second, anything else gets a line every ``INTERVAL`` seconds
    and one at the end, with the part of the stage that is being done, whether tokens are counted
    meanwhile or not. A stage that counts no tokens shows the time it took.
    """
    parts.doing("")
    terminal = sys.stderr.isatty()
    with (
        tqdm(
            total=total,
            initial=done,
            desc=f"{stage:<10}",
            unit=" tokens",
            unit_scale=True,
            bar_format=None if total else NOT_COUNTED,
            disable=quiet or not ranks.is_main(),
            mininterval=0.1 if terminal else INTERVAL,
            file=sys.stderr if terminal else _Lines(sys.stderr),
        ) as line,
        _kept_alive(line, 1.0 if terminal else INTERVAL),
    ):

        def move(tokens: int) -> None:
            if line.total is None:
                line.bar_format = COUNTED
            elif line.n + tokens > line.total:
                line.total = line.n + tokens  # an estimate, where the last batch is padded
            line.update(tokens)

        yield move


@contextmanager
def _kept_alive(line: tqdm, interval: float) -> Iterator[None]:
    """Draw the line after each ``interval`` seconds in which nothing else did."""
    over = threading.Event()

    def draw() -> None:
        drawn = 0.0
        while not over.wait(interval):
            line.set_postfix_str(parts.now(), refresh=False)
            if line.last_print_t == drawn:
                line.refresh()
            drawn = line.last_print_t

    thread = threading.Thread(target=draw, daemon=True)
    if not line.disable:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()
        if not line.disable:
            line.set_postfix_str("", refresh=False)


@runtime_checkable
class _Stream(Protocol):
    def write(self, text: str, /) -> Any: ...
    def flush(self) -> None: ...


class _Lines:
    """A stream on which what would be drawn over the last line becomes a line of its own."""

    def __init__(self, stream: _Stream) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write what is not blank as one line."""
        shown = text.strip()
        if shown:
            self.stream.write(f"{shown}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()
