"""Files of per-token log-probabilities (nats) of a corpus, as any inference engine can write them.

Entry [i, j] is ``log Pr(token j of block i | the tokens before it in its block)``, on the axis of
the predicted token. What stands at a block's first token and at padding is ignored. Two formats:

- ``.npy``: an array [N, T] of float16, float32 or float64, read as it is needed;
- anything else is JSON Lines: one list of T numbers a block (``null`` where ignored), read into
  memory.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from ifguide.errors import InputError, reading
from ifguide.files import check_plain

ABOVE = 1e-2  # half-precision rounding may lift a log-probability of about 0 over it


def read_logprobs(file: Path, shape: tuple[int, int]) -> Float[np.ndarray, "N T"]:
    """Open a file of log-probabilities of N blocks of T tokens.

    Raises:
        InputError: it cannot be read, or is of another shape or type.
    """
    with reading(str(file), "write it again"):
        check_plain(file, str(file))
        values = _read_npy(file) if file.suffix == ".npy" else _read_lines(file, shape[1])
    if values.shape != shape:
        raise InputError(
            f"{file}: its shape is {list(values.shape)}, the corpus has {shape[0]} blocks of "
            f"{shape[1]} tokens; give one log-probability a token of the pair's tokens.npy"
        )
    return values


def check_rows(
    file: Path, rows: Float[np.ndarray, "n T"], counted: Bool[np.ndarray, "n T"], first: int
) -> Float[np.ndarray, "n T"]:
    """Return rows in float64, 0 where nothing is counted; ``first`` is the number of their first.

    Raises:
        InputError: a counted entry is not finite or is above 0.
    """
    wide = np.where(counted, rows, 0).astype(np.float64)
    bad = ~np.isfinite(wide) | (wide > ABOVE)
    if bad.any():
        row, token = (int(i) for i in np.argwhere(bad)[0])
        mend = "a log-probability (nats, at most 0)"
        raise InputError(
            f"{file}: token {token} of block {first + row} holds {wide[row, token]:g}; give {mend}"
        )
    return wide


def _read_npy(file: Path) -> np.ndarray:
    values = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype not in (
        np.float16,
        np.float32,
        np.float64,
    ):
        raise ValueError("its entries are not float16, float32 or float64")
    return values


def _read_lines(file: Path, length: int) -> Float[np.ndarray, "N T"]:
    blocks = []
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = [float("nan") if x is None else float(x) for x in json.loads(line)]
            except (TypeError, ValueError) as error:
                raise ValueError(f"line {number} is not a list of numbers") from error
            if len(row) != length:
                raise InputError(
                    f"{file}: line {number} has {len(row)} numbers, a block {length} tokens; give "
                    "one log-probability a token of the pair's tokens.npy"
                )
            blocks.append(np.array(row))
    return np.stack(blocks) if blocks else np.empty((0, length))
