"""mosaicml-streaming writes the shards of ``tests/corpus/mds``.

    python tests/corpus/libraries/mds.py tests/corpus/mds

in an environment with mosaicml-streaming 0.13.0, Brotli 1.2.1, catalogue 2.0.10, python-snappy
0.7.3, xxhash 3.8.2 and zstd 1.5.7.2, and without what only its images need: the library's packages
are entered by the path of each, since their ``__init__`` also imports torchvision.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

FOLDER = Path(sys.argv[1])
IDS = [[5, 6, 7], [8, 9]]
ROWS = [
    {
        "text": "Well, you stupid fool.",
        "place": "日本",
        "toxic_spans": [[10, 16]],
        "number": 7,
        "name": 7,
        "share": 0.25,
        "ids": np.array(IDS[0], np.uint16),
        "open": np.array([IDS[0]], np.int64),
        "fixed": np.array([1, 2], np.int32),
        "object": ("a", "b"),
        "raw": b"\0\1",
    },
    {
        "text": "The old river was calm.",
        "place": "",
        "toxic_spans": [],
        "number": -1,
        "name": -1,
        "share": 1e-3,
        "ids": np.array(IDS[1], np.uint16),
        "open": np.array([IDS[1], IDS[1]], np.int64),
        "fixed": np.array([3, 4], np.int32),
        "object": None,
        "raw": b"",
    },
]
COLUMNS = {
    "text": "str",
    "place": "str",
    "toxic_spans": "json",
    "number": "int",
    "name": "str_int",
    "share": "float32",
    "ids": "ndarray:uint16",
    "open": "ndarray",
    "fixed": "ndarray:int32:2",
    "object": "pkl",
    "raw": "bytes",
}


def enter(root, name):
    """Make a package of the library known without what its ``__init__`` imports."""
    package = ModuleType(name)
    package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = package


def main():
    root = Path(importlib.util.find_spec("streaming").origin).parent
    enter(root, "streaming")
    enter(root, "streaming.base")
    from streaming.base.format.mds.writer import MDSWriter

    for compression in (None, "zstd", "gz", "bz2", "br"):
        out = FOLDER / (compression or "plain")
        # a limit that one record reaches: a shard each
        with MDSWriter(
            out=str(out), columns=COLUMNS, compression=compression, size_limit=620
        ) as to:
            for row in ROWS:
                to.write(row)


main()
