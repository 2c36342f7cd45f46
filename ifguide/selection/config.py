"""The selection's part of a run's YAML: smoothing, the lexicon, Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ifguide.ignored import refuse_ignored
from ifguide.ranges import CountOrNone, Positive, Range, Share, ShareAboveZero, check_ranges


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

    neighbours: Annotated[int, Range(0, 10_000)] = 0
    type_share: Share = 0.0
    unit: Literal["token", "word"] = "token"

    def __post_init__(self) -> None:
        check_ranges(self, "smoothing")


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

    share: Share = 0.0
    pseudo_count: Positive = 4.0

    def __post_init__(self) -> None:
        check_ranges(self, "lexicon")
        if self.share == 0:
            refuse_ignored(self, "lexicon", ("pseudo_count",), "share is 0")


Unit = Literal["document", "block"]


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How many tokens are selected, and which.

    Args:
        quantile: the threshold is this quantile of the scores of all tokens with a loss.
        window: neighbours to each side that a token above the threshold brings along.
        budget: share of the corpus's tokens to select, of those that are learnt.
        unit: what is walked by rank: each ``document``, or each ``block`` as in the IF-Guide
            authors' code.
    """

    quantile: Annotated[float, Range(0, 1, above=True, below=True)] = 0.99
    window: CountOrNone = 1
    budget: ShareAboveZero = 0.02
    unit: Unit = "document"

    def __post_init__(self) -> None:
        check_ranges(self, "selection")


Total = Literal["sum", "mean", "max"]
