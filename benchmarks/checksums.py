"""Checksums of all scores, masks and weights in run folders, wherever they lie in them.

A change that should alter no number is one after which every checksum of before is there again:

    python benchmarks/checksums.py RUN ... --out before.json
    python benchmarks/checksums.py RUN ... --against before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from pathlib import Path

import datasets
import numpy as np
from safetensors.numpy import load_file


def checksums(run: Path) -> dict[str, dict[str, str]]:
    """Return sha256 by kind (scores, mask, weights) and by folder inside the run."""
    return {
        "scores": _scores(run),
        "mask": {_name(run, f): _mask(f) for f in sorted(run.rglob("mask")) if f.is_dir()},
        "weights": {
            _name(run, f.parent): _weights(f) for f in sorted(run.rglob("model.safetensors"))
        },
    }


def lost(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """Return what was there before and is no more, by kind and folder."""
    return [
        f"{kind} {folder}"
        for kind, found in before.items()
        for folder, checksum in found.items()
        if checksum not in after[kind].values()
    ]


def _scores(run: Path) -> dict[str, str]:
    shards: dict[Path, list[Path]] = defaultdict(list)
    for file in sorted(run.rglob("scores-*.npy")):
        shards[file.parent].append(file)
    return {
        _name(run, folder): _sha(np.concatenate([np.load(file) for file in files]).tobytes())
        for folder, files in shards.items()
    }


def _mask(folder: Path) -> str:
    kept = datasets.load_from_disk(str(folder)).with_format("numpy")
    return _sha(np.asarray(kept["suppress"][:]).tobytes() + np.asarray(kept["score"][:]).tobytes())


def _weights(file: Path) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        digest.update(name.encode() + tensor.tobytes())
    return digest.hexdigest()


def _name(run: Path, folder: Path) -> str:
    return folder.relative_to(run).as_posix()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> int:
    """Print the checksums, or what is lost against earlier ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    found = {run.name: checksums(run) for run in given.runs}
    if given.out:
        given.out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if not given.against:
        print(json.dumps(found, indent=2, sort_keys=True))
        return 0
    before = json.loads(given.against.read_text(encoding="utf-8"))
    missing = [f"{run}: {what}" for run in found for what in lost(before[run], found[run])]
    kept = sum(len(c) for run in found for c in before[run].values()) - len(missing)
    print("\n".join([f"{kept} checksums as before, {len(missing)} lost", *missing]))
    return int(bool(missing))


if __name__ == "__main__":
    raise SystemExit(main())
