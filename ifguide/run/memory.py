"""The process's peak memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def reset_peak_rss() -> None:
    """Start a new measurement, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then the process's


def peak_rss() -> int:
    """Return the bytes this process held at most since ``reset_peak_rss``, or ever."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def held_memory() -> int:
    """Return the bytes that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_rss()
    return pages * resource.getpagesize()


def memory_of_machine() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def swap_of_machine() -> int:
    """Return the bytes of swap space; 0 where that is not told."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = (line.split() for line in lines if line.startswith("SwapTotal:"))
    return next((int(words[1]) * 1024 for words in found), 0)
