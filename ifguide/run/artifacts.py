"""How each noun lies on disk: one pair of functions a noun."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ifguide.arrays import AnyArray, LazyArray, read_rows
from ifguide.corpus.blocks import open_corpus
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.prompts import Prompt
from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.files import TEMPORARY, read_json, write_json
from ifguide.influence.curvature.operators import Curvature, curvature_from
from ifguide.masks.arrow import save_rows
from ifguide.nouns import (
    Contrast,
    Corpus,
    Direction,
    QuerySet,
    Selection,
    TokenScores,
    TrainingCurve,
)
from ifguide.run.layout import CURVE

CURVATURE = "curvature.safetensors"  # or one a group of weights: curvature-00001.safetensors


def save_curvature(folder: Path, curvature: Curvature) -> None:
    """Write an operator's tensors and kind as safetensors.

    A tensor that stands under several names, as what weights that read one input share, is written
    once; the metadata ``same`` says under which name, by the others.
    """
    _write_factors(folder / CURVATURE, curvature.kind, curvature.tensors())


@dataclass(frozen=True)
class FactorFiles:
    """The factors of groups of weights, a file each, which are mapped into memory once written."""

    folder: Path

    def __call__(self, kind: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Write a group's tensors, on the main rank, and return them as maps of its file."""
        count = ranks.agree(lambda: len(self.files()))
        file = self.folder / f"{Path(CURVATURE).stem}-{count:05d}.safetensors"
        if ranks.is_main():
            _write_factors(file, kind, tensors)
        ranks.barrier()
        return _read_factors(file)[1]

    def files(self) -> list[Path]:
        """Return the files that are there, in the order in which they were written."""
        return sorted(self.folder.glob(f"{Path(CURVATURE).stem}-*.safetensors"))


def _write_factors(file: Path, kind: str, tensors: Mapping[str, Tensor]) -> None:
    first: dict[int, str] = {}
    same = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    written = {name: tensors[name] for name, held in same.items() if held == name}
    others = {name: held for name, held in same.items() if held != name}
    metadata = {"metadata": json.dumps({"kind": kind, "same": others})}
    _save_tensors(file, written, metadata)


def load_curvature(folder: Path) -> Curvature:
    """Open what was written, in one file or several; a tensor is read when it is used."""
    kind = ""
    tensors: dict[str, Tensor] = {}
    for file in FactorFiles(folder).files() or [folder / CURVATURE]:
        kind, held = _read_factors(file)
        tensors |= held
    return curvature_from(kind, tensors)


