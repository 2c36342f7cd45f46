"""The selection's part of a run's YAML: smoothing, the lexicon, Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """How far a score is drawn toward its neighbours' and toward its token type's.

    Both off (the default) leaves paper Eq. 8's scores as they are.

    Args:
        neighbours: a score becomes the weighted mean over this many tokens to each side in its
            document, the nearer the heavier.
        type_share: this share of the result is the mean score of all tokens of the same type.
        unit: ``token``: a type is a token id. ``word``: a type is a word, in upper or lower case,
            and before all else each token takes the mean over its word (``corpus.words``).
    """

    neighbours: int = 0
    type_share: float = 0.0
    unit: Literal["token", "word"] = "token"

    def __post_init__(self) -> None:
        if self.neighbours < 0:
            raise InputError(f"smoothing.neighbours: {self.neighbours} is below 0; try 2")
        if not 0 <= self.type_share <= 1:
            raise InputError(
                f"smoothing.type_share: {self.type_share} is not between 0 and 1; try 0.5"
            )


@dataclass(frozen=True, kw_only=True)
class LexiconConfig:
    """How far the queries' own words join the scores: a lexicon, from the same labels.

    Off by default: the lexicon knows which words are marked in the queries, the scores what
    learning a token does to the model, so that they err in different places.

    Args:
        share: this share of the result is the words' log-odds, the rest the (smoothed) scores,
            both in units of their standard deviation.
        pseudo_count: weight of the lexicon's prior, in words seen.
    """

    share: float = 0.0
    pseudo_count: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"lexicon.share: {self.share} is not between 0 and 1; try 0.5")
        if not self.pseudo_count > 0:
            raise InputError(f"lexicon.pseudo_count: {self.pseudo_count} is not above 0; try 4")
        if self.share == 0:
            refuse_ignored(self, "lexicon", ("pseudo_count",), "share is 0")


Unit = Literal["document", "block"]


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
    unit: Unit = "document"

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise InputError(
                f"selection.quantile: {self.quantile} is not between 0 and 1; try 0.99"
            )
        if self.window < 0:
            raise InputError(f"selection.window: {self.window} is below 0; try 1")
        if not 0 < self.budget <= 1:
            raise InputError(f"selection.budget: {self.budget} is not in (0, 1]; try 0.02")


Total = Literal["sum", "mean", "max"]
