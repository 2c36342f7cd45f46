"""A clock that stands still while other work on the machine keeps this thread waiting."""

from __future__ import annotations

import threading
import time
from pathlib import Path


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
