"""What a stage's ``make`` is given beside its settings and its nouns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

from ifguide.distributed import ranks
from ifguide.evaluation.figures import Cost
from ifguide.files import describe, write_sealed
from ifguide.run.memory import peak_rss, reset_peak_rss

COST = "cost.json"
SCRATCH = "scratch"  # files a stage needs only while it is being made
FRESH = "fresh"  # files that each attempt writes anew, until all of them are whole
JOURNAL = "journal-{rank}.jsonl"  # the files that are whole, a line each
COST_EVERY = 10  # seconds


@final
class Work:
    """Where a stage leaves what is done so far, and whom it tells of its progress.

    Args:
        folder: the stage's folder while it is being made; None for a stage that has none.
        spent: what earlier attempts have cost.
        costs: what each finished stage that this one rests on has cost, by name.
        weights: what the weights of each model among them are known by, by the stage's name.
        fingerprint: what the stage is known by.
    """

    def __init__(
        self,
        folder: Path | None = None,
        spent: Cost | None = None,
        costs: Callable[[], Mapping[str, Cost]] = dict,
        fingerprint: str = "",
        weights: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._folder, self._costs, self.fingerprint = folder, costs, fingerprint
        self._weights = weights
        self._seconds = spent.seconds if spent else 0.0
        self.tokens = spent.tokens if spent else 0
        self.line: Callable[[int], None] = lambda tokens: None
        self._started, self._kept = time.monotonic(), 0.0
        reset_peak_rss()

    @property
    def path(self) -> Path:
        """The stage's folder while it is being made.

        Raises:
            RuntimeError: the stage has none.
        """
        if self._folder is None:
            raise RuntimeError("a stage that is not kept has no folder to write to")
        return self._folder

    @property
    def scratch(self) -> Path:
        """A folder that is dropped when the stage is whole; checkpoints lie here."""
        folder = self.path / SCRATCH
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def fresh(self) -> Path:
        """A folder for what each attempt writes anew; its files move up when the stage is whole."""
        folder = self.path / FRESH
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def costs(self) -> Mapping[str, Cost]:
        """What each finished stage that this one rests on has cost, by name."""
        return self._costs()

    def put(self, written: Path, file: Path) -> None:
        """Give a file that is whole its name, told before: what nothing tells of is not ours."""
        self._tell(file, describe(written))
        written.replace(file)

    @property
    def weights(self) -> Mapping[str, str]:
        """The checksum of the weights of each model that this stage rests on, by the stage's name.

        What no stage has made is there as ``model``, where it lies on this machine.
        """
        return self._weights()

    def keep(self, file: Path) -> None:
        """Tell that a file is whole, so that another attempt may go on from it."""
        self._tell(file, describe(file))

    def _tell(self, file: Path, described: Mapping[str, Any]) -> None:
        entry = {"file": file.relative_to(self.path).as_posix(), **described}
        journal = self.path / JOURNAL.format(rank=ranks.rank())
        with journal.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")

    def progress(self, tokens: int) -> None:
        """Count tokens done; every ten seconds what the stage has cost is kept on disk."""
        self.tokens += tokens
        self.line(tokens)
        if self._folder is not None and time.monotonic() - self._kept > COST_EVERY:
            self.keep_cost()

    def keep_cost(self) -> None:
        """Write what the stage has cost so far."""
        self._kept = time.monotonic()
        if ranks.is_main():
            write_sealed(self.path / COST, self.cost())

    def cost(self) -> Cost:
        """Return seconds and tokens over all attempts, and the peak memory of this one."""
        seconds = self._seconds + time.monotonic() - self._started
        return Cost(seconds=round(seconds, 3), tokens=self.tokens, peak_rss_bytes=peak_rss())
