"""The table of families, over a few of which all is known."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import families

    return families


def test_a_family_that_works_is_within_every_bound(families):
    found = families.tried("llama")
    assert all(found.works(check) for check in families.CHECKS)


def test_what_a_family_cannot_do_is_the_line_that_refuses_it(families):
    found = families.tried("bloom")
    assert [check for check in families.CHECKS if not found.works(check)] == ["check", "derivative"]
    assert found.found["check"].startswith("scores.engine: jvp does not work with this model")
    text = families.page([found], "a command")
    assert "| bloom |" in text
    assert "- n1: scores.engine: jvp does not work" in text


def test_a_family_that_cannot_be_made_small_is_listed_with_the_reason(families):
    found = families.tried("llama4")
    assert "parameters stay" in found.unmade
    assert "- llama4: " in families.page([found], "a command")


def test_a_figure_beyond_its_bound_is_marked(families):
    worst = dict.fromkeys(families.CHECKS, 1.0) | {"check": 0.0, "saved": 0.0}
    family = families.Family("made", worst)
    assert "| made | 1e+00 † | 1e+00 † | 0e+00 | passes | 1e+00 † |" in families.page([family], "")
    assert "within the bounds: generation 0, decoding 0, saved 1" in families.page([family], "")


def test_every_causal_family_is_tried(families):
    names = list(families.all_families())
    assert len(names) > 100
    assert {"gpt2", "llama", "bloom", "opt", "gemma3"} <= set(names)
