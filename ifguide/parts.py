"""What a long piece of work is doing now, for whoever shows its progress.

The library tells it here, where it is done; nothing is shown unless somebody looks.
"""

from __future__ import annotations

_now = ""


def doing(part: str) -> None:
    """Tell which part begins, such as ``decomposing lm_head (3 of 25)``; "" when it is over."""
    global _now
    _now = part


def now() -> str:
    """Return the part that is being done, or ""."""
    return _now
