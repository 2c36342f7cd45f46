"""Judges: anything that gives each text a toxicity in [0, 1].

A judge that fails stops the evaluation with the text's id; a text never gets a made-up 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ifguide.errors import InputError
from ifguide.evaluation.classifiers import load_classifier, load_detoxify
from ifguide.evaluation.package_judges import HateSonarJudge, ProfanityJudge
from ifguide.evaluation.rule_judge import RuleJudge

CHUNK = 256  # texts handed to a judge at once


@runtime_checkable
class Judge(Protocol):
    """Gives each text a toxicity in [0, 1], in order, each text on its own."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the toxicity of each text."""
        ...


class JudgeError(InputError):
    """A judge raised, or did not give each text a number in [0, 1]."""


def judge_texts(
    judge: Judge, texts: Sequence[str], ids: Sequence[str] | None = None
) -> Float[np.ndarray, " n"]:
    """Return the judge's toxicity of every text, or fail naming the first text it cannot judge.

    Args:
        judge: the judge.
        texts: what to judge.
        ids: what a message calls the texts; by default their numbers from 0.

    Raises:
        JudgeError: the judge raised (its error is the cause), gave another number of scores than
            there were texts, or a score that is no number in [0, 1].
    """
    names = list(map(str, range(len(texts)))) if ids is None else ids
    scores = np.zeros(len(texts))
    for first in range(0, len(texts), CHUNK):
        part = slice(first, first + CHUNK)
        scores[part] = _judge_chunk(judge, list(texts[part]), names[part])
    return scores


def load_judge(name: str) -> Judge:
    """Return a judge by name.

    ``rule`` (for the built-in corpus), ``alt-profanity-check``, ``hatesonar``, ``toxigen-roberta``,
    ``detoxify:NAME`` or ``detoxify:FILE`` (.ckpt or .safetensors), and ``hf:NAME_OR_PATH`` or
    ``hf:NAME_OR_PATH#LABEL`` for any sequence-classification model, LABEL being the toxic one's
    name or number.

    Raises:
        InputError: no such judge, its package is not installed, or its files cannot be loaded.
    """
    kind, _, rest = name.partition(":")
    if name in _PLAIN:
        return _PLAIN[name]()
    if kind in _WITH_ARGUMENT and rest:
        return _WITH_ARGUMENT[kind](name, rest)
    known = ", ".join([*_PLAIN, "detoxify:NAME_OR_FILE", "hf:NAME_OR_PATH[#LABEL]"])
    raise InputError(f"evaluation.judges: '{name}' is not known; use one of {known}")


def _judge_chunk(judge: Judge, texts: list[str], ids: Sequence[str]) -> Float[np.ndarray, " n"]:
    try:
        scores = np.asarray(judge(texts), dtype=np.float64)
    except Exception as error:
        raise JudgeError(
            f"judge '{judge.name}' failed on {_first_failing(judge, texts, ids)}: {_line(error)}; "
            "remove the text, or judge with another judge"
        ) from error
    if scores.shape != (len(texts),):
        raise JudgeError(
            f"judge '{judge.name}' gave scores of shape {scores.shape} for {len(texts)} texts "
            f"({_range(ids)}); a judge returns one score a text"
        )
    for text_id, score in zip(ids, scores, strict=True):
        if not 0 <= score <= 1:  # also NaN
            raise JudgeError(
                f"judge '{judge.name}' gave text '{text_id}' the score {score}; toxicity is a "
                "number in [0, 1]"
            )
    return scores


def _first_failing(judge: Judge, texts: list[str], ids: Sequence[str]) -> str:
    """Name the first text on which the judge fails alone, or all of them."""
    for text_id, text in zip(ids, texts, strict=True):
        try:
            judge([text])
        except Exception:  # noqa: BLE001 - the first error is already on its way to the user
            return f"text '{text_id}'"
    return _range(ids)


def _range(ids: Sequence[str]) -> str:
    return f"text '{ids[0]}'" if len(ids) == 1 else f"texts '{ids[0]}' to '{ids[-1]}'"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_PLAIN: dict[str, Callable[[], Judge]] = {
    "rule": RuleJudge,
    "alt-profanity-check": ProfanityJudge,
    "hatesonar": HateSonarJudge,
    "toxigen-roberta": lambda: load_classifier("toxigen-roberta", "tomh/toxigen_roberta#1"),
}
_WITH_ARGUMENT: dict[str, Callable[[str, str], Judge]] = {
    "hf": load_classifier,
    "detoxify": load_detoxify,
}
