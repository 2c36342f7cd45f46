"""The benchmark of a fit's parts on a tiny model: what its numbers mean, never how long it took."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_the_quick_table(monkeypatch, tmp_path, capfd):
    monkeypatch.syspath_prepend(str(FOLDER))
    import fit

    out = tmp_path / "fit.md"
    assert fit.main(["--quick", "--out", str(out)]) == 0
    assert capfd.readouterr().out == out.read_text()
    (case,) = json.loads(out.with_suffix(".json").read_text())["cases"]
    assert case["factors"] == {"apart": 4 * 14, "shared": 4 * 11}  # of 7 inputs a layer 4 differ
    assert case["cosine"]["apart"] == pytest.approx(1)
    assert case["cosine"]["shared"] == pytest.approx(1, abs=1e-4)
    assert 0.3 < case["cosine"]["by token"] < 1
    for part in ("covariances", "decompositions", "eigenvalues"):
        for kind in ("apart", "shared"):
            assert case["passes"][f"{part}, {kind}"]["median"] > 0
