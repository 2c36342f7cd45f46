"""What decides nothing is refused: no token selected, every token, or scores that are all equal."""

from __future__ import annotations

import numpy as np

from ifguide.arrays import read_rows, slabs
from ifguide.errors import InputError
from ifguide.nouns import Selection, TokenScores


def check_budget(share: float, tokens: int, setting: str = "selection.budget") -> None:
    """Refuse a budget that has no room for a single token.

    Args:
        share: of the corpus's tokens that may be selected.
        tokens: that the corpus has.
        setting: which says so.

    Raises:
        InputError: it has none.
    """
    if int(share * tokens + 1e-9) < 1:
        raise InputError(
            f"{setting}: {share:g} of {tokens:,} tokens is not a single one; give at least "
            f"{np.ceil(1e6 / tokens) / 1e6:g}"
        )


def check_tokens(selection: Selection, scores: TokenScores, section: str = "selection") -> None:
    """Refuse a selection of no token, or of every token that has a loss.

    Args:
        selection: by ``scores``.
        scores: what it was made of.
        section: where the settings of the selection are.

    Raises:
        InputError: nothing or everything is selected; the setting that leads to it is named.
    """
    selected = int(selection.suppress.sum())
    if not selected:
        check_scores_differ(scores)
    check_selected(selected, int(selection.corpus.has_loss.sum()), selection.threshold, section)


def check_selected(
    selected: int, with_loss: int, threshold: float, section: str = "selection"
) -> None:
    """Refuse to select no token, or every token that has a loss.

    Raises:
        InputError: nothing or everything is selected; the setting that leads to it is named.
    """
    if not selected:
        raise InputError(
            f"{section}.quantile: no score lies above the threshold {threshold:g}, which the "
            "highest ones share; lower it"
        )
    _check_some_left(
        selected, with_loss, f"{section}.budget", "every token of the corpus is selected"
    )


def check_documents(selection: Selection, scores: TokenScores, budget: str) -> None:
    """Refuse a selection of no document, or of every one; ``budget`` is the setting of how many.

    Raises:
        InputError: nothing or everything is selected, or the scores do not tell documents apart.
    """
    check_scores_differ(scores)
    if not selection.suppress.any():
        raise InputError(
            f"{budget}: no document is as short as the {selection.budget:,} tokens that it allows; "
            "raise it"
        )
    selected, with_loss = int(selection.suppress.sum()), int(selection.corpus.has_loss.sum())
    _check_some_left(selected, with_loss, budget, "every document of the corpus is selected")


def check_scores_differ(scores: TokenScores) -> None:
    """Refuse scores that are the same for every token.

    Raises:
        InputError: they are.
    """
    low, high = np.inf, -np.inf
    for rows in slabs(scores.values.shape):
        counted = scores.corpus.has_loss_in(rows)
        values = read_rows(scores.values, rows)[counted]
        low, high = min(low, values.min(initial=low)), max(high, values.max(initial=high))
    if low == high:
        raise InputError(
            f"scores: every token has the same score, {low:g}, so that none can be told from "
            "another; give queries whose words or topics the corpus has, or smooth less"
        )


def _check_some_left(selected: int, with_loss: int, budget: str, what: str) -> None:
    if selected == with_loss:
        raise InputError(f"{budget}: {what}, so that nothing is left to learn; lower it")