def _read_factors(file: Path) -> tuple[str, dict[str, Tensor]]:
    tensors, metadata = _load_tensors(file)
    told = json.loads(metadata["metadata"])
    tensors |= {name: tensors[held] for name, held in told["same"].items()}
    return told["kind"], tensors


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
    """Scores as float32 numpy shards; ``put_whole`` gives a whole one its name."""

    folder: Path
    shape: tuple[int, int]
    shard_blocks: int
    put_whole: Callable[[Path, Path], object] = Path.replace

    def missing(self) -> Iterable[slice]:
        """Yield this rank's share of the rows that no shard holds yet, a shard at a time.

        Several ranks share them about evenly, in smaller shards where need be, whatever an
        interrupted attempt with as many or other ranks has left.
        """
        yield from ranks.mine(ranks.agree(self._to_make))

    def _to_make(self) -> list[slice]:
        gaps = list(self._gaps())
        world, rows = ranks.world_size(), sum(gap.stop - gap.start for gap in gaps)
        size = self.shard_blocks
        if world > 1 and rows:
            size = -(-rows // (world * -(-rows // (world * size))))
        pieces = []
        for gap in gaps:
            length = gap.stop - gap.start
            step = size if world == 1 else -(-length // -(-length // size))
            starts = range(gap.start, gap.stop, step)
            pieces += [slice(start, min(start + step, gap.stop)) for start in starts]
        return pieces

    def _gaps(self) -> Iterator[slice]:
        """Yield the runs of rows between the shards that are there."""
        end = 0
        for file in sorted(self.folder.glob("scores-*.npy")):
            start = int(file.stem.removeprefix("scores-"))
            if start > end:
                yield slice(end, start)
            end = start + len(np.load(file, mmap_mode="r"))
        if end < self.shape[0]:
            yield slice(end, self.shape[0])

    def put(self, rows: slice, values: Float[np.ndarray, "n T"]) -> None:
        """Write one shard, whole or not at all."""
        file = self._file(rows)
        part = file.with_name(f"{file.name}{TEMPORARY}")
        with part.open("wb") as stream:
            np.save(stream, values.astype(np.float32))
        self.put_whole(part, file)

    def collect(self) -> Float[LazyArray, "N T"]:
        """Return all scores, read as they are asked for, once every rank is done."""
        ranks.barrier()
        return _open_shards(self.folder)

    def _file(self, rows: slice) -> Path:
        return self.folder / f"scores-{rows.start:09d}.npy"


def _open_shards(folder: Path) -> Float[LazyArray, "N T"]:
    """Present the shards as one array; a shard is mapped only while it is read."""
    files = sorted(folder.glob("scores-*.npy"))
    if not files:
        raise InputError(f"{folder}: it holds no scores; score the corpus again")
    heads = [np.load(file, mmap_mode="r") for file in files]
    if len({(head.shape[1:], head.dtype) for head in heads}) > 1:
        raise InputError(f"{folder}: its shards are not of one kind; score the corpus again")
    ends = np.cumsum([len(head) for head in heads]).tolist()

    def read(rows: slice) -> np.ndarray:
        parts = []
        for i in range(bisect_right(ends, rows.start), bisect_left(ends, rows.stop) + 1):
            start = ends[i - 1] if i else 0
            shard = np.load(files[i], mmap_mode="r")
            parts.append(shard[max(0, rows.start - start) : rows.stop - start])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return LazyArray((ends[-1], heads[0].shape[1]), heads[0].dtype, read)


def save_curve(folder: Path, curve: TrainingCurve) -> None:
    """Write how a training went, on the main rank."""
    if ranks.is_main():
        write_typed(folder / CURVE, curve)


def load_curve(folder: Path) -> TrainingCurve | None:
    """Read what ``save_curve`` wrote, None beside a model that was written without.

    Raises:
        InputError: it is damaged.
    """
    file = folder / CURVE
    return read_typed(file, TrainingCurve) if file.exists() else None


def save_scores(folder: Path, scores: TokenScores) -> None:
    """Write what describes the scores; the values are in the shards already."""
    write_json(folder / "scores.json", dict(scores.metadata))


def load_scores(folder: Path, corpus: Corpus) -> TokenScores:
    """Open scores of this corpus; their values are read as they are asked for.

    Raises:
        InputError: there are none, or they are of another shape than the corpus.
    """
    values = _open_shards(folder)
    if values.shape != corpus.tokens.shape:
        raise InputError(
            f"{folder}: the scores have shape {values.shape}, the corpus {corpus.tokens.shape}; "
            "score this corpus"
        )
    return TokenScores(values, corpus, read_json(folder / "scores.json"))


MASK = pa.schema(
    {
        "input_ids": pa.list_(pa.int32()),
        "suppress": pa.list_(pa.bool_()),
        "score": pa.list_(pa.float32()),
        "document": pa.list_(pa.int32()),
        "start": pa.list_(pa.int32()),
        "end": pa.list_(pa.int32()),
    }
)
MASK_ROWS = 1024  # blocks in memory at once


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
    _save_mask(folder / "mask", columns)
    np.savez(folder / "ranking.npz", ranking=selection.ranking, value=selection.rank_value)
    description = {
        "corpus": corpus.fingerprint,
        "threshold": selection.threshold,
        "budget": selection.budget,
        "metadata": dict(selection.metadata),
    }
    write_json(folder / "selection.json", description)


def load_selection(folder: Path, corpus: Corpus) -> Selection:
    """Read a selection over this corpus.

    Raises:
        InputError: it was made over another corpus.
    """
    described = read_json(folder / "selection.json")
    if described["corpus"] != corpus.fingerprint:
        raise InputError(
            f"{folder}: the mask was made for corpus {described['corpus'][:12]}, not for this one "
            f"({corpus.fingerprint[:12]}); score and select this corpus"
        )
    with np.load(folder / "ranking.npz") as ranking:
        return Selection(
            suppress=np.asarray(_open_mask(folder / "mask", "suppress", corpus)),
            threshold=float(described["threshold"]),
            budget=described["budget"],
            ranking=ranking["ranking"],
            rank_value=ranking["value"],
            corpus=corpus,
            metadata=described["metadata"],
        )


def load_mask_scores(folder: Path, corpus: Corpus) -> TokenScores:
    """Open the scores that a selection over this corpus was made by; read as they are asked for."""
    values = _open_mask(folder / "mask", "score", corpus)
    return TokenScores(values, corpus, read_json(folder / "selection.json")["metadata"])


def _save_mask(folder: Path, columns: Mapping[str, AnyArray]) -> None:
    """Write [N, T] columns as a dataset of N rows, a part of the rows at a time."""
    starts = range(0, len(columns["input_ids"]), MASK_ROWS)
    parts = (
        [read_rows(columns[field.name], slice(first, first + MASK_ROWS)) for field in MASK]
        for first in starts
    )
    save_rows(folder, MASK, parts)


def _open_mask(folder: Path, name: str, corpus: Corpus) -> Shaped[LazyArray, "N T"]:
    """Present a column of the dataset, which is memory-mapped, as an array."""
    column = datasets.load_from_disk(str(folder)).data.column(name)
    dtype = np.dtype(MASK.field(name).type.value_type.to_pandas_dtype())
    shape = corpus.tokens.shape

    def read(rows: slice) -> np.ndarray:
        chunks = column.slice(rows.start, rows.stop - rows.start).chunks
        flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
        return (flat[0] if len(flat) == 1 else np.concatenate(flat)).reshape(-1, shape[1])

    return LazyArray(shape, dtype, read)


def save_contrast(folder: Path, contrast: Contrast) -> None:
    """Write the two query sets: all tokens and weights one after the other, and the lengths."""
    arrays: dict[str, np.ndarray] = {}
    for side, queries in (("toxic", contrast.toxic), ("safe", contrast.safe)):
        arrays[f"{side}_length"] = np.array([len(tokens) for tokens in queries.tokens], np.int64)
        arrays[f"{side}_tokens"] = np.concatenate([np.zeros(0, np.int64), *queries.tokens])
        arrays[f"{side}_weights"] = np.concatenate([np.zeros(0), *queries.weights])
    arrays["fingerprint"] = np.array(contrast.fingerprint)
    with (folder / "queries.npz").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_contrast(folder: Path) -> Contrast:
    """Read what ``save_contrast`` wrote."""
    with np.load(folder / "queries.npz", allow_pickle=False) as held:
        sides = []
        for side in ("toxic", "safe"):
            ends = np.cumsum(held[f"{side}_length"])[:-1]
            parts = (np.split(held[f"{side}_{what}"], ends) for what in ("tokens", "weights"))
            tokens, weights = (part if len(held[f"{side}_length"]) else [] for part in parts)
            sides.append(QuerySet([row.astype(np.int32) for row in tokens], weights))
        return Contrast(toxic=sides[0], safe=sides[1], fingerprint=str(held["fingerprint"]))


def save_prompts(folder: Path, prompts: Mapping[str, Sequence[Prompt]]) -> None:
    """Write prompt sets; their names may be any text."""
    sets = [{"name": name, "prompts": [asdict(p) for p in of]} for name, of in prompts.items()]
    write_json(folder / "prompts.json", {"sets": sets})


def load_prompts(folder: Path) -> dict[str, list[Prompt]]:
    """Read what ``save_prompts`` wrote."""
    sets = read_json(folder / "prompts.json")["sets"]
    return {held["name"]: [Prompt(**prompt) for prompt in held["prompts"]] for held in sets}


def load_texts(folder: Path) -> dict[str, Corpus]:
    """Open packed texts, which lie by number, by their names in ``texts.json``."""
    names = read_json(folder / "texts.json")["names"]
    return {name: open_corpus(folder / str(number)) for number, name in enumerate(names)}


@dataclass(frozen=True)
class Samples:
    """Where continuations go as they are made: a table a prompt set, by the set's number.

    ``put_whole`` gives a file that is whole its name.
    """

    folder: Path
    sets: Sequence[str]
    put_whole: Callable[[Path, Path], object]

    def __call__(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """Return a set's continuations, made first if they are not there."""
        file = self.folder / f"samples-{self.sets.index(name)}.parquet"
        if not file.exists():
            part = file.with_name(f"{file.name}{TEMPORARY}")
            pq.write_table(make(), part)
            self.put_whole(part, file)
        return pq.read_table(file)


def save_samples(folder: Path, samples: Mapping[str, pa.Table]) -> None:
    """Write which prompt set each table is of; the tables are there already."""
    write_json(folder / "samples.json", {"sets": list(samples)})


def load_samples(folder: Path) -> dict[str, pa.Table]:
    """Read the continuations by prompt set."""
    sets = read_json(folder / "samples.json")["sets"]
    return {
        name: pq.read_table(folder / f"samples-{number}.parquet")
        for number, name in enumerate(sets)
    }


def _save_tensors(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    part = file.with_name(f"{file.name}{TEMPORARY}")
    save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, part, metadata)
    part.replace(file)


def _load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    return load_file(file), metadata
