"""The judge alt-profanity-check: a small linear classifier that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float

from ifguide.evaluation.judges.registry import SETTING, JudgeKind, version_of
from ifguide.extras import import_extra


@final
class ProfanityJudge:
    """The linear classifier of the package alt-profanity-check: its probability of profanity."""

    name = "alt-profanity-check"

    def __init__(self) -> None:
        package = import_extra("profanity_check", self.name, "profanity", SETTING)
        self._predict = package.predict_prob

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the probability that each text is profane or offensive."""
        return np.asarray(self._predict(list(texts)), dtype=np.float64)


ALT_PROFANITY_CHECK = JudgeKind(
    load=lambda request: ProfanityJudge(),
    identity=lambda request: version_of("alt-profanity-check"),
)
