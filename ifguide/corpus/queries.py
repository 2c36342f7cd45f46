"""Queries: what there should be less of against what may stay, as weighted token sequences."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

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
from ifguide.corpus.config import QueriesConfig, Weighting
from ifguide.corpus.documents import read_documents
from ifguide.corpus.sides import check_sides_differ
from ifguide.corpus.spans import overlaps
from ifguide.corpus.starts import room_behind, text_start
from ifguide.corpus.tokenizers import encode, encoded_documents
from ifguide.errors import InputError
from ifguide.nouns import Contrast, Document, QuerySet

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
ENCODED_TOGETHER = 256  # texts; the result does not depend on it


@dataclass(frozen=True, eq=False)
class _Query:
    """Tokens after those that stand before a text, and which of them count."""

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
        InputError: data that cannot be used, an empty completion, a side without any token, or two
            sides that are alike.
    """
    if config.kind == "marked":
        source = replace(config.source, marked=True)
        documents = read_documents(source, data_dir, seed_of_builtin, tokenizer)
        wanted = (document for document in documents if document.id not in exclude)
        found = list(itertools.islice(_marked_queries(wanted, tokenizer, config), config.limit))
        toxic, safe = [query for query, _ in found], [query for _, query in found]
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
    contrast = Contrast(toxic=sets[0], safe=sets[1], fingerprint=_fingerprint(sets))
    check_sides_differ(contrast)
    return contrast


def token_weights(
    counted: Sequence[Bool[np.ndarray, " _"]], weighting: Weighting
) -> list[Float[np.ndarray, " _"]]:
    """Weights of a mean over the set: of tokens, of queries' means, or of queries' sums.

    By ``token`` and ``query`` they sum to 1 over the set, by ``sequence`` to the mean number of
    counted tokens a query. A query without a counted token has weight 0 and does not change the
    others' share.

    >>> token_weights([np.array([False, True]), np.array([True, True])], "query")
    [array([0. , 0.5]), array([0.25, 0.25])]
    >>> token_weights([np.array([False, True]), np.array([True, True])], "sequence")
    [array([0. , 0.5]), array([0.5, 0.5])]
    """
    counts = [int(query.sum()) for query in counted]
    if weighting == "token":
        return [query / sum(counts) for query in counted]
    queries = sum(count > 0 for count in counts)
    if weighting == "sequence":
        return [query / queries for query in counted]
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
) -> Iterator[tuple[_Query, _Query]]:
    """Yield each document twice: its marked tokens count, and all others that are learnt."""
    start = text_start(tokenizer)
    room = room_behind(start, config.max_length, "queries.max_length")
    dropped = 0
    for batch in _batched(documents):
        for document, cut in encoded_documents(tokenizer, batch):
            own = document.encoded is not None
            before, kept = ((), config.max_length) if own else (start, room)
            tokens, marked = cut.tokens[:kept], overlaps(cut.start, cut.end, document.spans)[:kept]
            learnt = np.ones(len(tokens), np.bool_)
            learnt &= True if cut.learnt is None else cut.learnt[:kept]
            learnt[: int(own)] = False  # nothing stands before it that could predict it
            if (marked & learnt).any():
                both = (marked & learnt, ~marked & learnt)
                toxic, safe = (_after(before, tokens, counted) for counted in both)
                yield toxic, safe
            else:
                dropped += 1
    if dropped:
        logger.warning(
            "%s: dropped %d documents without a marked token to learn in the first %d tokens",
            config.source.shown,
            dropped,
            config.max_length,
        )


def _completion_queries(
    completions: Iterable[Completion], tokenizer: PreTrainedTokenizerBase, config: QueriesConfig
) -> Iterator[_Query]:
    start = text_start(tokenizer)
    room = room_behind(start, config.max_length, "queries.max_length")
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
            yield _after(start, cut.tokens[kept], counted[kept])


def _after(
    start: Sequence[int], tokens: Int[np.ndarray, " length"], counted: Bool[np.ndarray, " length"]
) -> _Query:
    return _Query(np.insert(tokens, 0, start), np.insert(counted, 0, [False] * len(start)))


def _query_set(queries: Sequence[_Query], weighting: Weighting) -> QuerySet:
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
