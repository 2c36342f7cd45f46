"""The range of a numeric setting, declared at its type and checked in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from ifguide.errors import InputError


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, each included unless said otherwise; NaN and infinity never are.

    >>> str(Range(0, 1, above=True)), 0 in Range(0, 1, above=True), 1 in Range(0, 1)
    ('(0, 1]', False, True)
    """

    low: int | float
    high: int | float
    above: bool = False  # low itself is out
    below: bool = False  # high itself is out

    def __contains__(self, number: int | float) -> bool:
        if not (isinstance(number, int) or math.isfinite(number)):
            return False
        over = number > self.low or (number == self.low and not self.above)
        return over and (number < self.high or (number == self.high and not self.below))

    def __str__(self) -> str:
        left, right = "(" if self.above else "[", ")" if self.below else "]"
        return f"{left}{self.low:g}, {_written(self.high)}{right}"

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Add the bounds to the schema that editors check YAML against."""
        found: dict[str, Any] = handler(schema)
        found["exclusiveMinimum" if self.above else "minimum"] = self.low
        found["exclusiveMaximum" if self.below else "maximum"] = self.high
        return found


MOST = 2**31 - 1  # of anything counted; more is a slip of the pen
LARGE = 10**9  # of anything measured

Count = Annotated[int, Range(1, MOST)]
CountOrNone = Annotated[int, Range(0, MOST)]
TextLength = Annotated[int, Range(2, 2**24)]  # in tokens; one alone predicts nothing
Positive = Annotated[float, Range(0, LARGE, above=True)]
NotNegative = Annotated[float, Range(0, LARGE)]
Finite = Annotated[float, Range(-LARGE, LARGE)]
Share = Annotated[float, Range(0, 1)]
ShareAboveZero = Annotated[float, Range(0, 1, above=True)]
ShareBelowOne = Annotated[float, Range(0, 1, below=True)]


def check_ranges(settings: Any, group: str) -> None:
    """Refuse a number of a dataclass's that is outside the range declared at its type.

    The classes of settings call this as they are made, so that a number is refused whatever gives
    it: a file, an option, a library's call.

    Args:
        settings: the dataclass; a range may also stand at the elements of a tuple or the values of
            a mapping.
        group: what messages call it, such as ``training.objective``.

    Raises:
        InputError: the first number outside its range, by name.
    """
    kind: Any = type(settings)
    hints = _hints(kind)
    for field in fields(settings):
        for place, value, allowed in _numbers(hints[field.name], getattr(settings, field.name)):
            if value not in allowed:
                usual = field.default
                usable = not place and usual is not MISSING and usual is not None
                mend = f"give e.g. {usual if usable else _within(allowed)}"
                name = f"{group}.{field.name}{place}" if group else f"{field.name}{place}"
                raise InputError(f"{name}: {_written(value)} is not in {allowed}; {mend}")


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _numbers(kind: Any, value: Any) -> Iterator[tuple[str, int | float, Range]]:
    """Yield the numbers of a value with their places below it and the ranges declared for them."""
    origin, arguments = get_origin(kind), get_args(kind)
    if value is None:
        return
    if origin is Annotated:
        ranges = (item for item in kind.__metadata__ if isinstance(item, Range))
        yield from (("", value, allowed) for allowed in ranges)
    elif origin in (Union, UnionType):
        for inner in arguments:
            yield from _numbers(inner, value)
    elif origin is tuple:
        for number, item in enumerate(value):
            for place, found, allowed in _numbers(arguments[0], item):
                yield f".{number}{place}", found, allowed
    elif origin is dict and isinstance(value, Mapping):
        for key, item in value.items():
            for place, found, allowed in _numbers(arguments[1], item):
                yield f".{key}{place}", found, allowed


def _written(number: int | float) -> str:
    """Write a number in some 20 characters at most.

    >>> _written(10**400), _written(0.5), _written(2**64)
    ('a number of more than 20 digits', '0.5', '18446744073709551616')
    """
    long = isinstance(number, int) and abs(number) >= 10**20
    return "a number of more than 20 digits" if long else str(number)


def _within(allowed: Range) -> str:
    """Return a number of a range, for a setting that has none by default."""
    middle = (allowed.low + min(allowed.high, allowed.low + 1)) / 2
    return f"{middle if allowed.above else allowed.low:g}"
