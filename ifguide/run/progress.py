"""One progress line a stage, on the error stream."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from ifguide.distributed import ranks
from ifguide.parts import heard_by

EVERY = 8.0  # seconds between two lines where no terminal shows them: on a busy machine below 10
COUNTED = "{desc} {n_fmt} tokens, {rate_fmt} [{elapsed}]"
NOT_COUNTED = "{desc} [{elapsed}]"


@contextmanager
def progress_line(
    stage: str, total: int | None, *, quiet: bool, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the line on by some tokens; it shows rate and time left.

    A terminal is refreshed ten times a second, anything else gets a line every ``EVERY`` seconds
    and one at the end, whether tokens are counted or not; it names the part that the stage is at.
    A stage that counts no tokens shows the time it took.
    """
    terminal = sys.stderr.isatty()
    name = f"{stage:<10}"
    with tqdm(
        total=total,
        initial=done,
        desc=name,
        unit=" tokens",
        unit_scale=True,
        bar_format=None if total else NOT_COUNTED,
        disable=quiet or not ranks.is_main(),
        mininterval=0.1 if terminal else EVERY,
        file=sys.stderr if terminal else _Lines(sys.stderr),
    ) as line:

        def move(tokens: int) -> None:
            if line.total is None:
                line.bar_format = COUNTED
            elif line.n + tokens > line.total:
                line.total = line.n + tokens  # an estimate, where the last batch is padded
            line.update(tokens)

        hear = heard_by(lambda part: line.set_description_str(f"{name} {part}", refresh=False))
        with hear, _refreshed(line, 1.0 if terminal else EVERY):
            yield move
        line.set_description_str(name, refresh=False)


@contextmanager
def _refreshed(line: tqdm, seconds: float) -> Iterator[None]:
    """Draw a line again every so often, though nothing may move it."""
    stop = threading.Event()

    def draw() -> None:
        while not stop.wait(seconds):
            line.refresh()

    drawer = threading.Thread(target=draw, daemon=True)
    if not line.disable:
        drawer.start()
    try:
        yield
    finally:
        stop.set()
        if not line.disable:
            drawer.join()


class _Lines:
    """A stream on which what would be drawn over the last line becomes a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write what is not blank as one line."""
        shown = text.strip()
        if shown:
            self.stream.write(f"{shown}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()
