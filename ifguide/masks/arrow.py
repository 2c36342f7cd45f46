"""[N, T] columns as a Hugging Face dataset of N rows, written some rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from ifguide.files import TEMPORARY


def save_rows(folder: Path, schema: pa.Schema, parts: Iterable[Sequence[np.ndarray]]) -> None:
    """Write a dataset whose columns are lists of T values; ``parts`` are [n, T] columns in order.

    What is in memory is a part.
    """
    stream = folder.with_name(f"{folder.name}{TEMPORARY}")
    with pa.OSFile(str(stream), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for columns in parts:
            lists = [_lists(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(lists, schema))
    datasets.Dataset.from_file(str(stream)).save_to_disk(folder)
    stream.unlink()


def _lists(values: np.ndarray, kind: pa.ListType) -> pa.ListArray:
    """Turn a [n, T] array into n Arrow lists."""
    flat = (
        np.ascontiguousarray(values).ravel().astype(kind.value_type.to_pandas_dtype(), copy=False)
    )
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(ends, pa.array(flat, kind.value_type))
