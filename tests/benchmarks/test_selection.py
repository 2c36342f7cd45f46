"""The benchmark of selection, quick: what the numbers mean, never how long it took."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def selection(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import selection

    return selection


def test_the_quick_table(selection, tmp_path, capfd):
    out = tmp_path / "table.md"
    assert selection.main(["--quick", "--out", str(out)]) == 0
    shown = capfd.readouterr()
    assert shown.out == out.read_text()
    assert shown.err == ""
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["tokens"] == 977 * 1024
    assert found["checked"]
    cases = found["cases"]
    tokens = found["tokens"] - 512  # half a block is padding
    assert cases["select"]["budgets"] == cases["select"]["selected"] == [int(0.02 * tokens)]
    each = cases["four budgets at once"]
    assert each["budgets"] == [int(share * tokens) for share in selection.BUDGETS]
    assert each["selected"][:3] == each["budgets"][:3]
    assert each["selected"][3] < each["budgets"][3]  # fewer tokens lie in any window
    for name, case in cases.items():
        assert case["peak_bytes"] >= found["imports_bytes"] > 0
        assert f"\n| {name} | " in shown.out


def test_a_difference_is_found(selection, tmp_path, monkeypatch, capfd):
    """Another sum, order or mask than in memory would not go by."""
    selection.make_scores(tmp_path, 30_000)
    scores = selection.open_scores(tmp_path)
    assert selection.differences(scores) == []
    streamed = selection.select_budgets

    def changed(field, change):
        def select_budgets(*arguments):
            return [replace(made, **{field: change(made)}) for made in streamed(*arguments)]

        monkeypatch.setattr(selection, "select_budgets", select_budgets)

    changed("rank_value", lambda made: np.nextafter(made.rank_value, 2))
    assert "scores, block, window 4, budget 0.02: another rank_value" in selection.differences(
        scores
    )
    changed("suppress", lambda made: np.roll(made.suppress, 1))
    assert len(selection.differences(scores)) == 2 * 2 * 2 * 4
    monkeypatch.setattr(selection, "QUICK_TOKENS", 30_000)
    assert selection.main(["--quick"]) == 1
    assert "another suppress" in capfd.readouterr().err
