"""Documents on disk with random access, and how the records of a source become documents."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, final, overload

import pyarrow as pa

from ifguide.corpus.config import EACH, LISTED, Source
from ifguide.corpus.fields import Record, label_field, spans_field, text_field, texts_field
from ifguide.corpus.raw import too_long
from ifguide.corpus.sources import Tally, counted, falls_in, first_of, read_records
from ifguide.errors import InputError, reading
from ifguide.nouns import Document

# of a record batch, which is what random access touches: documents, and characters that close it
BATCH, CHARACTERS = 256, 1 << 22
SCHEMA = pa.schema(
    {
        "id": pa.large_string(),
        "text": pa.large_string(),
        "spans": pa.large_list(pa.list_(pa.int64(), 2)),
        "source": pa.large_string(),
        "kind": pa.large_string(),
    },
    metadata={"batch": str(BATCH)},
)


@final
class Documents(Sequence[Document]):
    """Documents in an Arrow file, memory-mapped: any one is read without reading the others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(str(path), "make it again", fault="not a readable file of documents"):
            self._reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        metadata = self._reader.schema.metadata or {}
        if self._reader.schema != SCHEMA or b"batch" not in metadata:
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
                columns = {name: [getattr(item, name) for item in batch] for name in SCHEMA.names}
                writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=SCHEMA))
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


def read_documents(source: Source, data_dir: Path, seed_of_builtin: int = 0) -> Iterator[Document]:
    """All documents that the source's filters keep, in file order, as a stream.

    The filters act in the order ``subset``, ``ids``, ``at_least``, ``at_most``, ``marked``,
    ``limit``. Held-out documents are among them: ask :func:`is_held_out`. Errors in the data come
    when their place is reached.

    Args:
        source: what to read.
        data_dir: folder that relative paths start from.
        seed_of_builtin: seed of the built-in corpus, where that is the source.

    Raises:
        InputError: data that cannot be used (missing, empty, not UTF-8, a field that is missing or
            of a wrong type, a span outside its text, an id that appears twice), a subset entry
            that does not exist, or filters that keep nothing.
    """
    if source.builtin is not None:
        source = replace(source, text="text", id="id", spans="spans", kind="kind")
    tally: Tally = {}
    records = read_records(source, data_dir, tally, seed_of_builtin)
    documents: Iterator[Document] = itertools.chain.from_iterable(
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
    spans, kind = source.spans, source.kind
    several, texts = source.text.endswith(EACH), _texts(record, source)
    for number, text in enumerate(texts):
        if len(text) > source.longest_record:
            raise InputError(too_long(record.place, source.longest_record, "characters"))
        marks = spans_field(record, spans, source.setting("spans"), len(text)) if spans else ()
        label = label_field(record, kind, source.setting("kind")) if kind else ""
        name = f"{record.id}/{number}" if several else record.id
        yield Document(name, text, marks, source.name, label)


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
    return Document(**{**row, "spans": tuple((start, end) for start, end in row["spans"])})
