"""The verb ``select``: paper Algorithm 1, exact at the budget, over scores of any size.

The windows of two documents never share a token, and the walk through one document finds its
tokens in order of text. So the walk need not be walked: documents are taken whole in the order of
their rank while their tokens fit the budget, and of the next one the first tokens.

Memory grows with the number of documents, and by one byte a token for the candidates and one for
each mask. Scores and documents are walked in slabs: four times for float32 scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.arrays import read_rows, slabs, with_halo
from ifguide.errors import InputError
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.selection.config import SelectionConfig, Unit
from ifguide.selection.quantile import quantile


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
    extent = _measure(scores)
    threshold = _threshold(scores, extent, config.quantile)
    walked, candidates = _tally(scores, threshold, config.window, config.unit, extent)
    documents = walked
    if config.unit != "document":
        documents, _ = _tally(scores, threshold, config.window, "document", extent)
    ranking, value = rank_documents(documents.hits, documents.total)
    order, _ = rank_documents(walked.hits, walked.total)
    limits = [int(share * extent.tokens + 1e-9) for share in shares]
    masks = _fill(scores.corpus, candidates, config.unit, order, walked.candidates[order], limits)
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
    return _threshold(scores, _measure(scores), share)


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


@dataclass(frozen=True)
class _Extent:
    """How many tokens are learnt, how many have a loss, and how many documents there are."""

    tokens: int
    with_loss: int
    documents: int


def _measure(scores: TokenScores) -> _Extent:
    """Refuse scores that cannot be ranked, and count what there is."""
    values, corpus = scores.values, scores.corpus
    if values.shape != corpus.tokens.shape:
        raise InputError(
            f"scores: they have shape {values.shape}, the corpus {corpus.tokens.shape}; score "
            "this corpus"
        )
    tokens, with_loss, documents = 0, 0, 0
    for rows in slabs(values.shape):
        unsound = np.flatnonzero(~np.isfinite(read_rows(values, rows)).all(1))
        if len(unsound):
            raise InputError(
                f"scores: block {rows.start + unsound[0]} has a score that is not finite; score "
                "the corpus again"
            )
        document = read_rows(corpus.document, rows)
        tokens += int(np.count_nonzero(corpus.learnt_in(rows)))
        with_loss += int(np.count_nonzero(corpus.has_loss_in(rows)))
        documents = max(documents, int(document.max()) + 1)
    if not with_loss:
        raise InputError("scores: no token of the corpus has a loss; give it blocks with text")
    return _Extent(tokens, with_loss, documents)


def _threshold(scores: TokenScores, extent: _Extent, q: float) -> float:
    def with_loss() -> Iterator[np.ndarray]:
        for rows in slabs(scores.values.shape):
            counted = scores.corpus.has_loss_in(rows)
            yield read_rows(scores.values, rows)[counted]

    return quantile(with_loss, scores.values.dtype, extent.with_loss, q)


@dataclass(frozen=True, eq=False)
class _Tally:
    """Of each of U units: its tokens above the threshold, their sum, and those in their windows."""

    hits: Int[np.ndarray, " U"]
    total: Float[np.ndarray, " U"]
    candidates: Int[np.ndarray, " U"]


def _tally(
    scores: TokenScores, threshold: float, window: int, unit: Unit, extent: _Extent
) -> tuple[_Tally, Bool[np.ndarray, "N T"]]:
    """Count by unit, and return which tokens lie in a window.

    A sum is added up in float64 in the order of the corpus, whatever the slabs.
    """
    corpus, shape = scores.corpus, scores.values.shape
    units = extent.documents if unit == "document" else shape[0]
    hits, candidates = np.zeros(units, dtype=np.int64), np.zeros(units, dtype=np.int64)
    total, in_window = np.zeros(units), np.zeros(shape, dtype=bool)
    for rows in slabs(shape):
        wide, within = with_halo(rows, shape, window)
        values, counted = read_rows(scores.values, wide), corpus.has_loss_in(wide)
        unit_of = _units(corpus, wide, unit)
        hit = counted & (values > threshold)
        near = _dilate(hit.ravel(), unit_of.ravel(), window).reshape(hit.shape) & counted
        hit, near, values, unit_of = hit[within], near[within], values[within], unit_of[within]
        np.add.at(hits, unit_of[hit], 1)
        np.add.at(total, unit_of[hit], values[hit].astype(np.float64))
        np.add.at(candidates, unit_of[near], 1)
        in_window[rows] = near
    return _Tally(hits, total, candidates), in_window


def _units(corpus: Corpus, rows: slice, unit: Unit) -> Int[np.ndarray, "n T"]:
    if unit == "document":
        return read_rows(corpus.document, rows)
    numbers = np.arange(rows.start, rows.stop)[:, None]
    return np.broadcast_to(numbers, (len(numbers), corpus.tokens.shape[1]))


def _dilate(
    hit: Bool[np.ndarray, " n"], unit: Int[np.ndarray, " n"], window: int
) -> Bool[np.ndarray, " n"]:
    """Return which tokens are at most ``window`` from a hit of their own unit."""
    near = hit.copy()
    for distance in range(1, min(window, len(hit) - 1) + 1):
        same = unit[distance:] == unit[:-distance]
        near[distance:] |= same & hit[:-distance]
        near[:-distance] |= same & hit[distance:]
    return near


def _fill(
    corpus: Corpus,
    candidates: Bool[np.ndarray, "N T"],
    unit: Unit,
    order: Int[np.ndarray, " R"],
    count: Int[np.ndarray, " R"],
    limits: Sequence[int],
) -> list[Bool[np.ndarray, "N T"]]:
    """Return a mask for each limit: the first candidates by the order of their units, then by text.

    Args:
        corpus: what the candidates are tokens of.
        candidates: the tokens that may be selected.
        unit: what is ordered.
        order: the units that have candidates, highest rank first.
        count: how many each of these has.
        limits: how many tokens to select.
    """
    units = int(order.max()) + 1 if len(order) else 0
    place = np.zeros(units, dtype=np.int64)
    place[order] = np.arange(len(order))
    reached = np.r_[0, np.cumsum(count)]
    whole = [int(np.searchsorted(reached, limit, side="right")) - 1 for limit in limits]
    room = [limit - int(reached[units]) for limit, units in zip(limits, whole, strict=True)]
    masks = [np.zeros(candidates.shape, dtype=bool) for _ in limits]
    for rows in slabs(candidates.shape):
        where = np.flatnonzero(candidates[rows])
        place_of = place[_units(corpus, rows, unit).ravel()[where]]
        for i, mask in enumerate(masks):
            part = where[place_of == whole[i]][: room[i]]
            room[i] -= len(part)
            flat = mask[rows].reshape(-1)
            flat[where[place_of < whole[i]]] = True
            flat[part] = True
    return masks
