"""Every numeric setting has a range of its own, and is refused by its own name outside it."""

import math
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifguide.attacks.config import AttackConfig
from ifguide.errors import InputError
from ifguide.evaluation.config import Sampling
from ifguide.ranges import Range
from ifguide.selection.config import SelectionConfig
from ifguide.settings.config import Config

NUMBERS = (int, float)


def groups(kind):
    """All dataclasses of settings below a type."""
    if is_dataclass(kind):
        yield kind
        for inner in get_type_hints(kind).values():
            yield from groups(inner)
    for inner in get_args(kind):
        yield from groups(inner)


def bare_numbers(kind):
    """Whether a type holds a number that has no range."""
    if get_origin(kind) is Annotated:
        return not any(isinstance(item, Range) for item in kind.__metadata__)
    if kind is Any or get_origin(kind) is Literal or is_dataclass(kind):
        return False
    return kind in NUMBERS or any(bare_numbers(inner) for inner in get_args(kind))


@pytest.mark.parametrize(
    "kind", sorted({*groups(Config), *groups(AttackConfig)}, key=lambda kind: kind.__name__)
)
def test_every_number_has_a_range(kind):
    types = get_type_hints(kind, include_extras=True)
    assert [field.name for field in fields(kind) if bare_numbers(types[field.name])] == []


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1, 2**64, 10**12, 10**400], ids=lambda value: "number"
)
@pytest.mark.parametrize("name", ["samples", "tokens", "top_p", "temperature", "batch_size"])
def test_what_is_outside_is_refused_by_name_in_a_short_line(name, value):
    if isinstance(value, float) == (get_type_hints(Sampling)[name] is float):
        with pytest.raises(InputError) as refused:
            replace(Sampling(), **{name: value})
        assert str(refused.value).startswith(f"evaluation.sampling.{name}: ")
        assert "; give e.g. " in str(refused.value)
        assert len(str(refused.value)) < 150


@given(st.floats(0, 1, exclude_min=True))
def test_what_is_inside_is_taken(budget):
    assert SelectionConfig(budget=budget).budget == budget


@given(st.integers() | st.floats(), st.integers(-5, 5), st.integers(0, 5), st.booleans())
def test_a_range_holds_what_it_says(number, low, width, above):
    inside = Range(low, low + width, above=above)
    assert (number in inside) == (low <= number <= low + width and not (above and number == low))
