"""A clock that stands still while other work on the machine keeps this thread waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Tick = Callable[[int], None]  # called when so many tokens are done


def undisturbed() -> float:
    """Return seconds, as if nothing else ran here; elsewhere than on Linux those of the wall.

    The two numbers are taken once more where the thread had to wait between them.
    """
    while True:
        before, now, after = waited(), time.perf_counter(), waited()
        if before == after:
            return now - after


def waited() -> float:
    """Return the seconds that this thread could run and another one had the processor.

    It is the second number of the thread's ``schedstat``, see proc(5).
    """
    place = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    try:
        return int(place.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def gap(work: Callable[[Tick], Any]) -> float:
    """Return the median seconds between two batches of something that tells its progress."""
    ticks: list[float] = []
    work(lambda _: ticks.append(undisturbed()))
    return float(np.median(np.diff(ticks)))


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds of something, the shorter of two turns."""
    turns = []
    for _ in range(2):
        started = undisturbed()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        turns.append(undisturbed() - started)
    return min(turns)
