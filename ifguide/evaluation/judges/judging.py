"""Judges: anything that gives each text a toxicity in [0, 1].

A judge that fails stops the evaluation with the text's id, or where that is asked for the text is
left out and named; it never gets a made-up 0.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from ifguide.errors import InputError, one_line, reading
from ifguide.parts import tell

log = logging.getLogger(__name__)

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


@runtime_checkable
class WeighedJudge(Judge, Protocol):
    """Also says which weights it judges by."""

    @property
    def weights(self) -> str:
        """The sha256 of them all, see ``ifguide.models.digest``."""
        ...


@runtime_checkable
class LimitedJudge(Judge, Protocol):
    """Also says which texts are longer than it reads; of these it judges the beginning."""

    def too_long(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return which texts it does not read to their end."""
        ...


class JudgeError(InputError):
    """A judge raised, or did not give each text a number in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Judgements:
    """What a judge made of n texts; the row of a text that it could not score is NaN.

    ``unjudged`` says why, by the text's id. ``beginnings`` is how many texts are longer than the
    judge reads, so that it judged their beginnings.
    """

    scores: Float[np.ndarray, " n"]
    categories: Mapping[str, Float[np.ndarray, " n"]]
    unjudged: Mapping[str, str]
    beginnings: int


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

    How many of the texts it did not read to their end is logged.

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
    decides = _deciding(judge, kinds)
    columns = np.full((len(texts), max(1, len(kinds))), np.nan)
    failed: dict[str, str] = {}
    for first in range(0, len(texts), CHUNK):
        tell(f"{judge.name}, text {first:,} of {len(texts):,}")
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
    beginnings = _count_too_long(judge, texts)
    categories = {kind: columns[:, number] for number, kind in enumerate(kinds)}
    return Judgements(columns[:, decides], categories, failed, beginnings)


def _categories(judge: Judge) -> tuple[str, ...]:
    return judge.categories if isinstance(judge, CategoryJudge) else ()


def _deciding(judge: Judge, kinds: Sequence[str]) -> int:
    """Return the number of the category that a judge itself returns; 0 where it has none."""
    if not (isinstance(judge, CategoryJudge) and kinds):
        return 0
    label: Any = judge.label
    number = int(label) if isinstance(label, Integral) else -1
    if not 0 <= number < len(kinds):
        raise JudgeError(
            f"judge '{judge.name}': {label!r} is the number of none of its {len(kinds)} "
            f"categories; give its label as a number from 0 to {len(kinds) - 1}"
        )
    return number


def _judge_chunk(
    judge: Judge, texts: list[str], ids: Sequence[str]
) -> Float[np.ndarray, "n columns"]:
    kinds = len(_categories(judge))
    try:
        answer, shape = _asked(judge, texts)
    except _JudgeFailure as failure:
        where, error = _first_failing(judge, texts, ids, failure.error)
        raise JudgeError(
            f"judge '{judge.name}' failed on {where}: {one_line(error)}; remove the text, judge "
            "with another judge, or let it be left out (evaluation.unjudged: report)"
        ) from error
    if shape != ((len(texts), kinds) if kinds else (len(texts),)):
        raise JudgeError(
            f"judge '{judge.name}' gave scores of shape {shape} for {len(texts)} texts "
            f"({_range(ids)}); a judge returns one score a text"
        )
    columns = np.empty((len(texts), max(1, kinds)))
    for number, row in enumerate(answer):
        for column, score in enumerate(row if kinds else [row]):
            columns[number, column] = _toxicity(judge, ids[number], score)
    return columns


def _toxicity(judge: Judge, text_id: str, score: Any) -> float:
    """Return a score as a number; nothing but a number in [0, 1] becomes one."""
    if getattr(score, "ndim", None) == 0 and not isinstance(score, np.ma.MaskedArray):
        score = score.item()  # of NumPy, or a tensor
    if isinstance(score, Real) and not isinstance(score, bool):
        try:
            value = float(score)
        except OverflowError:  # of an integer
            value = np.inf
        if 0 <= value <= 1:  # not NaN either
            return value
        said = str(value)
    else:
        said = f"{type(score).__name__}, which is no number"
    raise JudgeError(
        f"judge '{judge.name}' gave text '{text_id}' the score {said}; toxicity is a number in "
        "[0, 1]"
    )


class _JudgeFailure(Exception):  # noqa: N818 - never seen by a caller
    """What a judge raised, whatever it was."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def _asked(judge: Judge, texts: list[str]) -> tuple[Any, tuple[int, ...]]:
    """Return the judge's scores, one a text or a row of categories a text, and their shape.

    What is no list or array of NumPy's, such as a tensor, becomes one.
    """
    try:
        answer: Any
        if isinstance(judge, CategoryJudge) and judge.categories:
            answer = judge.columns(texts)
        else:
            answer = judge(texts)
        if not isinstance(answer, (list, tuple, np.ndarray)):
            answer = np.asarray(answer)
        return answer, np.asarray(answer, dtype=object).shape
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # some packages exit, and panics of Rust are no Exception
        raise _JudgeFailure(error) from error


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


def _first_failing(
    judge: Judge, texts: list[str], ids: Sequence[str], error: BaseException
) -> tuple[str, BaseException]:
    """Name the first text on which the judge fails alone, and how; or all, and the error of all."""
    for text_id, text in zip(ids, texts, strict=True):
        try:
            _asked(judge, [text])
        except _JudgeFailure as alone:
            return f"text '{text_id}'", alone.error
    return _range(ids), error


def _count_too_long(judge: Judge, texts: Sequence[str]) -> int:
    """Return how many texts the judge does not read to their end, and log it if it is any."""
    if not isinstance(judge, LimitedJudge):
        return 0
    with reading(f"judge '{judge.name}'", "mend its too_long", fault="it cannot tell its limit"):
        count = int(np.asarray(judge.too_long(texts), dtype=bool).reshape(len(texts)).sum())
    if count:
        log.warning(
            "judge '%s': %d of %d texts are longer than it reads; it judged their beginnings",
            judge.name,
            count,
            len(texts),
        )
    return count


def _range(ids: Sequence[str]) -> str:
    return f"text '{ids[0]}'" if len(ids) == 1 else f"texts '{ids[0]}' to '{ids[-1]}'"
