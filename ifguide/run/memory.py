"""The process's peak memory."""

from __future__ import annotations

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
