"""Judges: anything that gives each text a toxicity in [0, 1].

A judge that fails stops the evaluation with the text's id, or where that is asked for the text is
left out and named; it never gets a made-up 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ifguide.errors import InputError, one_line

CHUNK = 256  # texts handed to a judge at once


@runtime_checkable
class Judge(Protocol):
    """Gives each text a toxicity in [0, 1], in order, each text on its own."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the toxicity of each text."""
        ...


@runtime_checkable
class CategoryJudge(Judge, Protocol):
    """Also gives each text a score in [0, 1] for each of its named categories.

    What it returns as a judge decides; the categories are shown beside it. No names, no categories.
    """

    categories: tuple[str, ...]
    label: int  # the category that the judge itself returns

    def columns(self, texts: Sequence[str]) -> Float[np.ndarray, "n categories"]:
        """Return the score of each text in each category."""
        ...


class JudgeError(InputError):
    """A judge raised, or did not give each text a number in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Judgements:
    """What a judge made of n texts; the row of a text that it could not score is NaN.

    ``unjudged`` says why, by the text's id.
    """

    scores: Float[np.ndarray, " n"]
    categories: Mapping[str, Float[np.ndarray, " n"]]
    unjudged: Mapping[str, str]


def judge_texts(
    judge: Judge, texts: Sequence[str], ids: Sequence[str] | None = None
) -> Float[np.ndarray, " n"]:
    """Return the judge's toxicity of every text, or fail naming the first text it cannot judge.

    The arguments and errors are those of ``judgements``.
    """
    return judgements(judge, texts, ids).scores


def judgements(
    judge: Judge,
    texts: Sequence[str],
    ids: Sequence[str] | None = None,
    unjudged: Literal["stop", "report"] = "stop",
) -> Judgements:
    """Return the judge's toxicity of every text, and its further categories where it has any.

    Args:
        judge: the judge.
        texts: what to judge.
        ids: what a message calls the texts; by default their numbers from 0.
        unjudged: fail at a text that cannot be scored, or go on and name it.

    Raises:
        JudgeError: the judge raised (its error is the cause), gave another number of scores than
            there were texts, or a score that is no number in [0, 1]; or it scored no text at all.
    """
    names = list(map(str, range(len(texts)))) if ids is None else list(ids)
    kinds = _categories(judge)
    columns = np.full((len(texts), max(1, len(kinds))), np.nan)
    failed: dict[str, str] = {}
    for first in range(0, len(texts), CHUNK):
        part = slice(first, first + CHUNK)
        chunk, chunk_ids = list(texts[part]), names[part]
        try:
            columns[part] = _judge_chunk(judge, chunk, chunk_ids)
        except JudgeError:
            if unjudged == "stop":
                raise
            columns[part], reasons = _one_by_one(judge, chunk, chunk_ids)
            failed.update(reasons)
    if len(texts) and len(failed) == len(texts):
        raise JudgeError(f"no text could be judged: {failed[names[0]]}")
    categories = {kind: columns[:, number] for number, kind in enumerate(kinds)}
    decides = judge.label if isinstance(judge, CategoryJudge) and kinds else 0
    return Judgements(columns[:, decides], categories, failed)


def _categories(judge: Judge) -> tuple[str, ...]:
    return judge.categories if isinstance(judge, CategoryJudge) else ()


def _columns(judge: Judge, texts: list[str]) -> Float[np.ndarray, ...]:
    """Return the judge's scores as they are: a column of toxicity, or one a category."""
    if isinstance(judge, CategoryJudge) and judge.categories:
        return np.asarray(judge.columns(texts), dtype=np.float64)
    return np.asarray(judge(texts), dtype=np.float64)


def _judge_chunk(
    judge: Judge, texts: list[str], ids: Sequence[str]
) -> Float[np.ndarray, "n columns"]:
    try:
        scores = _columns(judge, texts)
    except Exception as error:
        raise JudgeError(
            f"judge '{judge.name}' failed on {_first_failing(judge, texts, ids)}: "
            f"{one_line(error)}; remove the text, or judge with another judge"
        ) from error
    kinds = len(_categories(judge))
    if scores.shape != ((len(texts), kinds) if kinds else (len(texts),)):
        raise JudgeError(
            f"judge '{judge.name}' gave scores of shape {scores.shape} for {len(texts)} texts "
            f"({_range(ids)}); a judge returns one score a text"
        )
    columns = scores.reshape(len(texts), -1)
    for text_id, row in zip(ids, columns, strict=True):
        for score in row:
            if not 0 <= score <= 1:  # also NaN
                raise JudgeError(
                    f"judge '{judge.name}' gave text '{text_id}' the score {score}; toxicity is a "
                    "number in [0, 1]"
                )
    return columns


def _one_by_one(
    judge: Judge, texts: list[str], ids: Sequence[str]
) -> tuple[Float[np.ndarray, "n columns"], dict[str, str]]:
    """Judge each text by itself; return NaN and the reason for those that cannot be."""
    columns = np.full((len(texts), max(1, len(_categories(judge)))), np.nan)
    reasons = {}
    for row, (text, text_id) in enumerate(zip(texts, ids, strict=True)):
        try:
            columns[row] = _judge_chunk(judge, [text], [text_id])[0]
        except JudgeError as error:
            reasons[text_id] = str(error)
    return columns, reasons


def _first_failing(judge: Judge, texts: list[str], ids: Sequence[str]) -> str:
    """Name the first text on which the judge fails alone, or all of them."""
    for text_id, text in zip(ids, texts, strict=True):
        try:
            _columns(judge, [text])
        except Exception:  # noqa: BLE001 - the first error is already on its way to the user
            return f"text '{text_id}'"
    return _range(ids)


def _range(ids: Sequence[str]) -> str:
    return f"text '{ids[0]}'" if len(ids) == 1 else f"texts '{ids[0]}' to '{ids[-1]}'"
