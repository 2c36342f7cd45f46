"""A stage is one declared value: what it needs, which settings it is given, and what makes it.

Its ``make`` receives its settings and the nouns of its needs, and nothing else, so that nothing
can be read that is not declared, and nothing reused that should not be: a stage's fingerprint is of
its version, its settings and the fingerprints of its needs. What comes from outside the run folder
is a need as well, known by the content of its files.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Protocol,
    TypeVar,
    TypeVarTuple,
    overload,
    runtime_checkable,
)

from ifguide.lazily import LazyFunction

if TYPE_CHECKING:
    from ifguide.run.effort import Estimator
    from ifguide.run.work import Work
    from ifguide.settings.config import Config

Noun = TypeVar("Noun", covariant=True)
Made = TypeVar("Made")
Settings = TypeVar("Settings")
Nouns = TypeVarTuple("Nouns")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")

NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(/[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?)?")


@dataclass(frozen=True, eq=False)
class Need(Generic[Noun]):
    """What a stage may need: an earlier stage, or something outside the run folder."""

    name: str


@dataclass(frozen=True, eq=False)
class Needs(Generic[*Nouns]):
    """What a stage needs, in the order in which its ``make`` receives the nouns."""

    all: tuple[Need[Any], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Outside(Need[Noun]):
    """Something that is read and that no stage has made: texts, checkpoints, judges.

    Args:
        name: what messages call it: the settings that name it.
        files: every file on this machine that decides it, with its name there (empty for a file
            that is named itself). Their content counts; where they lie does not.
        known_by: what else decides it, ready for JSON, such as the version of a package.
        open: returns the noun.
    """

    files: Callable[[Config], Iterable[tuple[Path, str]]]
    known_by: Callable[[Config], Any] = lambda config: None
    open: Callable[[Config], Noun]


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice(Need[Noun]):
    """A need that stands for another one, by the settings: what is not chosen is not made.

    Args:
        name: what messages call it.
        pick: returns the need that it stands for.
    """

    pick: Callable[[Config], Need[Noun]]


def chosen(need: Need[A], config: Config) -> Need[A]:
    """Return what a need stands for under these settings; itself, if it is no choice."""
    while isinstance(need, Choice):
        need = need.pick(config)
    return need


@runtime_checkable
class Get(Protocol):
    """Gives the noun of a need."""

    def __call__(self, need: Need[A], /) -> A:
        """Return the noun."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(Need[Noun], Generic[Noun, Made, Settings, *Nouns]):
    """One step of a run, and how its result lies on disk.

    Args:
        name: of its folder and its command: lower case letters, digits, ``_``, ``-``, with one
            slash at most. A name that people gave goes through ``folder_name``.
        about: what it makes, in a line.
        needs: what ``make`` receives, from ``needs(...)``.
        settings: the part of the settings that it is given; nothing else of them counts.
        section: where that part stands in the settings, "" for a dataclass of several parts.
        version: raised when what it makes changes its meaning.
        make: returns what ``save`` writes, and where the stage is not kept the noun itself. It runs
            on every rank.
        save: writes that to a folder, on the main rank; None if ``make`` has written it all.
        load: opens what lies in the folder; its second argument gives the nouns of the needs.
        files: patterns (``fnmatch``, folder by folder) of all files that it writes; what fits none
            of them is somebody else's.
        command: what makes it on the command line; by default its name.
        kept: whether it has a folder at all under these settings; otherwise it is made whenever it
            is asked for.
        total: how many tokens it goes through, where that is known beforehand.
        passes: forward passes that a token of it costs; its second argument gives the noun.
        effort: what it takes, from the settings and sizes that are known before anything is
            computed; None where that is next to nothing, or not told.

    Raises:
        TypeError: ``make`` asks for more or less than the stage declares.
        ValueError: the name is no name of a folder.
    """

    about: str = ""
    needs: Needs[*Nouns]
    settings: Callable[[Config], Settings]
    section: str = ""
    version: int = 1
    make: Callable[[Work, Settings, *Nouns], Made]
    save: Callable[[Path, Made], None] | None = None
    load: Callable[[Path, Get], Noun]
    files: tuple[str, ...]
    command: str = ""
    kept: Callable[[Config], bool] = lambda config: True
    total: Callable[[Settings, *Nouns], int | None] | None = None
    passes: Callable[[Settings, Callable[[], Noun]], float] = lambda settings, noun: 0.0  # type: ignore[misc]
    effort: Estimator | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no name of a stage")
        if not self.command:
            object.__setattr__(self, "command", self.name)
        if not isinstance(self.make, LazyFunction):
            self.check_make()

    def check_make(self) -> None:
        """Refuse a ``make`` that asks for other than the stage declares.

        A stage is checked when it is declared, one whose ``make`` is imported late before it is
        made.

        Raises:
            TypeError: it does.
        """
        make = self.make.function if isinstance(self.make, LazyFunction) else self.make
        given = 2 + len(self.needs.all)
        try:
            inspect.signature(make).bind(*range(given))
        except TypeError as error:
            raise TypeError(
                f"stage '{self.name}': make does not take its work, its settings and the "
                f"{given - 2} nouns that it needs ({error})"
            ) from error


StageOf = Stage[Noun, Any, Any, *tuple[Any, ...]]  # a stage by its noun
AnyStage = StageOf[Any]


@overload
def needs() -> Needs[()]: ...
@overload
def needs(a: Need[A], /) -> Needs[A]: ...
@overload
def needs(a: Need[A], b: Need[B], /) -> Needs[A, B]: ...
@overload
def needs(a: Need[A], b: Need[B], c: Need[C], /) -> Needs[A, B, C]: ...
@overload
def needs(a: Need[A], b: Need[B], c: Need[C], d: Need[D], /) -> Needs[A, B, C, D]: ...
@overload
def needs(
    a: Need[A], b: Need[B], c: Need[C], d: Need[D], e: Need[E], /
) -> Needs[A, B, C, D, E]: ...
@overload
def needs(
    a: Need[A], b: Need[B], c: Need[C], d: Need[D], e: Need[E], f: Need[F], /
) -> Needs[A, B, C, D, E, F]: ...
def needs(*stages: Need[Any]) -> Any:
    """Declare what a stage needs; its ``make`` receives these nouns after its settings."""
    return Needs(stages)


def folder_name(given: str) -> str:
    """Return a folder's name for a name that people gave, another one for every other name.

    >>> folder_name("everything"), folder_name("non-toxic")
    ('everything', 'non-toxic')
    >>> folder_name("Ours, budget 0.01"), folder_name("../up")
    ('ours-budget-0.01-cabc384e', 'up-8c722b8a')
    """
    plain = re.sub(r"[^a-z0-9_.]+", "-", given.lower()).strip("-.")[:48].strip("-.")
    if plain == given and NAME.fullmatch(plain):
        return plain
    mark = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}-{mark}" if plain else mark
