"""How well token scores find the tokens that people marked.

The scores are sorted once. A bootstrap resample draws documents with replacement, which gives each
token the weight "how often was its document drawn"; every figure is then a ratio of cumulative
sums of those weights along the one ordering. Tied scores are one step of the curve, as in
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.evaluation.metrics import percentile_interval
from ifguide.nouns import Interval

TOP_SHARE = 0.01


def localisation(
    scores: Float[np.ndarray, "N T"],
    marked: Bool[np.ndarray, "N T"],
    document: Int[np.ndarray, "N T"],
    has_loss: Bool[np.ndarray, "N T"],
    *,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, Interval | float]:
    """Compare scores with marks over the tokens that have a loss.

    Args:
        scores: higher = thought to be marked.
        marked: the truth.
        document: the document of each token; the bootstrap draws whole documents.
        has_loss: the tokens that count.
        resamples: bootstrap resamples; 95% percentile intervals.
        seed: draws them.

    Returns:
        ``average_precision`` = sum over steps of (recall gained) x (precision there), no
        interpolation; ``auroc``; ``precision_at_1_percent`` = share of marked tokens among the
        top 1% (a tie across the cut counts with its mean); these three with intervals.
        ``base_rate`` = share of marked tokens, which all but AUROC have by chance;
        ``in_marked_documents`` = share of the top 1% that lie in documents with a mark.

    Raises:
        InputError: no token is marked, all are, or a score is not finite.
    """
    ranking = _rank(scores[has_loss], marked[has_loss], document[has_loss])
    ones = np.ones(ranking.documents)
    figures = _figures(ranking, ones)
    draws = np.array([_figures(ranking, w) for w in _weights(ranking, resamples, seed)])
    names = ("average_precision", "precision_at_1_percent", "auroc")
    in_marked = ranking.has_marks[ranking.document]
    found: dict[str, Interval | float] = {
        name: percentile_interval(figures[k], draws[:, k]) for k, name in enumerate(names)
    }
    found["base_rate"] = len(ranking.positives) / len(ranking.document)
    found["in_marked_documents"] = _top_share(ranking, np.cumsum(in_marked.astype(float)))
    return found


@dataclass(frozen=True, eq=False)
class _Ranking:
    """n tokens from the highest score down; steps are runs of equal scores.

    ``first`` and ``last`` are the step that each token belongs to, ``positives`` the places of the
    marked tokens, ``step_start`` the index into ``positives`` where each step that has some begins.
    """

    document: Int[np.ndarray, " n"]
    documents: int
    has_marks: Bool[np.ndarray, " D"]
    first: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]
    positives: Int[np.ndarray, " m"]
    step_start: Int[np.ndarray, " s"]


def _rank(
    scores: Float[np.ndarray, " n"], marked: Bool[np.ndarray, " n"], document: Int[np.ndarray, " n"]
) -> _Ranking:
    if not marked.any() or marked.all():
        raise InputError(
            f"localisation: {int(marked.sum())} of {len(marked)} tokens are marked; it needs both "
            "marked and unmarked tokens (name the spans with corpus.sources.N.spans)"
        )
    if not np.isfinite(scores).all():
        raise InputError("localisation: a score is not finite; score the corpus again")
    order = np.argsort(-scores, kind="stable")
    numbers, compact = np.unique(document, return_inverse=True)
    has_marks = np.bincount(compact, weights=marked, minlength=len(numbers)) > 0
    ordered = scores[order]
    new = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[new, len(order)])
    first = np.repeat(new, lengths)
    positives = np.flatnonzero(marked[order])
    step_start = np.flatnonzero(np.r_[True, np.diff(first[positives]) > 0])
    last = np.repeat(new + lengths - 1, lengths)
    return _Ranking(compact[order], len(numbers), has_marks, first, last, positives, step_start)


def _weights(ranking: _Ranking, resamples: int, seed: int) -> Iterator[Float[np.ndarray, " D"]]:
    """Yield how often each document was drawn.

    A resample without a marked or without an unmarked token says nothing and is drawn again.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(ranking.document, minlength=ranking.documents)
    marks = np.bincount(ranking.document[ranking.positives], minlength=ranking.documents)
    for _ in range(resamples):
        while True:
            drawn = rng.integers(ranking.documents, size=ranking.documents)
            weights = np.bincount(drawn, minlength=ranking.documents)
            if weights @ marks and weights @ (counts - marks):
                break
        yield weights.astype(np.float64)


def _figures(ranking: _Ranking, weights: Float[np.ndarray, " D"]) -> tuple[float, float, float]:
    """Return average precision, precision in the top share, and AUROC of weighted documents."""
    weight = weights[ranking.document]
    reached = np.cumsum(weight)
    at = ranking.positives[ranking.step_start]
    found = np.add.reduceat(weight[ranking.positives], ranking.step_start)
    total, found_by_then = found.sum(), np.cumsum(found)
    reached_end = reached[ranking.last[at]]
    precision = found_by_then / np.maximum(reached_end, 1.0)  # 0/0 -> 0 where nothing was drawn
    first = ranking.first[at]
    wrong_before = reached[first] - weight[first] - (found_by_then - found)
    wrong_end, wrong = reached_end - found_by_then, reached[-1] - total
    below = wrong - (wrong_before + wrong_end) / 2  # a tie counts half
    hits = np.zeros(len(weight))
    hits[ranking.positives] = weight[ranking.positives]
    return (
        float(found @ precision / total),
        _top_share(ranking, np.cumsum(hits), reached),
        float(found @ below / (total * wrong)),
    )


def _top_share(
    ranking: _Ranking,
    hits: Float[np.ndarray, " n"],
    reached: Float[np.ndarray, " n"] | None = None,
) -> float:
    """Share of hits in the top 1% by weight; a step across the cut counts with its mean.

    Args:
        ranking: the order and its steps.
        hits: cumulative weight of the tokens that count as hits.
        reached: cumulative weight of all tokens; by default each weighs 1.
    """
    if reached is None:
        reached = np.arange(1.0, len(hits) + 1)
    size = max(1.0, np.floor(TOP_SHARE * reached[-1]))
    place = np.searchsorted(reached, size)
    first, last = ranking.first[place], ranking.last[place]
    before, hits_before = (reached[first - 1], hits[first - 1]) if first else (0.0, 0.0)
    mean = (hits[last] - hits_before) / (reached[last] - before)
    return float((hits_before + (size - before) * mean) / size)
