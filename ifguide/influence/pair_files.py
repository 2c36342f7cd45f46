"""The files of a perturbed pair, and of the log-probabilities that an engine gives under it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ifguide.errors import InputError
from ifguide.files import read_json
from ifguide.ranges import Range

PAIR = "pair.json"
DEFAULT_STEP = 0.03  # engines compute in bfloat16, where smaller steps are lost in its rounding
STEPS = Range(0, 1, above=True)


@dataclass(frozen=True, kw_only=True)
class PerturbedPair:
    """What a pair was made with: θ ± ``epsilon`` v; ``step`` is ‖εv‖ / ‖θ‖ (tracked weights).

    ``corpus`` and ``direction`` are fingerprints.
    """

    epsilon: float
    step: float
    corpus: str
    direction: str


@dataclass(frozen=True, kw_only=True)
class LogprobFiles:
    """Per-token log-probabilities of the corpus under both models of the pair in folder ``pair``.

    ``force`` takes scores whose ranking is not that of ``jvp`` (Spearman below 0.98).
    """

    plus: Path
    minus: Path
    pair: Path
    force: bool = False


def check_step(step: float) -> None:
    """Refuse a step that is no share of the weights' norm.

    Raises:
        InputError: it is not above 0 and at most 1.
    """
    if step not in STEPS:
        raise InputError(f"--step: {step} is not in {STEPS}; give a share such as {DEFAULT_STEP}")


def read_pair(folder: Path) -> PerturbedPair:
    """Read what a pair was made with.

    Raises:
        InputError: there is no pair there, or its ε is missing.
    """
    file = folder / PAIR
    if not file.is_file():
        raise InputError(f"{file}: no such file; make the pair with `ifguide export-pair`")
    held = read_json(file)
    epsilon = held.get("epsilon") if isinstance(held, dict) else None
    if not isinstance(epsilon, float) or not 0 < epsilon < float("inf"):
        raise InputError(f"{file}: it gives no epsilon; make the pair with `ifguide export-pair`")
    try:
        return PerturbedPair(**held)
    except TypeError as error:
        raise InputError(f"{file}: it is not of a pair; make it with `ifguide export-pair`") from (
            error
        )
