"""The rounds by which many tasks come to one selection: each tallies, then one process decides.

``coarse`` counts the scores by their first 16 bits, ``fine`` by the next, inside the two ranges
that the quantile lies between, which gives the threshold exactly; ``documents`` counts what lies
above it. All of these add up, so that what is decided is what ``select`` decides over the same
blocks and scores in one corpus, bit for bit. What a round rests on is checked: tallies of other
scores, or of another round before, are refused.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ifguide.datatrove.task import (
    AGAIN,
    SCORES,
    SELECTION,
    TALLIES,
    Arrays,
    Task,
    read_arrays,
    seal_of,
    write_arrays,
)
from ifguide.errors import InputError
from ifguide.files import fingerprint_of, read_sealed, write_sealed
from ifguide.nouns import Selection, TokenScores
from ifguide.selection.checks import check_budget, check_selected
from ifguide.selection.config import SelectionConfig, Unit
from ifguide.selection.quantile import (
    DIGIT_BITS,
    Search,
    count_digits,
    narrowed,
    quantile_of,
    quantile_search,
)
from ifguide.selection.select import Cut, cuts, fill, limit_of, rank_documents
from ifguide.selection.tally import Extent, Tally, check_extent, measure, tally, with_loss

Round = Literal["coarse", "fine", "documents"]
ROUNDS: tuple[Round, ...] = get_args(Round)
DTYPE = np.dtype(np.float32)  # of stored scores
BITS = 8 * DTYPE.itemsize


# what a task does


def write_tally(task: Task, of: Round) -> Extent:
    """Count a task's scores for a round, and return how many there are."""
    scores, record = task.scores()
    asked = decision(task.out, before(of)) if of != "coarse" else {}
    said = {
        "tasks": task.tasks,
        "scorer": record["scorer"],
        "scores": seal_of(record),
        "asked": asked.get("known_by", ""),
    }
    extent = measure(scores) if scores else Extent()
    arrays = {"extent": np.array(astuple(extent), dtype=np.int64)}
    if scores and of == "documents":
        arrays |= _by_unit(scores, asked, extent)
    elif scores:
        search = _search(asked) if asked else Search((0,), (0,), BITS)
        arrays |= _digits(scores, search)
    write_arrays(_tally_file(task.out, of, task.rank), said, arrays)
    return extent


def _digits(scores: TokenScores, search: Search) -> Arrays:
    """Return the counts of ``count_digits`` that are not 0."""
    counts = count_digits(with_loss(scores), set(search.prefixes), search.unknown)
    arrays: Arrays = {}
    for prefix, count in counts.items():
        arrays[f"digit-{prefix}"] = np.flatnonzero(count)
        arrays[f"count-{prefix}"] = count[arrays[f"digit-{prefix}"]]
    return arrays


def _by_unit(scores: TokenScores, asked: dict[str, Any], extent: Extent) -> Arrays:
    units: set[Unit] = {asked["selection"]["unit"], "document"}
    arrays: Arrays = {}
    for unit in units:
        window = asked["selection"]["window"]
        found, _ = tally(scores, asked["threshold"], window, unit, extent)
        arrays |= {f"{unit}-{name}": column for name, column in vars(found).items()}
    return arrays


def selection_of(task: Task) -> tuple[Selection, TokenScores] | None:
    """Return a task's part of the selection, None where its documents have no text.

    Its ranking is that of its own documents, by their values among all.

    Raises:
        InputError: the selection was made by other scores than the task's.
    """
    scores, record = task.scores()
    said, share = read_arrays(_share_file(task.out, task.rank))
    decided = decision(task.out, "documents")
    if (said["scores"], said["decided"]) != (seal_of(record), decided["known_by"]):
        raise InputError(f"{task.out / SELECTION}: it is not of task {task.rank}'s scores; {AGAIN}")
    if scores is None:
        return None
    chosen = SelectionConfig(**decided["selection"])
    extent = Extent(*share["extent"].tolist())
    _, candidates = tally(scores, decided["threshold"], chosen.window, chosen.unit, extent)
    units = extent.units(chosen.unit)
    whole = np.unpackbits(share["whole"], count=units).astype(np.bool_)
    (mask,) = fill(scores.corpus, candidates, chosen.unit, [Cut(whole, said["part"], said["room"])])
    selection = Selection(
        suppress=mask,
        threshold=decided["threshold"],
        budget=decided["budget"],
        ranking=share["ranking"],
        rank_value=share["rank_value"],
        corpus=scores.corpus,
        metadata={**scores.metadata, "unit": chosen.unit},
    )
    return selection, scores


# what one process does


@dataclass(frozen=True, eq=False)
class _Gathered:
    """What all tasks' tallies of a round add up to.

    Args:
        scorer: what all scores were made with.
        seals: of each task's scores.
        extents: of each task.
        counts: of digits, by the digits before.
        tallies: of each task, by unit.
    """

    scorer: str
    seals: list[str]
    extents: list[Extent]
    counts: dict[int, np.ndarray]
    tallies: dict[Unit, list[Tally]]

    @property
    def extent(self) -> Extent:
        """Of the whole corpus."""
        return sum(self.extents, Extent())


