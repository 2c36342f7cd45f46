"""The corpus's part of a run's YAML: what is trained on, how it is cut, what is asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ifguide.corpus.sources import Source
from ifguide.errors import InputError
from ifguide.ignored import refuse_ignored


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What is trained on.

    Args:
        sources: where documents come from; they are packed in this order.
        block_length: tokens a block, T.
    """

    sources: tuple[Source, ...] = ()
    block_length: int = 256

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("corpus.sources: there is none; list at least one source of documents")
        if self.block_length < 2:
            raise InputError(f"corpus.block_length: {self.block_length} is below 2; try 256")
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"corpus.sources: two are named '{name}'; give each its own name")


SMALLEST = 257  # the 256 bytes and end-of-text


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Which tokenizer cuts the text; exactly one of ``path`` and ``vocab_size`` is set.

    Args:
        path: folder of a saved tokenizer, or its name on the hub; it must have a fast version.
        vocab_size: train a byte-level BPE of this many tokens on the corpus.
        trust_remote_code: run the code that comes with ``path``.
    """

    path: str | None = None
    vocab_size: int | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Refuse none or both of the two, and a vocabulary without room for the bytes."""
        if (self.path is None) == (self.vocab_size is None):
            found = "neither" if self.path is None else "both"
            raise InputError(f"tokenizer: set one of path and vocab_size; {found} is set")
        if self.vocab_size is not None and self.vocab_size < SMALLEST:
            raise InputError(_too_small(self.vocab_size))
        if self.path is None:
            refuse_ignored(self, "tokenizer", ("trust_remote_code",), "one is trained, none loaded")


def _too_small(vocab_size: int) -> str:
    return (
        f"tokenizer.vocab_size: {vocab_size} is too small for the 256 bytes and end-of-text; "
        f"give {SMALLEST} or more"
    )


_READ_BY = {  # by the kind of queries: settings that not all kinds read
    "marked": (),
    "pairs": ("safe_source", "prompt", "toxic", "safe"),
    "rtp": (
        *("prompt", "completion", "toxicity"),
        *("toxic_at_least", "safe_at_most", "toxic_subset", "safe_subset"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class QueriesConfig:
    """Where the two sides come from. Field names may be dotted.

    ``marked``: in each document of ``source`` that has marked spans, their tokens are the toxic
    side and all others the safe side. ``pairs``: a record's ``toxic`` and ``safe`` completions of
    its ``prompt``; with ``safe_source`` the safe ones come from there. ``rtp``: records with one
    ``completion`` each, told apart by ``toxicity`` or by lists of record numbers.

    Args:
        kind: marked, pairs or rtp.
        source: the documents or records; for pairs with ``safe_source``, the toxic side only.
        safe_source: pairs: another source, of the safe side.
        prompt: field of the prompt; null means none (pairs) or ``prompt.text`` (rtp). Prompt and
            completion are joined as they are, with no space put between them.
        toxic: pairs: field of the toxic completion.
        safe: pairs: field of the safe completion.
        completion: rtp: field of the completion.
        toxicity: rtp: field of its toxicity, in [0, 1]; a record without a value is skipped.
        toxic_at_least: rtp: lowest toxicity of the toxic side.
        safe_at_most: rtp: highest toxicity of the safe side.
        toxic_subset: rtp: file (.npy, .json, .txt) of the records of the toxic side, numbered from
            0 over the whole source, instead of ``toxic_at_least``.
        safe_subset: rtp: the same for the safe side.
        limit: at most this many queries a side, the first ones.
        max_length: longest query in tokens, its leading end-of-text included. Marked documents
            lose their end; prompts their beginning, and a completion that alone is longer its end.
        weighting: every counted token of a side weighs the same, or every query of a side does.
    """

    kind: Literal["marked", "pairs", "rtp"] = "marked"
    source: Source
    safe_source: Source | None = None
    prompt: str | None = None
    toxic: str = "toxic"
    safe: str = "safe"
    completion: str = "continuation.text"
    toxicity: str = "continuation.toxicity"
    toxic_at_least: float = 0.75
    safe_at_most: float = 0.25
    toxic_subset: str | None = None
    safe_subset: str | None = None
    limit: int | None = None
    max_length: int = 256
    weighting: Literal["token", "query"] = "token"

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another or would be without effect."""
        problem = self._problem()
        if problem is not None:
            raise InputError(f"queries.{problem}")
        read = _READ_BY[self.kind]
        others = {name for names in _READ_BY.values() for name in names} - set(read)
        refuse_ignored(self, "queries", tuple(others), f"kind is {self.kind}")
        if self.toxic_subset is not None:
            refuse_ignored(self, "queries", ("toxic_at_least",), "toxic_subset takes its place")
        if self.safe_subset is not None:
            refuse_ignored(self, "queries", ("safe_at_most",), "safe_subset takes its place")
        if self.toxic_subset is not None and self.safe_subset is not None:
            refuse_ignored(self, "queries", ("toxicity",), "both sides have a subset")
        if self.kind != "marked":
            documents = ("text", "spans", "kind", "marked")
            since = f"kind {self.kind} takes its texts from other fields"
            refuse_ignored(self.source, "queries.source", documents, since)
            if self.safe_source is not None:
                refuse_ignored(self.safe_source, "queries.safe_source", documents, since)

    def _problem(self) -> str | None:
        if self.kind not in ("marked", "pairs", "rtp"):
            return f"kind: '{self.kind}' is unknown; give marked, pairs or rtp"
        if self.weighting not in ("token", "query"):
            return f"weighting: '{self.weighting}' is unknown; give token or query"
        if self.max_length < 2:
            return f"max_length: {self.max_length} leaves no token to predict; give 2 or more"
        if self.limit is not None and self.limit < 1:
            return f"limit: {self.limit} leaves no query; give 1 or more, or null"
        if not self.safe_at_most < self.toxic_at_least:
            return f"safe_at_most: {self.safe_at_most} is not below toxic_at_least; lower it"
        if self.source.held_out or (self.safe_source is not None and self.safe_source.held_out):
            return "source.held_out: queries are not trained on, so nothing is held out; remove it"
        if self.kind != "pairs" and self.safe_source is not None:
            return f"safe_source: kind {self.kind} reads one source; remove it, or use pairs"
        if self.kind != "rtp" and (self.toxic_subset or self.safe_subset):
            return f"toxic_subset, safe_subset: kind {self.kind} has none; use source.subset"
        if self.kind == "marked" and self.source.marked is False:
            return "source.marked: false leaves no marked text; remove it"
        if self.kind == "marked" and self.source.spans is None and self.source.builtin is None:
            return "source.spans: it is not set; name the field of the marked spans"
        return None
