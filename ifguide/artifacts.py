"""How each noun lies on disk: one pair of functions a noun."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Sequence, Value, load_from_disk
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ifguide import distributed
from ifguide.linalg.operators import Curvature, curvature_from
from ifguide.nouns import Corpus, Direction, Selection, TokenScores
from ifguide.store import read_json, write_json


def save_curvature(folder: Path, curvature: Curvature) -> None:
    """Write an operator's tensors and kind as safetensors."""
    _save_tensors(folder / "curvature.safetensors", curvature.tensors(), {"kind": curvature.kind})


def load_curvature(folder: Path) -> Curvature:
    """Read what ``save_curvature`` wrote."""
    tensors, metadata = _load_tensors(folder / "curvature.safetensors")
    return curvature_from(metadata["kind"], tensors)


def save_direction(folder: Path, direction: Direction) -> None:
    """Write a direction as safetensors, one tensor a tracked weight."""
    metadata = {"metadata": json.dumps(dict(direction.metadata))}
    _save_tensors(folder / "direction.safetensors", dict(direction.weights), metadata)


def load_direction(folder: Path) -> Direction:
    """Read what ``save_direction`` wrote."""
    tensors, metadata = _load_tensors(folder / "direction.safetensors")
    return Direction(tensors, json.loads(metadata["metadata"]))


@dataclass(frozen=True)
class ScoreShards:
    """Scores as float32 numpy shards; a shard under its own name is whole."""

    folder: Path
    shape: tuple[int, int]
    shard_blocks: int

    def missing(self) -> Iterable[slice]:
        """Yield this rank's share of the slices whose shard is not there yet."""
        starts = range(0, self.shape[0], self.shard_blocks)
        for start in distributed.mine(starts):
            rows = slice(start, min(start + self.shard_blocks, self.shape[0]))
            if not self._file(rows).exists():
                yield rows

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Write one shard, whole or not at all."""
        part = self._file(rows).with_suffix(".tmp")
        with part.open("wb") as stream:
            np.save(stream, values.astype(np.float32))
        part.replace(self._file(rows))

    def collect(self) -> Float[np.ndarray, "N T"]:
        """Return all scores once every rank is done."""
        distributed.barrier()
        return _read_shards(self.folder)

    def _file(self, rows: slice) -> Path:
        return self.folder / f"scores-{rows.start:09d}.npy"


def _read_shards(folder: Path) -> Float[np.ndarray, "N T"]:
    shards = [np.load(file, mmap_mode="r") for file in sorted(folder.glob("scores-*.npy"))]
    return shards[0] if len(shards) == 1 else np.concatenate(shards)


def save_scores(folder: Path, scores: TokenScores) -> None:
    """Write what describes the scores; the values are in the shards already."""
    write_json(folder / "scores.json", dict(scores.metadata))


def load_scores(folder: Path, corpus: Corpus) -> TokenScores:
    """Read scores of this corpus."""
    return TokenScores(_read_shards(folder), corpus, read_json(folder / "scores.json"))


MASK = Features(
    {
        "input_ids": Sequence(Value("int32")),
        "suppress": Sequence(Value("bool")),
        "score": Sequence(Value("float32")),
        "document": Sequence(Value("int32")),
        "start": Sequence(Value("int32")),
        "end": Sequence(Value("int32")),
    }
)


def save_selection(folder: Path, selection: Selection, scores: TokenScores) -> None:
    """Write the mask as a Hugging Face dataset, one row a block, and the ranking beside it.

    A row has ``input_ids``, ``suppress``, ``score``, and each token's ``document`` number and
    characters [``start``, ``end``) in it, from which a mask for another tokenizer can be made.
    """
    corpus = selection.corpus
    columns = {
        "input_ids": corpus.tokens,
        "suppress": selection.suppress,
        "score": scores.values,
        "document": corpus.document,
        "start": corpus.start,
        "end": corpus.end,
    }
    rows = {name: list(np.asarray(values)) for name, values in columns.items()}
    Dataset.from_dict(rows, features=MASK).save_to_disk(folder / "mask")
    np.savez(folder / "ranking.npz", ranking=selection.ranking, value=selection.rank_value)
    description = {
        "corpus": corpus.fingerprint,
        "threshold": selection.threshold,
        "budget": selection.budget,
        "metadata": dict(selection.metadata),
    }
    write_json(folder / "selection.json", description)


def load_selection(folder: Path, corpus: Corpus) -> Selection:
    """Read a selection over this corpus."""
    described = read_json(folder / "selection.json")
    mask = load_from_disk(folder / "mask").with_format("numpy")["suppress"]
    with np.load(folder / "ranking.npz") as ranking:
        return Selection(
            suppress=np.asarray(mask, dtype=bool),
            threshold=described["threshold"],
            budget=described["budget"],
            ranking=ranking["ranking"],
            rank_value=ranking["value"],
            corpus=corpus,
            metadata=described["metadata"],
        )


def _save_tensors(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    part = file.with_suffix(".tmp")
    save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, part, metadata)
    part.replace(file)


def _load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    return load_file(file), metadata
