"""The frozen values that the stages exchange.

Shape legend: N blocks, T tokens a block, Q queries. Every [N, T] array lies on the axis of the
*predicted* token: entry [i, j] speaks of token j of block i, as the corpus, the scores and the
mask do, so that nothing downstream ever needs a shift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide.arrays import AnyArray, read_rows
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# what a noun looks like is the report's to say, and asked for by notebooks alone
notebook = functions_of("ifguide.report.notebook")


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of one text, and the characters [start, end) that each came from.

    ``learnt`` says which of them training learns; None means every one.
    """

    tokens: Int[np.ndarray, " length"]
    start: Int[np.ndarray, " length"]
    end: Int[np.ndarray, " length"]
    learnt: Bool[np.ndarray, " length"] | None = None


@dataclass(frozen=True)
class Turn:
    """Where a message's text lies in the text of its conversation.

    The characters [start, end) of the document are those of message ``message`` (from 0), from its
    character ``offset`` on: a template may drop the white space around a message.
    """

    message: int
    role: str
    start: int
    end: int
    offset: int = 0


@dataclass(frozen=True)
class Document:
    """One text; ``spans`` are its marked characters as [start, end) pairs.

    A conversation has ``turns``, in the order of the text. What comes with tokens of its own, as a
    conversation or token ids that others made, has them in ``encoded``.
    """

    id: str
    text: str
    spans: tuple[tuple[int, int], ...] = ()
    source: str = ""
    kind: str = ""
    turns: tuple[Turn, ...] = field(default=(), repr=False)
    encoded: Encoded | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Corpus:
    """N blocks of T token ids; every token knows its document and its characters there.

    ``document`` counts documents from 0 in corpus order (an index into ``documents``) and is -1
    for padding and for what stands before a text; ``start`` and ``end`` are the token's characters
    [start, end) in that document's text. ``marked`` says which tokens overlap a marked span (all
    False where there are none). ``learnt`` says which tokens training learns at all, as those of an
    assistant's turns; None means every one.
    """

    tokens: Int[np.ndarray, "N T"]
    document: Int[np.ndarray, "N T"]
    start: Int[np.ndarray, "N T"]
    end: Int[np.ndarray, "N T"]
    marked: Bool[np.ndarray, "N T"]
    documents: Sequence[Document]
    end_of_text: int
    fingerprint: str
    learnt: Bool[np.ndarray, "N T"] | None = None

    @cached_property
    def has_loss(self) -> Bool[np.ndarray, "N T"]:
        """Whether a token is predicted: learnt, not the first of its block, and of a document."""
        return self.has_loss_in(slice(None))

    @cached_property
    def token_count(self) -> int:
        """Number of tokens of documents that training learns."""
        return int(self.learnt_in(slice(None)).sum())

    def has_loss_in(self, rows: slice) -> Bool[np.ndarray, "n T"]:
        """``has_loss`` of some blocks, without a look at the others."""
        counted = self.learnt_in(rows)
        counted[:, 0] = False
        return counted

    def learnt_in(self, rows: slice) -> Bool[np.ndarray, "n T"]:
        """Whether tokens of some blocks are of a document, and learnt."""
        of_document = read_rows(self.document, rows) >= 0
        return of_document if self.learnt is None else of_document & read_rows(self.learnt, rows)


@dataclass(frozen=True, eq=False)
class QuerySet:
    """Q token sequences and the weight of each token's loss.

    The query loss is ``sum_qj weights[q][j] * l_qj``. What stands before a text begins each
    sequence; its weight is 0. The weights of a set sum to 1, unless the queries' losses count as
    summed (``queries.weighting: sequence``).
    """

    tokens: Sequence[Int[np.ndarray, " _"]]
    weights: Sequence[Float[np.ndarray, " _"]]


@dataclass(frozen=True, eq=False)
class Contrast:
    """What there should be less of (``toxic``) against what may stay (``safe``)."""

    toxic: QuerySet
    safe: QuerySet
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Direction:
    """``v = (H + mu)^-1 (g_tox - g_safe)``, one [out, in] tensor a tracked weight."""

    weights: Mapping[str, Tensor]  # [out, in] by weight name
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TokenScores:
    """``S_ij = v . grad l_ij``; positive = learning this token makes the model more toxic.

    Tokens without a loss (the first of a block, padding) hold 0. ``metadata`` names the engine,
    its settings and what was scored.
    """

    values: Float[AnyArray, "N T"]
    corpus: Corpus
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Selection:
    """The tokens that training should not learn, and how they were found.

    ``ranking`` lists the numbers of the documents that have a token above ``threshold``, from the
    highest rank down, and ``rank_value`` the value (harmonic mean, in [0, 1]) they were ranked by.
    """

    suppress: Bool[np.ndarray, "N T"]
    threshold: float
    budget: int
    ranking: Int[np.ndarray, " R"]
    rank_value: Float[np.ndarray, " R"]
    corpus: Corpus
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        shown: str = notebook.selection_html(self)
        return shown


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval (95% unless its maker says otherwise)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """How a training stood after an update; None where that was not measured there.

    Args:
        update: how many weight updates were done.
        benign_loss, suppressed_loss: mean loss, in nats, of the tokens that are learnt and of the
            selected ones, over all updates since the point before that has one, each token as it
            was before its update.
        learning_rate: of the update.
        guard_perplexity: of the text that the guard watches.
    """

    update: int
    benign_loss: float | None = None
    suppressed_loss: float | None = None
    learning_rate: float | None = None
    guard_perplexity: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """How a training went, in the order of its updates."""

    points: tuple[TrainingPoint, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A causal language model that can be opened: a stage's, or the one that a run was given.

    ``runs_code`` says whether code that comes with it may run; ``curve`` is how a training of ours
    that made it went.
    """

    open: Callable[[], nn.Module]
    runs_code: bool = False
    curve: TrainingCurve | None = None

    @cached_property
    def model(self) -> nn.Module:
        """The model, in evaluation mode and shared; whoever changes it opens one of its own."""
        return self.open()
