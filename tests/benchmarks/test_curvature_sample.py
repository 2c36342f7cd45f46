"""The benchmark of samples for the curvature on tiny runs: what its numbers mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from ifguide import aim
from ifguide.run import artifacts

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import curvature_sample

    return curvature_sample


def test_the_table_of_a_finished_run(benchmark, finished, tmp_path, capfd):
    out, keep = tmp_path / "table.md", tmp_path / "keep"
    options = ["--shares", "0.2", "1", "--draws", "2", "--keep", str(keep), "--out", str(out)]
    assert benchmark.main([str(finished), *options, "--quiet"]) == 0
    assert capfd.readouterr().out == out.read_text()
    table = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    draws = ["20.0%, draw 1", "20.0%, draw 2", "100.0%, draw 1", "100.0%, draw 2"]
    own = ["the run's own", "the same, rotated in bfloat16"]
    assert list(rows) == ["every block", *own, *draws]
    (rounded,) = rows[own[1]]["other_draws"]  # the same sample and labels
    assert 0.999 < rounded < 1
    full = rows["every block"]
    assert full["sample_blocks"] == table["blocks"] == rows[draws[2]]["sample_blocks"]
    assert (full["spearman"], full["top"]) == pytest.approx((1, 1))
    few, all_blocks = ([rows[name]["spearman"] for name in draws[i : i + 2]] for i in (0, 2))
    assert max(few) < min(all_blocks) < 1  # the draw of the labels remains
    assert rows[draws[3]]["other_draws"][0] < 1
    for name, row in rows.items():
        assert f"\n| {name} | {row['sample_blocks']} | {row['spearman']:.4f} |" in out.read_text()

    kept = [keep / f"{full['sample_blocks']}-blocks-seed-{seed}" for seed in (3, 4)]
    first, second = (artifacts.load_curvature(folder).tensors() for folder in kept)
    assert not all(np.allclose(first[name], second[name]) for name in first)
    assert benchmark.main([str(finished), *options, "--quiet"]) == 0
    again = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [row["fit_seconds"] for row in again] == [row["fit_seconds"] for row in table["rows"]]
    for before, after in zip(table["rows"], again, strict=True):
        assert after["spearman"] == pytest.approx(before["spearman"], abs=1e-6)


def test_the_run_s_own_fit_leads_to_the_run_s_own_scores(benchmark, finished):
    run = benchmark.open_run(finished, None, quiet=True)
    gradient = benchmark.goal(run)
    values = benchmark.scores_along(run, "own", run.curvature, gradient)
    stored = np.asarray(run.scores.values)[run.part.has_loss]
    np.testing.assert_allclose(values, stored, rtol=1e-3, atol=1e-4 * np.abs(stored).max())
    solved = run.curvature.solve(gradient, run.config.direction.damping)
    for name, expected in aim(run.model, run.contrast, run.curvature).weights.items():
        np.testing.assert_allclose(solved[name], expected, rtol=1e-4, atol=1e-6)


def test_a_smaller_reference_is_named_so(benchmark, finished, tmp_path, capfd):
    out = tmp_path / "table.md"
    options = ["--reference", "6", "--shares", "0.05", "--draws", "1", "--blocks", "10"]
    assert benchmark.main([str(finished), *options, "--quiet", "--out", str(out)]) == 0
    table = json.loads(out.with_suffix(".json").read_text())
    first = table["rows"][0]
    assert first["sample_blocks"] == 6 < table["blocks"]
    assert first["name"] == f"reference, {6 / table['blocks']:.1%}"
    assert table["compared_blocks"] == 10
    assert benchmark.main([]) == 2
    assert "--quick" in capfd.readouterr().err


def test_agreement_is_the_usual_correlation(benchmark):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    found = benchmark.agreement(a, a + b)
    assert found["pearson"] == pytest.approx(pearsonr(a, a + b).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(a, a + b).statistic)
    assert found["ratio"] == pytest.approx(np.linalg.lstsq((a + b)[:, None], a)[0][0])
    highest = set(np.argsort(a)[-3:]) & set(np.argsort(a + b)[-3:])
    assert found["top"] == pytest.approx(len(highest) / 3)
