"""Documents on disk with random access, and how the records of a source become documents."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, final, overload

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.chat_tokens import ChatTokens, joined
from ifguide.corpus.config import EACH, LISTED, Source
from ifguide.corpus.conversations import conversation_of
from ifguide.corpus.fields import Record, label_field, spans_field, text_field, texts_field
from ifguide.corpus.raw import too_long
from ifguide.corpus.sources import Tally, counted, falls_in, first_of, read_records
from ifguide.corpus.token_documents import token_documents
from ifguide.errors import InputError, reading
from ifguide.nouns import Document, Encoded, Turn

# of a record batch, which is what random access touches: documents, and characters that close it
BATCH, CHARACTERS = 256, 1 << 22
_OF_TEXT = {
    "id": pa.large_string(),
    "text": pa.large_string(),
    "spans": pa.large_list(pa.list_(pa.int64(), 2)),
    "source": pa.large_string(),
    "kind": pa.large_string(),
}
_OF_CONVERSATIONS = {
    "turns": pa.list_(
        pa.struct(
            {
                "message": pa.int32(),
                "role": pa.string(),
                "start": pa.int64(),
                "end": pa.int64(),
                "offset": pa.int64(),
            }
        )
    )
}
_OF_TOKENS = {  # null where a document comes without
    "tokens": pa.list_(pa.int32()),
    "start": pa.list_(pa.int32()),
    "end": pa.list_(pa.int32()),
    "learnt": pa.list_(pa.bool_()),
}
SCHEMA = pa.schema({**_OF_TEXT, **_OF_CONVERSATIONS, **_OF_TOKENS}, metadata={"batch": str(BATCH)})
TEXTS_ALONE = pa.schema(_OF_TEXT)  # as it was before documents came with tokens of their own


@final
class Documents(Sequence[Document]):
    """Documents in an Arrow file, memory-mapped: any one is read without reading the others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(str(path), "make it again", fault="not a readable file of documents"):
            self._reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        metadata = self._reader.schema.metadata or {}
        if self._reader.schema not in (SCHEMA, TEXTS_ALONE) or b"batch" not in metadata:
            raise InputError(f"{path}: an Arrow file, but not one of documents; make it again")
        batches = range(self._reader.num_record_batches)
        rows = (self._reader.get_batch(batch).num_rows for batch in batches)
        self._ends = list(itertools.accumulate(rows))
        self._batch = lru_cache(maxsize=2)(self._reader.get_batch)

    @classmethod
    def open(cls, path: Path) -> Documents:
        """Open a file that :meth:`write` made.

        Raises:
            InputError: the file is missing, cut short or something else.
        """
        return cls(Path(path))

    @classmethod
    def write(cls, path: Path, documents: Iterable[Document]) -> Documents:
        """Write documents to ``path`` as they come, a batch in memory at a time, and open it."""
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for batch in batched(documents, CHARACTERS, BATCH):
                rows = [_row(document) for document in batch]
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
        return cls(Path(path))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # counts negative numbers from the end, raises IndexError
        batch = bisect_right(self._ends, number)
        first = self._ends[batch - 1] if batch else 0
        return _document(self._batch(batch).slice(number - first, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Document]:
        for batch in range(self._reader.num_record_batches):
            for row in self._batch(batch).to_pylist():
                yield _document(row)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as a path."""
        return (Documents, (self.path,))


def batched(
    documents: Iterable[Document], characters: int, most: int | None = None
) -> Iterator[list[Document]]:
    """Yield documents together until their texts hold ``characters``, or there are ``most``."""
    batch: list[Document] = []
    held = 0
    for document in documents:
        batch.append(document)
        held += len(document.text)
        if held >= characters or len(batch) == most:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def read_documents(
    source: Source,
    data_dir: Path,
    seed_of_builtin: int = 0,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[Document]:
    """All documents that the source's filters keep, in file order, as a stream.

    The filters act in the order ``subset``, ``ids``, ``at_least``, ``at_most``, ``marked``,
    ``limit``. Held-out documents are among them: ask :func:`is_held_out`. Errors in the data come
    when their place is reached.

    Args:
        source: what to read.
        data_dir: folder that relative paths start from.
        seed_of_builtin: seed of the built-in corpus, where that is the source.
        tokenizer: writes and cuts conversations, decodes token ids; None where there is none.

    Raises:
        InputError: data that cannot be used (missing, empty, not UTF-8, a field that is missing or
            of a wrong type, a span outside its text, an id that appears twice), a subset entry
            that does not exist, filters that keep nothing, or conversations without a tokenizer.
    """
    if source.builtin is not None:
        source = replace(source, text="text", id="id", spans="spans", kind="kind")
    tally: Tally = {}
    records = read_records(source, data_dir, tally, seed_of_builtin)
    documents: Iterator[Document]
    if source.is_conversation:
        documents = _conversations(records, source, tokenizer)
    elif source.tokens is not None:
        documents = _token_ids(records, source, tokenizer)
    else:
        documents = itertools.chain.from_iterable(
            _from_record(record, source) for record in records
        )
    if LISTED.fullmatch(source.text):
        documents = counted(documents, f"text={source.text}", tally)
    if source.marked is not None:
        chosen = (document for document in documents if bool(document.spans) == source.marked)
        documents = counted(chosen, f"marked={str(source.marked).lower()}", tally)
    yield from first_of(documents, source.limit, source, tally)


def is_held_out(document: Document, fraction: float, seed: int) -> bool:
    """Whether a document belongs to the share ``fraction`` that is kept out of training.

    Decided by a hash of the seed, the source's name and the id: the same in every run, whatever
    else the corpus holds. A larger fraction keeps out the same documents and more.
    """
    return falls_in(fraction, seed, document.source, document.id)


def _from_record(record: Record, source: Source) -> Iterator[Document]:
    """Yield the record's text, or each of its texts, as a document."""
    spans = source.spans
    several, texts = source.text.endswith(EACH), _texts(record, source)
    for number, text in enumerate(texts):
        _refuse_longer(text, record, source)
        marks = spans_field(record, spans, source.setting("spans"), len(text)) if spans else ()
        name = f"{record.id}/{number}" if several else record.id
        yield Document(name, text, marks, source.name, _label(record, source))


def _conversations(
    records: Iterable[Record], source: Source, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[Document]:
    """Yield the conversation of each record as a document."""
    if tokenizer is None and not source.joins:
        setting = "messages" if source.messages is not None else "completion"
        raise InputError(
            f"{source.setting(setting)}: conversations are written by a tokenizer's chat template, "
            "which one that is still to be trained has not; set tokenizer.path"
        )
    chat = None if tokenizer is None else ChatTokens(tokenizer)
    for record in records:
        conversation = conversation_of(record, source)
        for message in conversation.messages:
            _refuse_longer(message.text, record, source)
        named = (record.id, source.name, _label(record, source))
        if source.joins:
            yield joined(conversation, tokenizer, *named)
        elif chat is not None:
            yield chat.document(conversation, *named)


def _token_ids(
    records: Iterable[Record], source: Source, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[Document]:
    if tokenizer is None:
        raise InputError(
            f"{source.setting('tokens')}: token ids are of a given tokenizer, and this one is "
            "still to be trained; set tokenizer.path"
        )
    return token_documents(records, source, tokenizer)


def _label(record: Record, source: Source) -> str:
    return label_field(record, source.kind, source.setting("kind")) if source.kind else ""


def _refuse_longer(text: str, record: Record, source: Source) -> None:
    if len(text) > source.longest_record:
        raise InputError(too_long(record.place, source.longest_record, "characters"))


def _row(document: Document) -> dict[str, Any]:
    row = {name: getattr(document, name) for name in _OF_TEXT}
    own = document.encoded
    return {
        **row,
        "turns": [vars(turn) for turn in document.turns],
        **({} if own is None else vars(own)),
    }


def _texts(record: Record, source: Source) -> list[str]:
    """Return a record's text, each of its texts, or the one of them that is meant."""
    setting = source.setting("text")
    listed = LISTED.fullmatch(source.text)
    if listed is None or source.text in record.fields:
        return [text_field(record, source.text, setting)]
    name, number = listed.groups()
    found = texts_field(record, name, setting)
    if not number:
        return found
    return found[int(number) : int(number) + 1]


def _document(row: dict[str, Any]) -> Document:
    text = {name: row[name] for name in _OF_TEXT}
    text["spans"] = tuple((start, end) for start, end in row["spans"])
    if row.get("tokens") is None:
        return Document(**text)
    numbers = {name: np.array(row[name], dtype=np.int32) for name in ("tokens", "start", "end")}
    learnt = None if row["learnt"] is None else np.array(row["learnt"], dtype=np.bool_)
    turns = tuple(Turn(**turn) for turn in row["turns"])
    return Document(**text, turns=turns, encoded=Encoded(**numbers, learnt=learnt))
