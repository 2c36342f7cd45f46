"""Queries: what there should be less of against what may stay, as weighted token sequences."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.completions import (
    Completion,
    Sides,
    ToxicitySplit,
    read_completions,
    read_split,
)
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sources import Source
from ifguide.corpus.spans import overlaps
from ifguide.corpus.tokenizers import encode, end_of_text
from ifguide.errors import InputError
from ifguide.nouns import Contrast, Document, QuerySet

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
ENCODED_TOGETHER = 256  # texts; the result does not depend on it


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


@dataclass(frozen=True, eq=False)
class _Query:
    """Tokens after a leading end-of-text, and which of them count."""

    tokens: Int[np.ndarray, " length"]
    counted: Bool[np.ndarray, " length"]


def load_contrast(
    config: QueriesConfig,
    tokenizer: PreTrainedTokenizerBase,
    data_dir: Path,
    exclude: Container[str] = frozenset(),
    seed_of_builtin: int = 0,
) -> Contrast:
    """Read, tokenise and weigh both sides; ``exclude`` names ids of records to pass over.

    A marked document none of whose marked tokens lies within ``max_length`` is dropped from both
    sides, and counted in a warning.

    Raises:
        InputError: data that cannot be used, an empty completion, or a side without any token.
    """
    if config.kind == "marked":
        source = replace(config.source, marked=True)
        documents = read_documents(source, data_dir, seed_of_builtin)
        wanted = (document for document in documents if document.id not in exclude)
        toxic = list(itertools.islice(_marked_queries(wanted, tokenizer, config), config.limit))
        safe = [_Query(query.tokens, _others(query.counted)) for query in toxic]
    else:
        sides = _read_sides(config, data_dir, exclude)
        toxic, safe = (list(_completion_queries(side, tokenizer, config)) for side in sides)
    sets = []
    for name, queries in (("toxic", toxic), ("safe", safe)):
        if not any(query.counted.any() for query in queries):
            raise InputError(
                f"{config.source.shown}: no token is left on the {name} side; raise "
                "queries.max_length, or check the spans and filters of queries.source"
            )
        sets.append(_query_set(queries, config.weighting))
    return Contrast(toxic=sets[0], safe=sets[1], fingerprint=_fingerprint(sets))


def token_weights(
    counted: Sequence[Bool[np.ndarray, " _"]], weighting: Literal["token", "query"]
) -> list[Float[np.ndarray, " _"]]:
    """Weights that sum to 1 over the set: of every counted token alike, or of every query alike.

    A query without a counted token has weight 0 and does not change the others' share.

    >>> token_weights([np.array([False, True]), np.array([True, True])], "query")
    [array([0. , 0.5]), array([0.25, 0.25])]
    """
    counts = [int(query.sum()) for query in counted]
    if weighting == "token":
        return [query / sum(counts) for query in counted]
    queries = sum(count > 0 for count in counts)
    return [query / (max(count, 1) * queries) for query, count in zip(counted, counts, strict=True)]


def _read_sides(config: QueriesConfig, data_dir: Path, exclude: Container[str]) -> Sides:
    if config.kind == "rtp":
        split = ToxicitySplit(
            field=config.toxicity,
            toxic_at_least=config.toxic_at_least,
            safe_at_most=config.safe_at_most,
            toxic_subset=config.toxic_subset,
            safe_subset=config.safe_subset,
        )
        prompt = config.prompt or "prompt.text"
        return read_split(
            config.source,
            data_dir,
            prompt,
            config.completion,
            split,
            exclude=exclude,
            limit=config.limit,
        )
    sources = (config.source, config.safe_source or config.source)
    fields = ((config.toxic, "queries.toxic"), (config.safe, "queries.safe"))
    toxic, safe = (
        list(
            read_completions(
                source, data_dir, config.prompt, field, exclude=exclude, limit=config.limit
            )
        )
        for source, field in zip(sources, fields, strict=True)
    )
    return toxic, safe


def _marked_queries(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, config: QueriesConfig
) -> Iterator[_Query]:
    closing, room = end_of_text(tokenizer), config.max_length - 1
    dropped = 0
    for batch in _batched(documents):
        encoded = encode(tokenizer, [document.text for document in batch])
        for document, cut in zip(batch, encoded, strict=True):
            counted = overlaps(cut.start[:room], cut.end[:room], document.spans)
            if counted.any():
                yield _after(closing, cut.tokens[:room], counted)
            else:
                dropped += 1
    if dropped:
        logger.warning(
            "%s: dropped %d documents without a marked token in their first %d tokens",
            config.source.shown,
            dropped,
            room,
        )


def _completion_queries(
    completions: Iterable[Completion], tokenizer: PreTrainedTokenizerBase, config: QueriesConfig
) -> Iterator[_Query]:
    closing, room = end_of_text(tokenizer), config.max_length - 1
    for batch in _batched(completions):
        encoded = encode(tokenizer, [item.prompt + item.text for item in batch])
        for item, cut in zip(batch, encoded, strict=True):
            counted = overlaps(cut.start, cut.end, [(len(item.prompt), np.iinfo(np.int32).max)])
            if not counted.any():
                raise InputError(
                    f"{item.place}: no token is left of the completion; change or remove the record"
                )
            first = min(max(len(counted) - room, 0), int(np.argmax(counted)))
            kept = slice(first, first + room)
            yield _after(closing, cut.tokens[kept], counted[kept])


def _after(
    closing: int, tokens: Int[np.ndarray, " length"], counted: Bool[np.ndarray, " length"]
) -> _Query:
    return _Query(np.insert(tokens, 0, closing), np.insert(counted, 0, False))


def _others(counted: Bool[np.ndarray, " length"]) -> Bool[np.ndarray, " length"]:
    others = ~counted
    others[0] = False  # the leading end-of-text has no loss
    return others


def _query_set(queries: Sequence[_Query], weighting: Literal["token", "query"]) -> QuerySet:
    weights = token_weights([query.counted for query in queries], weighting)
    return QuerySet([query.tokens for query in queries], weights)


def _fingerprint(sets: Iterable[QuerySet]) -> str:
    digest = hashlib.sha256()
    for side in sets:
        for tokens, weights in zip(side.tokens, side.weights, strict=True):
            digest.update(f"{len(tokens)} ".encode())
            digest.update(tokens.astype("<i4").tobytes() + weights.astype("<f8").tobytes())
        digest.update(b"side")
    return digest.hexdigest()


def _batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    stream = iter(items)
    while batch := list(itertools.islice(stream, ENCODED_TOGETHER)):
        yield batch
