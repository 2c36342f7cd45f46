"""How well token scores find the tokens that people marked.

The scores are sorted once. A bootstrap resample draws documents with replacement, which gives each
token the weight "how often was its document drawn"; every figure is then a ratio of cumulative
sums of those weights along the one ordering. Tied scores are one step of the curve, as in
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.evaluation.figures import Localisation
from ifguide.evaluation.metrics import percentile_interval
from ifguide.nouns import Corpus, Interval, TokenScores

SHARES = {"1": 0.01, "2": 0.02}  # of the tokens, by the percentage in a figure's name


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
        top 1% (a tie across the cut counts with its mean); ``recall_at_1_percent`` = share of the
        marked tokens that are among them; both also ``at_2_percent``; all these with intervals.
        ``base_rate`` = share of marked tokens, which precision has by chance (recall has the share
        of the cut, AUROC 0.5); ``in_marked_documents`` = share of the top 1% that lie in documents
        with a mark.

    Raises:
        InputError: no token is marked, all are, or a score is not finite.
    """
    ranking = _rank(scores[has_loss], marked[has_loss], document[has_loss])
    figures = _figures(ranking, np.ones(ranking.documents))
    draws = [_figures(ranking, weights) for weights in _weights(ranking, resamples, seed)]
    found: dict[str, Interval | float] = {
        name: percentile_interval(value, np.array([draw[name] for draw in draws]))
        for name, value in figures.items()
    }
    found["base_rate"] = len(ranking.positives) / len(ranking.document)
    found["in_marked_documents"] = _in_marked(ranking)
    return found


def is_marked_in_part(corpus: Corpus) -> bool:
    """Whether some of the tokens of text that have a loss are marked and some are not."""
    of_text = corpus.has_loss & (np.asarray(corpus.end) > np.asarray(corpus.start))
    marked = np.asarray(corpus.marked)[of_text]
    return bool(marked.any() and not marked.all())


def localisation_of(scores: TokenScores, seed: int) -> Localisation:
    """Compare scores with the marks of their corpus."""
    corpus = scores.corpus
    figures = localisation(
        np.asarray(scores.values), corpus.marked, corpus.document, corpus.has_loss, seed=seed
    )
    return Localisation(**cast(dict[str, Any], figures))


def in_marked_documents(
    marked: Bool[np.ndarray, "N T"], document: Int[np.ndarray, "N T"]
) -> Bool[np.ndarray, "N T"]:
    """Which tokens lie in a document that has a marked token; padding (document -1) never does."""
    return np.isin(document, np.unique(document[marked & (document >= 0)]))


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


def _figures(ranking: _Ranking, weights: Float[np.ndarray, " D"]) -> dict[str, float]:
    """Return every figure that has an interval, of weighted documents."""
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
    figures = {
        "average_precision": float(found @ precision / total),
        "auroc": float(found @ below / (total * wrong)),
    }
    cumulative = np.cumsum(hits)
    for percent, share in SHARES.items():
        size = _size_of(share, reached)
        in_top = _hits_in_top(ranking, cumulative, reached, size)
        figures[f"precision_at_{percent}_percent"] = in_top / size
        figures[f"recall_at_{percent}_percent"] = in_top / float(total)
    return figures


def _in_marked(ranking: _Ranking) -> float:
    """Share of the top 1% of tokens that lie in documents with a mark."""
    in_marked = ranking.has_marks[ranking.document].astype(float)
    reached = np.arange(1.0, len(in_marked) + 1)
    size = _size_of(SHARES["1"], reached)
    return _hits_in_top(ranking, np.cumsum(in_marked), reached, size) / size


def _size_of(share: float, reached: Float[np.ndarray, " n"]) -> float:
    """Weight of the tokens in the top share: a whole number, 1 at least."""
    return float(max(1.0, np.floor(share * reached[-1] + 1e-9)))


def _hits_in_top(
    ranking: _Ranking,
    hits: Float[np.ndarray, " n"],
    reached: Float[np.ndarray, " n"],
    size: float,
) -> float:
    """Weight of the hits among the first ``size``; a step across the cut counts with its mean.

    Args:
        ranking: the order and its steps.
        hits: cumulative weight of the tokens that count as hits.
        reached: cumulative weight of all tokens.
        size: weight of the top share.
    """
    place = np.searchsorted(reached, size)
    first, last = ranking.first[place], ranking.last[place]
    before, hits_before = (reached[first - 1], hits[first - 1]) if first else (0.0, 0.0)
    mean = (hits[last] - hits_before) / (reached[last] - before)
    return float(hits_before + (size - before) * mean)
