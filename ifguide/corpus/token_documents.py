"""Token ids that others made as documents: what is learnt of them, and their text by decoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.config import Source
from ifguide.corpus.fields import Record, describe, label_field, lookup, spans_field
from ifguide.corpus.raw import too_long
from ifguide.corpus.token_files import LOSS, FlatIds
from ifguide.corpus.tokenizers import end_of_text, vocabulary_of
from ifguide.errors import InputError
from ifguide.nouns import Document, Encoded

NOT_LEARNT = -100  # a label without a loss, as PyTorch's cross-entropy has it
STRETCH = 1 << 16  # tokens of a flat file without an end-of-text, cut into documents of this many

Ids = Int[np.ndarray, " length"]


def token_documents(
    records: Iterable[Record], source: Source, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Document]:
    """Yield the token ids of each record as a document; a flat file's ends at each end-of-text.

    What ``source.labels`` has as -100 and ``source.loss_mask`` as 0 is not learnt; what
    ``source.attention_mask`` has as 0 is padding, and left out.

    Raises:
        InputError: a field is missing or of another type or length, an id is outside of the
            tokenizer's vocabulary, or a label is another id.
    """
    for record in records:
        value = lookup(record, source.tokens or "", source.setting("tokens"))
        if isinstance(value, FlatIds):
            for number, ids in enumerate(_stretches(value, record, tokenizer)):
                name = f"{record.id}/{number}"
                yield _document(ids, None, record, source, tokenizer, name)
            continue
        ids = _integers(value, record, source, "tokens")
        learnt = _learnt(ids, record, source)
        if source.attention_mask is not None:
            kept = _flags(record, source, "attention_mask", len(ids))
            ids, learnt = ids[kept], None if learnt is None else learnt[kept]
        yield _document(ids, learnt, record, source, tokenizer, record.id)


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Ids) -> tuple[str, Ids, Ids]:
    """Return the text of token ids and the characters [start, end) of each.

    Tokens that hold parts of a character share its span. Special tokens are spelt out, but for an
    end-of-text that is the last token, which has the empty span there.
    """
    texts = ids[:-1] if len(ids) and ids[-1] == end_of_text(tokenizer) else ids
    stream = DecodeStream(skip_special_tokens=False)
    rules = tokenizer.backend_tokenizer
    parts: list[str] = []
    start, end = np.zeros((2, len(ids)), dtype=np.int32)
    length, open_from = 0, 0
    for number, token in enumerate(texts.tolist()):
        part = stream.step(rules, token)
        if part:
            start[open_from : number + 1], length = length, length + len(part)
            end[open_from : number + 1] = length
            open_from = number + 1
            parts.append(part)
    start[open_from:] = end[open_from:] = length
    return "".join(parts), start, end


def _document(
    ids: Ids,
    learnt: Bool[np.ndarray, " length"] | None,
    record: Record,
    source: Source,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
) -> Document:
    vocabulary = vocabulary_of(tokenizer)
    outside = np.flatnonzero((ids < 0) | (ids >= vocabulary))
    if len(outside):
        first = int(outside[0])
        raise InputError(
            f"{record.place}: token {first} is {ids[first]}, outside of the tokenizer's "
            f"{vocabulary:,} ids; give the tokenizer that the ids were made with"
        )
    text, start, end = decoded(tokenizer, ids)
    if len(text) > source.longest_record:
        raise InputError(too_long(record.place, source.longest_record, "characters"))
    spans = source.spans
    marks = spans_field(record, spans, source.setting("spans"), len(text)) if spans else ()
    kind = label_field(record, source.kind, source.setting("kind")) if source.kind else ""
    encoded = Encoded(ids.astype(np.int32), start, end, learnt)
    return Document(name, text, marks, source.name, kind, encoded=encoded)


def _learnt(ids: Ids, record: Record, source: Source) -> Bool[np.ndarray, " length"] | None:
    """Return what the record says is learnt; None where it says nothing."""
    found = None
    if source.labels is not None:
        value = lookup(record, source.labels, source.setting("labels"))
        labels = _integers(value, record, source, "labels", len(ids))
        found = labels != NOT_LEARNT
        other = np.flatnonzero(found & (labels != ids))
        if len(other):
            raise InputError(
                f"{record.place}: label {int(other[0])} of '{source.labels}' is "
                f"{labels[other[0]]}, neither {NOT_LEARNT} nor the token there "
                f"({ids[other[0]]}); name another field with {source.setting('labels')}"
            )
    beside = source.loss_mask is not None
    if beside or (LOSS in record.fields and isinstance(record.fields[LOSS], np.ndarray)):
        flags = _flags(record, source, "loss_mask", len(ids))
        found = flags if found is None else found & flags
    return found


def _flags(record: Record, source: Source, setting: str, length: int) -> Bool[np.ndarray, " n"]:
    name = getattr(source, setting) or LOSS
    value = lookup(record, name, source.setting(setting))
    flags = _integers(value, record, source, setting, length)
    if not np.isin(flags, (0, 1)).all():
        raise InputError(
            f"{record.place}: field '{name}' holds more than 0 and 1; name a mask with "
            f"{source.setting(setting)}"
        )
    return flags == 1


def _integers(
    value: Any, record: Record, source: Source, setting: str, length: int | None = None
) -> Ids:
    """Return a field of whole numbers, of this length where one is given."""
    name = getattr(source, setting) or LOSS
    array = np.asarray(value) if isinstance(value, list | tuple | np.ndarray) else None
    if array is not None and not array.size:
        array = np.zeros(0, np.int64)
    if array is None or array.ndim != 1 or array.dtype.kind not in "iub":
        raise InputError(
            f"{record.place}: field '{name}' is {describe(value)}, not a list of whole numbers; "
            f"name another field with {source.setting(setting)}"
        )
    if length is not None and len(array) != length:
        raise InputError(
            f"{record.place}: field '{name}' has {len(array)} entries for {length} tokens; "
            "mend or remove the record"
        )
    return array.astype(np.int64)


def _stretches(flat: FlatIds, record: Record, tokenizer: PreTrainedTokenizerBase) -> Iterator[Ids]:
    """Yield a flat file's ids up to each end-of-text, which belongs to what it ends."""
    ids, closing = _typed(flat.array, record, vocabulary_of(tokenizer)), end_of_text(tokenizer)
    start = 0
    while start < len(ids):
        part = np.asarray(ids[start : start + STRETCH]).astype(np.int64)
        ends = np.flatnonzero(part == closing)
        bounds = [0, *(ends + 1).tolist()] if len(ends) else [0, len(part)]
        if start + len(part) == len(ids) and bounds[-1] < len(part):
            bounds.append(len(part))
        for first, stop in pairwise(bounds):
            yield part[first:stop]
        start += bounds[-1]


def _typed(array: np.ndarray, record: Record, vocabulary: int) -> np.ndarray:
    """Return ids of a file that does not say how wide they are: 16 bits where these suffice."""
    if array.dtype != np.uint8:
        return array
    dtype = np.dtype("<u2") if vocabulary <= 1 << 16 else np.dtype("<u4")
    if len(array) % dtype.itemsize:
        raise InputError(
            f"{record.place}: {len(array):,} bytes are no whole number of ids of "
            f"{dtype.itemsize} bytes, which a vocabulary of {vocabulary:,} has; give the tokenizer "
            "that the ids were made with"
        )
    return array.view(dtype)
