"""Prompts and completions of the two sides, read from pairs or told apart by toxicity."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ifguide.corpus.config import Source
from ifguide.corpus.fields import Record, number_field, text_field
from ifguide.corpus.sources import Tally, first_of, locate, read_records
from ifguide.corpus.subsets import read_numbers
from ifguide.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completion:
    """A completion and the prompt before it, joined as they are; ``place`` is for messages."""

    prompt: str
    text: str
    place: str


BOUNDS = {"toxic": "at_least", "safe": "at_most"}
Sides = tuple[list[Completion], list[Completion]]  # toxic, safe


@dataclass(frozen=True, kw_only=True)
class ToxicitySplit:
    """How single completions fall into two sides.

    A side is the records whose numbers its subset file lists; without one, those whose value of
    ``field`` is at least ``toxic_at_least`` or at most ``safe_at_most``.
    """

    field: str
    toxic_at_least: float
    safe_at_most: float
    toxic_subset: str | None = None
    safe_subset: str | None = None


def read_completions(
    source: Source,
    data_dir: Path,
    prompt: str | None,
    completion: tuple[str, str],
    *,
    exclude: Container[str] = frozenset(),
    limit: int | None = None,
) -> Iterator[Completion]:
    """Completions in file order; ``completion`` is the field and the setting that names it.

    Raises:
        InputError: a field that is missing or no text, or a completion that is empty.
    """
    records = (record for record in _records(source, data_dir) if record.id not in exclude)
    for record in islice(records, limit):
        yield _completion(record, prompt, *completion)


def read_split(
    source: Source,
    data_dir: Path,
    prompt: str,
    completion: str,
    split: ToxicitySplit,
    *,
    exclude: Container[str] = frozenset(),
    limit: int | None = None,
) -> Sides:
    """Both sides of single completions, as RealToxicityPrompts has them (Gehman et al. 2020).

    A record without a toxicity is skipped, and counted in a warning, where a threshold needs it.

    Raises:
        InputError: as :func:`read_completions`; a side without a record; a toxicity that is no
            number; a subset that lists ids, or numbers beyond the last record.
    """
    rows = _rows(split.toxic_subset, data_dir), _rows(split.safe_subset, data_dir)
    sides: Sides = ([], [])
    unrated, last = 0, -1
    for record in _records(source, data_dir):
        last = record.number
        toxicity = number_field(record, split.field, "queries.toxicity") if None in rows else None
        unrated += toxicity is None and None in rows
        for belongs, side in zip(_belongs(last, toxicity, rows, split), sides, strict=True):
            if belongs and record.id not in exclude and (limit is None or len(side) < limit):
                side.append(_completion(record, prompt, completion, "queries.completion"))
    if unrated:
        logger.warning("%s: skipped %d records without %s", source.shown, unrated, split.field)
    _check_rows(split.toxic_subset, rows[0], last, source)
    _check_rows(split.safe_subset, rows[1], last, source)
    _check_sides(*sides, split, source)
    return sides


def _belongs(
    number: int,
    toxicity: float | None,
    rows: tuple[frozenset[int] | None, frozenset[int] | None],
    split: ToxicitySplit,
) -> tuple[bool, bool]:
    """Whether a record belongs to the toxic side, and to the safe side."""
    toxic = toxicity is not None and toxicity >= split.toxic_at_least
    safe = toxicity is not None and toxicity <= split.safe_at_most
    return (
        toxic if rows[0] is None else number in rows[0],
        safe if rows[1] is None else number in rows[1],
    )


def _records(source: Source, data_dir: Path) -> Iterator[Record]:
    tally: Tally = {}
    return first_of(read_records(source, data_dir, tally), source.limit, source, tally)


def _completion(record: Record, prompt: str | None, name: str, setting: str) -> Completion:
    before = "" if prompt is None else text_field(record, prompt, "queries.prompt")
    text = text_field(record, name, setting)
    place = f"{record.place} (id {record.id})"
    if not text.strip():
        raise InputError(f"{place}: the completion '{name}' is empty; fill it or remove the record")
    return Completion(before, text, place)


def _rows(subset: str | None, data_dir: Path) -> frozenset[int] | None:
    return None if subset is None else read_numbers(locate(subset, data_dir), subset)


def _check_rows(subset: str | None, rows: frozenset[int] | None, last: int, source: Source) -> None:
    if rows and max(rows) > last:
        raise InputError(
            f"{subset}: lists record {max(rows)}, but the last record read from {source.shown} is "
            f"{last} (from 0); give the file that the list was made for"
        )


def _check_sides(
    toxic: list[Completion], safe: list[Completion], split: ToxicitySplit, source: Source
) -> None:
    sides = (
        ("toxic", toxic, split.toxic_subset, f">= {split.toxic_at_least}"),
        ("safe", safe, split.safe_subset, f"<= {split.safe_at_most}"),
    )
    for name, side, subset, bound in sides:
        if not side:
            why = f"{split.field} {bound}" if subset is None else f"a number that {subset} lists"
            raise InputError(
                f"{source.shown}: 0 queries on the {name} side, no record has {why}; change "
                f"queries.{name}_{'subset' if subset else BOUNDS[name]}"
            )
