"""The benchmark of a fit in groups, tiny: what its numbers mean, never how long it took."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def groups(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import fit_groups

    return fit_groups


def test_a_tiny_table(groups, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(
        groups,
        "measured_apart",
        lambda parsed, name: groups.measure(parsed, name),  # a process each is what takes long
    )
    out = tmp_path / "table.md"
    words = ["--width", "64", "--layers", "3", "--blocks", "2", "--out", str(out)]
    assert groups.main(words) == 0
    assert capfd.readouterr().out == out.read_text()
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert 1 == rows["whole"]["groups"] < rows["half"]["groups"] < rows["quarter"]["groups"]
    assert len({row["direction"] for row in rows.values()}) == 1
    # of a layer: S of q, k, v, o, gate, up and down; A of three inputs of the width, and down's
    width, inner = 64, 170
    bases = 3 * 4 * (5 * width**2 + 2 * inner**2 + 3 * width**2 + inner**2)
    values = 3 * 4 * (4 * width**2 + 3 * width * inner)
    assert abs(rows["whole"]["needed"] - max(2 * bases + values, bases + 2 * values)) <= 2048


def test_directions_that_differ_are_a_failure(groups, monkeypatch, capsys):
    row = {"needed": 2**20, "groups": 1, "seconds": 1.0, "peak": 2**20}
    monkeypatch.setattr(groups, "measured_apart", lambda parsed, name: {**row, "direction": name})
    assert groups.main([]) == 1
    assert "| quarter | 0 | 1 | 1.0 | 1 | quarter |" in capsys.readouterr().out
