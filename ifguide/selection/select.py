"""The verb ``select``: paper Algorithm 1, exact at the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.errors import InputError
from ifguide.nouns import Selection, TokenScores


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How many tokens are selected, and which.

    Args:
        quantile: the threshold is this quantile of the scores of all tokens with a loss.
        window: neighbours to each side that a token above the threshold brings along.
        budget: share of the corpus's tokens to select.
        unit: what is walked by rank: each ``document``, or each ``block`` as in the IF-Guide
            authors' code.
    """

    quantile: float = 0.99
    window: int = 1
    budget: float = 0.02
    unit: Literal["document", "block"] = "document"

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise InputError(
                f"selection.quantile: {self.quantile} is not between 0 and 1; try 0.99"
            )
        if self.window < 0:
            raise InputError(f"selection.window: {self.window} is below 0; try 1")
        if not 0 < self.budget <= 1:
            raise InputError(f"selection.budget: {self.budget} is not in (0, 1]; try 0.02")


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
        InputError: the scores have another shape than the corpus, or one is not finite.
    """
    config = config or SelectionConfig()
    corpus = scores.corpus
    _check(scores)
    has_loss = corpus.has_loss.ravel()
    flat = np.asarray(scores.values).ravel()
    threshold = float(np.quantile(flat[has_loss], config.quantile))
    budget = int(config.budget * corpus.token_count + 1e-9)
    unit = _units(scores, config.unit)
    hits = np.flatnonzero(has_loss & (flat > threshold))
    walked, _ = rank_documents(unit[hits], flat[hits], int(unit.max()) + 1)
    order = _walk(hits, unit[hits], walked)
    suppress = np.zeros(flat.shape, dtype=bool)
    suppress[_fill(order, unit, has_loss, config.window, budget)] = True
    document = _units(scores, "document")
    ranking, value = rank_documents(document[hits], flat[hits], int(document.max()) + 1)
    return Selection(
        suppress=suppress.reshape(corpus.tokens.shape),
        threshold=threshold,
        budget=budget,
        ranking=ranking,
        rank_value=value,
        corpus=corpus,
        metadata={**scores.metadata, "unit": config.unit},
    )


def rank_documents(
    document_of_hit: Int[np.ndarray, " H"], score_of_hit: Float[np.ndarray, " H"], documents: int
) -> tuple[Int[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Rank documents by the harmonic mean of their normalised count and sum of hits.

    Returns:
        the numbers of the documents that have a hit, from the highest value down (ties in corpus
        order), and their values in [0, 1].
    """
    count = np.bincount(document_of_hit, minlength=documents).astype(float)
    total = np.bincount(document_of_hit, score_of_hit, minlength=documents).astype(float)
    a, b = _min_max(count), _min_max(total)
    value = np.divide(2 * a * b, a + b, out=np.zeros_like(a), where=a + b > 0)
    with_hit = np.flatnonzero(count)
    order = with_hit[np.argsort(-value[with_hit], kind="stable")]
    return order, value[order]


def _check(scores: TokenScores) -> None:
    if scores.values.shape != scores.corpus.tokens.shape:
        raise InputError(
            f"scores: they have shape {scores.values.shape}, the corpus "
            f"{scores.corpus.tokens.shape}; score this corpus"
        )
    unsound = np.flatnonzero(~np.isfinite(scores.values).all(1))
    if len(unsound):
        raise InputError(
            f"scores: block {unsound[0]} has a score that is not finite; score the corpus again"
        )


def _min_max(values: Float[np.ndarray, " D"]) -> Float[np.ndarray, " D"]:
    """Scale to [0, 1] over the documents; equal values all become 1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def _units(scores: TokenScores, unit: str) -> Int[np.ndarray, " NT"]:
    corpus = scores.corpus
    if unit == "document":
        return np.asarray(corpus.document).ravel()
    blocks, length = corpus.tokens.shape
    return np.repeat(np.arange(blocks), length)


def _walk(
    hits: Int[np.ndarray, " H"], unit_of_hit: Int[np.ndarray, " H"], ranking: Int[np.ndarray, " R"]
) -> Int[np.ndarray, " H"]:
    """Order the hits by their document's place in the ranking, then by text."""
    if not len(hits):
        return hits
    place = np.zeros(int(unit_of_hit.max()) + 1, dtype=np.int64)
    place[ranking] = np.arange(len(ranking))
    return hits[np.argsort(place[unit_of_hit], kind="stable")]


def _fill(
    hits: Int[np.ndarray, " H"],
    unit: Int[np.ndarray, " NT"],
    has_loss: Bool[np.ndarray, " NT"],
    window: int,
    budget: int,
) -> Int[np.ndarray, " S"]:
    """Return the first ``budget`` distinct tokens of the windows, each window in text order."""
    around = hits[:, None] + np.arange(-window, window + 1)
    inside = (around >= 0) & (around < len(unit))
    around = np.where(inside, around, 0)
    allowed = inside & has_loss[around] & (unit[around] == unit[hits][:, None])
    candidates = around[allowed]
    _, first = np.unique(candidates, return_index=True)
    return candidates[np.sort(first)[:budget]]
