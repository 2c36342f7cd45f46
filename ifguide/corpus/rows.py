"""Records as rows of Arrow tables: Parquet files, saved datasets and datasets on the hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.corpus.fields import Record
from ifguide.errors import InputError

ROWS = 1024  # turned into Python values at a time
ARROW_FILE = b"ARROW1"  # what a file with an index of its batches begins with


@final
class Row(Mapping[str, Any]):
    """One row of an Arrow table; a value becomes a Python object only when it is asked for."""

    def __init__(self, table: pa.Table | pa.RecordBatch, row: int) -> None:
        self._table = table
        self._row = row

    def __getitem__(self, name: str) -> Any:
        return self._table.column(name)[self._row].as_py()

    def __contains__(self, name: object) -> bool:
        return name in self._table.schema.names

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.schema.names)

    def __len__(self) -> int:
        return len(self._table.schema.names)


def read_parquet(file: Path, shown: str, name: str) -> Iterator[Record]:
    """Yield a Parquet file's rows, a batch in memory at a time."""
    with pq.ParquetFile(file) as parquet:
        batches = parquet.iter_batches(batch_size=ROWS)
        rows = (Row(batch, row) for batch in batches for row in range(batch.num_rows))
        yield from _numbered(rows, shown)


def read_arrow(file: Path, shown: str, name: str) -> Iterator[Record]:
    """Yield the rows of an Arrow file, of either of Arrow's two layouts."""
    with pa.memory_map(str(file), "r") as source:
        is_file = source.read(len(ARROW_FILE)) == ARROW_FILE
        source.seek(0)
        if is_file:
            opened = pa.ipc.open_file(source)
            batches = (opened.get_batch(n) for n in range(opened.num_record_batches))
        else:
            batches = iter(pa.ipc.open_stream(source))
        rows = (Row(batch, row) for batch in batches for row in range(batch.num_rows))
        yield from _numbered(rows, shown)


def read_saved(folder: Path, shown: str, split: str) -> Iterator[Record]:
    """Yield the rows of a dataset that ``datasets`` wrote with ``save_to_disk``.

    Raises:
        InputError: the folder holds several splits, and not this one.
    """
    import datasets  # takes a second, which other sources need not pay

    data = datasets.load_from_disk(str(folder))
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            there = ", ".join(data)
            raise InputError(f"{shown}: no split '{split}'; set the source's split to {there}")
        data = data[split]
    yield from _numbered(_table_rows(data), shown)


def rows_of_hub(
    name: str, config: str | None, revision: str | None, split: str, streaming: bool, shown: str
) -> Iterator[Record]:
    """Yield the rows of one split of a dataset on the hub; ``shown`` is what messages call it."""
    import datasets  # takes a second, which other sources need not pay

    data = datasets.load_dataset(name, config, split=split, revision=revision, streaming=streaming)
    rows = _table_rows(data) if isinstance(data, datasets.Dataset) else data
    yield from _numbered(rows, shown)


def _table_rows(data: Any) -> Iterator[Row]:
    for table in data.with_format("arrow").iter(ROWS):
        yield from (Row(table, row) for row in range(table.num_rows))


def _numbered(rows: Iterable[Mapping[str, Any]], shown: str) -> Iterator[Record]:
    for number, fields in zip(itertools.count(), rows, strict=False):
        yield Record(f"{shown}, record {number}", fields)
