"""The verb ``select``: paper Algorithm 1, exact at the budget, over scores of any size.

The windows of two documents never share a token, and the walk through one document finds its
tokens in order of text. So the walk need not be walked: documents are taken whole in the order of
their rank while their tokens fit the budget, and of the next one the first tokens.

Memory grows with the number of documents, and by one byte a token for the candidates and one for
each mask. Scores and documents are walked in slabs: four times for float32 scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.arrays import slabs
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.selection.config import SelectionConfig, Unit
from ifguide.selection.quantile import quantile
from ifguide.selection.tally import (
    Extent,
    Tally,
    check_extent,
    measure,
    tally,
    units_of,
    with_loss,
)


def select(scores: TokenScores, config: SelectionConfig | None = None) -> Selection:
    """Select tokens by paper Algorithm 1.

    The threshold is a quantile of all scores. A document is ranked by the harmonic mean of its
    number of tokens above the threshold and of their summed score, each min-max normalised over
    the documents. Documents are walked from the highest rank down, each one's tokens above the
    threshold in order of text with ``window`` neighbours, until ``floor(budget * tokens)`` tokens
    are selected, exactly. Neighbours stay inside the document and have a loss. If there are fewer
    candidates than the budget, all are selected.

    Returns:
        the mask on the axis of the predicted token, and the ranking it came from.

    Raises:
        InputError: the scores have another shape than the corpus, one is not finite, or no token
            has a loss.
    """
    config = config or SelectionConfig()
    return select_budgets(scores, [config.budget], config)[0]


def select_budgets(
    scores: TokenScores, budgets: Sequence[float], config: SelectionConfig | None = None
) -> tuple[Selection, ...]:
    """Select by each of several budgets: as ``select`` does, but the scores are read once for all.

    Args:
        scores: as for ``select``.
        budgets: shares of the corpus's tokens, instead of the config's.
        config: all else.

    Returns:
        a selection for each budget, in the order given.

    Raises:
        InputError: as ``select``, or a budget is not in (0, 1].
    """
    config = config or SelectionConfig()
    shares = [replace(config, budget=budget).budget for budget in budgets]
    extent = measure(scores)
    check_extent(extent)
    threshold = _threshold(scores, extent, config.quantile)
    walked, candidates = tally(scores, threshold, config.window, config.unit, extent)
    documents = walked
    if config.unit != "document":
        documents, _ = tally(scores, threshold, config.window, "document", extent)
    ranking, value = rank_documents(documents.hits, documents.total)
    limits = [limit_of(share, extent) for share in shares]
    masks = fill(scores.corpus, candidates, config.unit, cuts(walked, limits))
    return tuple(
        Selection(
            suppress=mask,
            threshold=threshold,
            budget=limit,
            ranking=ranking,
            rank_value=value,
            corpus=scores.corpus,
            metadata={**scores.metadata, "unit": config.unit},
        )
        for mask, limit in zip(masks, limits, strict=True)
    )


def threshold_of(scores: TokenScores, share: float) -> float:
    """Return the quantile of all scores that ``select`` takes as its threshold.

    Raises:
        InputError: as ``select``.
    """
    extent = measure(scores)
    check_extent(extent)
    return _threshold(scores, extent, share)


def limit_of(share: float, extent: Extent) -> int:
    """Return how many tokens a budget allows."""
    return int(share * extent.tokens + 1e-9)


def rank_documents(
    hits: Int[np.ndarray, " D"], total: Float[np.ndarray, " D"]
) -> tuple[Int[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Rank documents by the harmonic mean of their normalised number and sum of hits.

    Returns:
        the numbers of the documents that have a hit, from the highest value down (ties in corpus
        order), and their values in [0, 1].
    """
    if not len(hits):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    a, b = _min_max(hits.astype(np.float64)), _min_max(total)
    value = np.divide(2 * a * b, a + b, out=np.zeros_like(a), where=a + b > 0)
    with_hit = np.flatnonzero(hits)
    order = with_hit[np.argsort(-value[with_hit], kind="stable")]
    return order, value[order]


def _min_max(values: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """Scale to [0, 1] over the documents; equal values all become 1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def _threshold(scores: TokenScores, extent: Extent, q: float) -> float:
    return quantile(lambda: with_loss(scores), scores.values.dtype, extent.with_loss, q)


@dataclass(frozen=True, eq=False)
class Cut:
    """How far a limit reaches: which units are selected whole, and the ``room`` left in one more.

    Args:
        whole: all candidates of these units are selected.
        part: the number of the unit whose first candidates are, -1 where there is none.
        room: how many of these.
    """

    whole: Bool[np.ndarray, " U"]
    part: int
    room: int

    def within(self, first: int, units: int) -> Cut:
        """Return the same of ``units`` units from the number ``first`` on, as those of a part."""
        inside = first <= self.part < first + units
        return Cut(
            self.whole[first : first + units], self.part - first if inside else -1, self.room
        )


def cuts(walked: Tally, limits: Sequence[int]) -> list[Cut]:
    """Walk the units by rank, and return how far each limit reaches."""
    order, _ = rank_documents(walked.hits, walked.total)
    reached = np.r_[0, np.cumsum(walked.candidates[order])]
    made = []
    for limit in limits:
        count = int(np.searchsorted(reached, limit, side="right")) - 1
        whole = np.zeros(len(walked.hits), dtype=np.bool_)
        whole[order[:count]] = True
        part = int(order[count]) if count < len(order) else -1
        made.append(Cut(whole, part, limit - int(reached[count])))
    return made


def fill(
    corpus: Corpus, candidates: Bool[np.ndarray, "N T"], unit: Unit, cut: Sequence[Cut]
) -> list[Bool[np.ndarray, "N T"]]:
    """Return a mask for each limit: the candidates that it reaches.

    Args:
        corpus: what the candidates are tokens of.
        candidates: the tokens that may be selected.
        unit: what is walked.
        cut: how far each limit reaches.
    """
    masks = [np.zeros(candidates.shape, dtype=np.bool_) for _ in cut]
    room = [one.room for one in cut]
    for rows in slabs(candidates.shape):
        where = np.flatnonzero(candidates[rows])
        unit_of = units_of(corpus, rows, unit).ravel()[where]
        for i, (mask, one) in enumerate(zip(masks, cut, strict=True)):
            part = where[unit_of == one.part][: room[i]]
            room[i] -= len(part)
            flat = mask[rows].reshape(-1)
            flat[where[one.whole[unit_of]]] = True
            flat[part] = True
    return masks
