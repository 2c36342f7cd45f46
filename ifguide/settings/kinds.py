"""What a setting may be, by its dotted place: a walk along the types of dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_cached_hints = cache(get_type_hints)


def hints(kind: Any) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields by name; they are evaluated once."""
    return _cached_hints(kind)


def without_null(kind: Any) -> Any:
    """Return a type without its null.

    >>> without_null(int | None)
    <class 'int'>
    """
    if get_origin(kind) in (Union, UnionType):
        return next(inner for inner in get_args(kind) if inner is not NoneType)
    return kind


def takes_null(kind: Any) -> bool:
    """Whether a setting of this type may be null."""
    return kind is Any or NoneType in get_args(kind)


def below(kind: Any, part: str | int) -> Any:
    """Return the type one place further down, None where there is no such place.

    >>> below(tuple[int, ...], 3), below(dict[str, float], "x"), below(int, "x")
    (<class 'int'>, <class 'float'>, None)
    """
    kind = without_null(kind)
    if is_dataclass(kind):
        return hints(kind).get(str(part))
    if kind is Any:
        return Any
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    return get_args(kind)[1] if get_origin(kind) is dict else None


def at(kind: Any, place: Iterable[str | int]) -> Any:
    """Return the type at a place below ``kind``, None where there is no such place."""
    for part in place:
        kind = below(kind, part)
    return kind


def is_scalar(kind: Any) -> bool:
    """Whether a setting of this type has no settings below it."""
    kind = without_null(kind)
    return not (is_dataclass(kind) or kind is Any or get_origin(kind) in (tuple, dict))
