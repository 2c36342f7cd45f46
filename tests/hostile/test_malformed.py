"""Malformed input of every kind ends in one line; benchmarks/hostile_input.py tries it all."""

import random
from itertools import groupby

import pytest
from hostile import command_cases, file_cases, settings_cases
from hostile.harness import LINE, TAKEN, ending

EACH = 2  # of a kind


def drawn():
    """Some cases of each kind, the same ones each time."""
    every = [*command_cases.all_cases(), *settings_cases.all_cases(), *file_cases.all_cases()]
    kinds = groupby(sorted(every, key=lambda case: case.kind), key=lambda case: case.kind)
    draw = random.Random(5)
    return [case for _, cases in kinds for case in draw.sample([*cases], EACH)]


@pytest.mark.parametrize("case", drawn(), ids=lambda case: f"{case.kind}: {case.name}")
def test_malformed_input_ends_in_one_line_or_is_taken(case, tmp_path):
    assert ending(case, tmp_path / "case") in (LINE, TAKEN)


def test_every_kind_is_drawn_from():
    assert len({case.kind for case in drawn()}) >= 25