def decide(out: Path, of: Round, chosen: SelectionConfig) -> dict[str, Any]:
    """Add up a round's tallies, write what they come to, and return it.

    Raises:
        InputError: a tally is missing or rests on something else, or nothing can be selected.
    """
    asked = decision(out, before(of)) if of != "coarse" else {}
    if asked and asked["selection"] != asdict(chosen):
        raise InputError(
            f"selection: round {before(of)} was decided by other settings than {of} is to be; "
            "launch all rounds again"
        )
    found = _gathered(out, of, asked)
    rests_on = {"scores": fingerprint_of(found.seals), "tasks": len(found.seals)}
    if asked and any(asked[name] != value for name, value in rests_on.items()):
        raise InputError(
            f"{out / SCORES}: scores were made again since round {before(of)}; launch all rounds "
            "again"
        )
    decided = {"selection": asdict(chosen), **rests_on}
    if of == "documents":
        decided |= _cut(found, asked, chosen)
    else:
        decided |= _narrow(found, asked, chosen)
    decided["known_by"] = fingerprint_of(decided)
    if of == "documents":
        _write_shares(out, found, decided)
    (out / SELECTION).mkdir(exist_ok=True)
    write_sealed(_decision_file(out, of), decided)
    return decided


def decision(out: Path, of: Round) -> dict[str, Any]:
    """Read what a round came to.

    Raises:
        InputError: it has not been decided.
    """
    file = _decision_file(out, of)
    if not file.exists():
        raise InputError(f"{file}: round {of} is not decided; launch the rounds in their order")
    found: dict[str, Any] = read_sealed(file, "launch all rounds again")
    return found


def before(of: Round) -> Round:
    """Return the round that a later one rests on."""
    return ROUNDS[ROUNDS.index(of) - 1]


def _gathered(out: Path, of: Round, asked: dict[str, Any]) -> _Gathered:
    first, _ = read_arrays(_tally_file(out, of, 0))
    found = _Gathered(first["scorer"], [], [], {}, {})
    for rank in range(first["tasks"]):
        file = _tally_file(out, of, rank)
        said, arrays = read_arrays(file)
        expected = (first["tasks"], first["scorer"], asked.get("known_by", ""))
        if (said["tasks"], said["scorer"], said["asked"]) != expected:
            raise InputError(
                f"{file}: it was counted by another run, number of tasks or round before it than "
                f"the others; {AGAIN}"
            )
        found.seals.append(said["scores"])
        found.extents.append(Extent(*arrays.pop("extent").tolist()))
        for name, values in arrays.items():
            kind, _, prefix = name.partition("-")
            if kind == "digit":
                total = found.counts.setdefault(int(prefix), np.zeros(1 << DIGIT_BITS, np.int64))
                total[values] += arrays[f"count-{prefix}"]
        for unit in get_args(Unit):
            if f"{unit}-hits" in arrays:
                columns = (arrays[f"{unit}-{field.name}"] for field in fields(Tally))
                found.tallies.setdefault(unit, []).append(Tally(*columns))
    return found


def _narrow(found: _Gathered, asked: dict[str, Any], chosen: SelectionConfig) -> dict[str, Any]:
    """Return a digit more of the two scores that the quantile lies between; or all, and it."""
    extent = found.extent
    if not asked:
        check_extent(extent)
        check_budget(chosen.budget, extent.tokens)
    count, share = extent.with_loss, chosen.quantile
    search = _search(asked) if asked else quantile_search(DTYPE, count, share)
    search = narrowed(search, found.counts)
    if search.unknown:
        return {"search": asdict(search)}
    return {"threshold": quantile_of(search, DTYPE, count, share)}


def _search(asked: dict[str, Any]) -> Search:
    held = asked["search"]
    return Search(tuple(held["prefixes"]), tuple(held["left"]), held["unknown"])


def _cut(found: _Gathered, asked: dict[str, Any], chosen: SelectionConfig) -> dict[str, Any]:
    """Return how far the budget reaches, in how many tokens."""
    extent = found.extent
    limit = limit_of(chosen.budget, extent)
    candidates = sum(int(part.candidates.sum()) for part in found.tallies[chosen.unit])
    check_selected(min(limit, candidates), extent.with_loss, asked["threshold"])
    return {
        "threshold": asked["threshold"],
        "budget": limit,
        "selected": min(limit, candidates),
        "extent": asdict(extent),
    }


def _write_shares(out: Path, found: _Gathered, decided: dict[str, Any]) -> None:
    """Write for each task what is selected of its documents or blocks."""
    unit: Unit = decided["selection"]["unit"]
    (cut,) = cuts(Tally.joined(found.tallies[unit]), [decided["budget"]])
    documents = Tally.joined(found.tallies["document"])
    ranking, value = rank_documents(documents.hits, documents.total)
    first_document = list(accumulate((e.documents for e in found.extents), initial=0))
    first_unit = list(accumulate((e.units(unit) for e in found.extents), initial=0))
    owner = np.searchsorted(first_document, ranking, side="right") - 1
    by_owner = np.argsort(owner, kind="stable")
    reached = np.searchsorted(owner[by_owner], range(len(found.extents) + 1))
    for rank, extent in enumerate(found.extents):
        own = cut.within(first_unit[rank], extent.units(unit))
        mine = by_owner[reached[rank] : reached[rank + 1]]
        said = {"scores": found.seals[rank], "decided": decided["known_by"]}
        said |= {"part": own.part, "room": own.room}
        arrays: Arrays = {
            "extent": np.array(astuple(extent), dtype=np.int64),
            "whole": np.packbits(own.whole),
            "ranking": ranking[mine] - first_document[rank],
            "rank_value": value[mine],
        }
        write_arrays(_share_file(out, rank), said, arrays)


def _tally_file(out: Path, of: Round, rank: int) -> Path:
    return out / TALLIES / of / f"{rank:05d}.npz"


def _share_file(out: Path, rank: int) -> Path:
    return out / SELECTION / f"{rank:05d}.npz"


def _decision_file(out: Path, of: Round) -> Path:
    return out / SELECTION / f"{of}.json"
