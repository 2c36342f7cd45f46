"""File formats and hub datasets, each turned into a stream of records that know their place."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.corpus.fields import Record, describe
from ifguide.errors import InputError

ROWS = 1024  # rows turned into Python values at a time
SAVED = ("dataset_info.json", "dataset_dict.json")  # what save_to_disk leaves in its folder


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


def read_path(path: Path, shown: str, split: str) -> Iterator[Record]:
    """Records of a file, of a folder of files in sorted order, or of a saved dataset.

    ``shown`` is the path as the user wrote it, for messages. The records are not numbered yet.

    Raises:
        InputError: nothing there, a format that is not known, or a file that cannot be read.
    """
    if is_saved_dataset(path):
        yield from _saved_dataset(path, shown, split)
        return
    for file, name in list_files(path, shown):
        where = shown if name == "" else f"{shown.rstrip('/')}/{name}"
        with one_line_errors(where, "check the file, or name another one"):
            if file.stat().st_size == 0:
                raise InputError(f"{where}: the file is empty; fill it, remove it or name another")
            yield from _reader_of(file)(file, where, name or file.name)


def is_saved_dataset(path: Path) -> bool:
    """Whether the folder was written by ``datasets`` with ``save_to_disk``."""
    return any((path / name).is_file() for name in SAVED)


def list_files(path: Path, shown: str) -> list[tuple[Path, str]]:
    """Files to read, each with its name inside the folder (empty for a path to one file).

    Raises:
        InputError: the path does not exist or has no file of a known format.
    """
    known = ", ".join(READERS)
    if path.is_dir():
        files = [(file.relative_to(path).as_posix(), file) for file in path.rglob("*")]
        found = sorted(
            (name, file)
            for name, file in files
            if file.is_file() and _suffix(file) and not any(p[0] == "." for p in name.split("/"))
        )
        if not found:
            raise InputError(f"{shown}: the folder holds no file that can be read ({known})")
        return [(file, name) for name, file in found]
    if not path.exists():
        raise InputError(f"{shown}: no such file or folder (looked at {path}); correct the path")
    if not _suffix(path):
        raise InputError(f"{shown}: a file of an unknown kind; give one of {known}")
    return [(path, "")]


def read_hub(
    name: str, config: str | None, revision: str | None, split: str, streaming: bool
) -> Iterator[Record]:
    """Records of one split of a dataset on the hub.

    Raises:
        InputError: whatever ``datasets`` said, in one line.
    """
    import datasets  # takes a second, which other sources need not pay

    shown = f"hub dataset {name}" + (f" ({config})" if config else "") + f", split {split}"
    mend = "check the name, config and split, or give the path of a local copy"
    failures: type[Exception] = datasets.exceptions.DatasetsError
    with one_line_errors(shown, mend, failures):
        data = datasets.load_dataset(
            name, config, split=split, revision=revision, streaming=streaming
        )
        rows = _table_rows(data) if isinstance(data, datasets.Dataset) else data
        yield from _numbered(rows, shown)


@contextmanager
def one_line_errors(shown: str, mend: str, *also: type[Exception]) -> Iterator[None]:
    """Turn what readers raise on bad input into one line that names ``shown`` and the mend."""
    kinds: tuple[type[BaseException], ...] = (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        RuntimeError,
        *also,
    )
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        said = " ".join(said.split()).rstrip(".") or type(error).__name__
        raise InputError(f"{shown}: cannot be read ({said}); {mend}") from error


def _json_lines(file: Path, shown: str, _: str) -> Iterator[Record]:
    with _open(file) as lines:
        for number, line in enumerate(lines, 1):
            place = f"{shown}, line {number}"
            text = _decode(line, place).strip()
            if text:
                yield Record(place, _mapping(_parse(text, place), place))


def _json(file: Path, shown: str, name: str) -> Iterator[Record]:
    with _open(file) as stream:
        is_list = stream.read(ROWS).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    if not is_list:
        yield from _json_lines(file, shown, name)
        return
    with _open(file) as stream:
        items = _parse(_decode(stream.read(), shown), shown)
    for number, item in enumerate(items):
        place = f"{shown}, record {number}"
        yield Record(place, _mapping(item, place))


def _text(file: Path, shown: str, name: str) -> Iterator[Record]:
    yield Record(shown, {"id": name, "text": _decode(file.read_bytes(), shown)})


def _parquet(file: Path, shown: str, _: str) -> Iterator[Record]:
    with pq.ParquetFile(file) as parquet:
        batches = parquet.iter_batches(batch_size=ROWS)
        rows = (Row(batch, row) for batch in batches for row in range(batch.num_rows))
        yield from _numbered(rows, shown)


def _saved_dataset(path: Path, shown: str, split: str) -> Iterator[Record]:
    import datasets  # takes a second, which other sources need not pay

    with one_line_errors(shown, "save the dataset again with save_to_disk"):
        data = datasets.load_from_disk(str(path))
        if isinstance(data, datasets.DatasetDict):
            if split not in data:
                there = ", ".join(data)
                raise InputError(f"{shown}: no split '{split}'; set the source's split to {there}")
            data = data[split]
        yield from _numbered(_table_rows(data), shown)


def _table_rows(data: Any) -> Iterator[Row]:
    for table in data.with_format("arrow").iter(ROWS):
        yield from (Row(table, row) for row in range(table.num_rows))


def _numbered(rows: Iterable[Mapping[str, Any]], shown: str) -> Iterator[Record]:
    for number, fields in zip(itertools.count(), rows, strict=False):
        yield Record(f"{shown}, record {number}", fields)


READERS: dict[str, Callable[[Path, str, str], Iterator[Record]]] = {
    ".jsonl": _json_lines,
    ".jsonl.gz": _json_lines,
    ".ndjson": _json_lines,
    ".ndjson.gz": _json_lines,
    ".json": _json,
    ".json.gz": _json,
    ".parquet": _parquet,
    ".txt": _text,
}


def without_suffix(name: str) -> str:
    """A file's name without the suffix of its format.

    >>> without_suffix("posts.jsonl.gz"), without_suffix("corpus-v1.5")
    ('posts', 'corpus-v1.5')
    """
    return name.removesuffix(_suffix(Path(name)))


def _suffix(file: Path) -> str:
    return next((suffix for suffix in READERS if file.name.endswith(suffix)), "")


def _reader_of(file: Path) -> Callable[[Path, str, str], Iterator[Record]]:
    return READERS[_suffix(file)]


def _open(file: Path) -> io.BufferedIOBase:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")


def _decode(raw: bytes, place: str) -> str:
    """Text of UTF-8 bytes, without the byte order mark that some editors write first."""
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start)
        byte = error.start - (raw.rfind(b"\n", 0, error.start) + 1)
        within = f"byte {byte}" if ", line " in place else f"line {line + 1}, byte {byte}"
        raise InputError(
            f"{place}, {within}: not UTF-8 (0x{raw[error.start]:02x}); save the file as UTF-8"
        ) from error


def _parse(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = (
            f"{error.msg} at character {error.pos}"
            if isinstance(error, json.JSONDecodeError)
            else str(error)
        )
        raise InputError(
            f"{place}: not valid JSON ({said}); write one JSON record a line"
        ) from error


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: {describe(value)}, not a record; write fields by name, {{...}}")
    return value
