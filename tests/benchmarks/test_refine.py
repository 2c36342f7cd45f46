"""The benchmark of refinements on a tiny run: what the numbers mean, never how long they took."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def refine(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import refine

    return refine


def test_the_quick_table(refine, tmp_path, capfd):
    out = tmp_path / "table.md"
    assert refine.main(["--quick", "--quiet", "--resamples", "5", "--out", str(out)]) == 0
    shown = capfd.readouterr()
    assert shown.out == out.read_text()
    table = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    assert len(rows) == len(table["rows"]) > 40
    for row in rows.values():
        for half in ("even", "odd"):
            assert 0 < row[half]["average_precision"]["value"] <= 1
            assert 0 <= row[half]["precision_at_3_percent"] <= 1
    for half in ("even", "odd"):
        own, words = (rows[n][half]["average_precision"]["value"] for n in OWN)
        assert words > own > 2 * rows["own scores"][half]["base_rate"]
        assert rows["the run's"][half] == rows["own scores"][half]


OWN = ("own scores", "by words, share 0")


def test_conjugate_gradients_solve_what_is_known(refine):
    import conjugate

    generator = torch.Generator().manual_seed(0)
    half = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix = half @ half.T + torch.eye(6, dtype=torch.float64)
    goal = torch.randn(2, 3, generator=generator, dtype=torch.float64)

    def product(v):
        return {"w": (matrix @ v["w"].flatten()).view(2, 3)}

    start = {"w": torch.zeros(2, 3, dtype=torch.float64)}
    found = conjugate.solve(product, {"w": goal}, start, lambda r: r, iterations=6)
    expected = torch.linalg.solve(matrix, goal.flatten()).numpy()
    np.testing.assert_allclose(found["w"].flatten().numpy(), expected, rtol=1e-8)


def test_bad_input_is_one_line(refine, tmp_path, capfd):
    assert refine.main([]) == 2
    assert refine.main([str(tmp_path)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 2


def test_a_checkpoint_averaged_with_itself_changes_nothing(refine, finished, tmp_path):
    out = tmp_path / "table.md"
    options = ["--checkpoint", str(finished / "baseline"), "--resamples", "5", "--quiet"]
    assert refine.main([str(finished), *options, "--out", str(out)]) == 0
    rows = {row["name"]: row for row in json.loads(out.with_suffix(".json").read_text())["rows"]}
    for name in ("earlier checkpoint", "mean of checkpoints", "mean of checkpoints, by words"):
        own = rows["the run's" + (", by words" if "words" in name else "")]
        for half in ("even", "odd"):
            found, expected = (r[half]["average_precision"]["value"] for r in (rows[name], own))
            assert found == pytest.approx(expected, abs=0.01)
