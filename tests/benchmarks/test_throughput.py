"""The benchmark of throughput on a tiny model: what the numbers mean, never how long they took."""

import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def throughput(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import throughput

    return throughput


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_quick_form_tells_every_figure(throughput, dtype, tmp_path, capsys):
    page = tmp_path / "throughput.md"
    options = ["--quick", "--device", "cpu", "--dtype", dtype, "--repeats", "2"]
    assert throughput.main([*options, "--out", str(page)]) == 0
    assert capsys.readouterr().out == page.read_text()
    results = json.loads(page.with_suffix(".json").read_text())
    case = results["cases"]["tiny"]
    rows = [line.split(" | ") for line in page.read_text().splitlines() if "| tiny |" in line]
    assert [row[2] for row in rows] == [*throughput.PRODUCTS, "ekfac", "ekfac, bfloat16"]
    for name, seconds in case["seconds"].items():
        assert len(seconds) == 2, name
        assert min(seconds) > 0
    assert throughput.figures(case, "forward", results["ceiling"])["passes"] == 1
    if dtype == "float32":
        assert max(case["agreement"].values()) < 2e-3
        assert case["spearman"] is None
    else:
        assert case["spearman"] > 0.95
        assert f"{case['spearman']:.4f}" in page.read_text()


def test_weights_are_those_a_token_is_multiplied_with(throughput):
    case = throughput.Case(length=16, tokens=32, **throughput.MODELS["tiny"])
    model = case.model()
    found = throughput.weights_of(model)
    embedding = model.get_input_embeddings().weight.numel()
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    assert found["head"] == 32 * 300
    assert found["tracked"] == matrices - embedding - found["head"]


def test_the_share_of_the_ceiling_by_hand(throughput):
    case = {
        "tokens": 100,
        "tracked": 10,
        "head": 4,
        "seconds": {"forward": [1.0, 2.0, 4.0], "jvp": [4.0, 4.0, 4.0], "ekfac": [9.0, 9.0, 9.0]},
    }
    found = throughput.figures(case, "jvp", rate=7600.0)
    assert found == {"tokens_a_second": 25.0, "passes": 2.0, "share": 2 * (30 + 8) * 25 / 7600}
    assert throughput.figures(case, "ekfac", rate=1.0)["share"] is None


def test_the_ceiling_is_a_rate_of_products(throughput):
    place = throughput.Place(torch.device("cpu"), torch.float32, 64)
    rate = throughput.ceiling(place, (64, 128), repeats=2)
    assert 1e6 < rate < 1e15
