"""Whole documents as what is selected: what filters and document-level influence remove."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ifguide.arrays import read_rows, slabs
from ifguide.errors import InputError
from ifguide.nouns import Selection, TokenScores
from ifguide.selection.config import Total


def select_documents(
    scores: TokenScores, budget: float, total: Total = "sum", above: float | None = None
) -> Selection:
    """Select whole documents, the highest total first, as long as they fit the budget.

    Args:
        scores: of the tokens.
        budget: share of the corpus's tokens to select at most. A document that does not fit any
            more is passed over, and shorter ones after it may still fit.
        total: what a document's tokens with a loss come to: their ``sum`` (for influence scores the
            document's own influence, paper Eq. 6), their ``mean`` or their ``max``.
        above: only documents whose total is above this are selected, whatever the budget allows.

    Returns:
        the mask: every token with a loss of the selected documents. ``threshold`` is the lowest
        total among them, ``ranking`` all documents by their total, ``rank_value`` the totals.

    Raises:
        InputError: the budget is not in (0, 1], or the scores have another shape than the corpus.
    """
    if not 0 < budget <= 1:
        raise InputError(f"document budget: {budget} is not in (0, 1]; try 0.1")
    corpus = scores.corpus
    if scores.values.shape != corpus.tokens.shape:
        raise InputError(
            f"scores: they have shape {scores.values.shape}, the corpus {corpus.tokens.shape}; "
            "score this corpus"
        )
    value, size = document_totals(scores, total)
    ranking = np.flatnonzero(size)[np.argsort(-value[size > 0], kind="stable")]
    limit = int(budget * corpus.token_count + 1e-9)
    chosen = np.zeros(len(value), dtype=bool)
    left = limit
    for document in ranking:
        if above is not None and value[document] <= above:
            break
        if size[document] <= left:
            chosen[document] = True
            left -= int(size[document])
        if not left:
            break
    document = np.asarray(corpus.document)
    return Selection(
        suppress=chosen[document] & corpus.has_loss,
        threshold=float(value[chosen].min()) if chosen.any() else float("inf"),
        budget=limit,
        ranking=ranking,
        rank_value=value[ranking],
        corpus=corpus,
        metadata={**scores.metadata, "unit": "document", "total": total},
    )


def select_above(scores: TokenScores, threshold: float) -> Selection:
    """Select every token whose score is above a threshold, as many as these are.

    Returns:
        the mask; ``ranking`` has the documents with such a token by how many these are, and
        ``rank_value`` the share of their tokens.

    Raises:
        InputError: no token's score is, or every token's.
    """
    corpus = scores.corpus
    suppress = (np.asarray(scores.values) > threshold) & corpus.has_loss
    found = int(suppress.sum())
    if found in (0, int(corpus.has_loss.sum())):
        which = "no" if found == 0 else "every"
        raise InputError(
            f"scores: {which} token's score is above {threshold:g}, so that nothing is told apart; "
            "use another scorer, or another word list"
        )
    share, size = document_totals(TokenScores(suppress.astype(np.float32), corpus), "mean")
    ranking = np.flatnonzero(share)[np.argsort(-(share * size)[share > 0], kind="stable")]
    return Selection(
        suppress=suppress,
        threshold=threshold,
        budget=found,
        ranking=ranking,
        rank_value=share[ranking],
        corpus=corpus,
        metadata={**scores.metadata, "unit": "token", "above": threshold},
    )


def document_totals(
    scores: TokenScores, total: Total
) -> tuple[Float[np.ndarray, " D"], Int[np.ndarray, " D"]]:
    """Return each document's total over its tokens with a loss, and how many these are.

    A document that has none has the total 0. Sums are in float64.
    """
    corpus = scores.corpus
    documents = 1 + max(
        int(read_rows(corpus.document, rows).max()) for rows in slabs(scores.values.shape)
    )
    value = np.full(documents, -np.inf if total == "max" else 0.0)
    size = np.zeros(documents, dtype=np.int64)
    for rows in slabs(scores.values.shape):
        document = read_rows(corpus.document, rows)
        counted = corpus.has_loss_in(rows)
        of, added = document[counted], read_rows(scores.values, rows)[counted].astype(np.float64)
        (np.maximum if total == "max" else np.add).at(value, of, added)
        np.add.at(size, of, 1)
    if total == "mean":
        value /= np.maximum(size, 1)
    return np.where(size > 0, value, 0.0), size
