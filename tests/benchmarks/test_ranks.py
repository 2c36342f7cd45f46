"""The benchmark of two processes on a tiny model: equal scores, never times."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def ranks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    # the tests have a helper of the same name
    specification = importlib.util.spec_from_file_location("bench_ranks", FOLDER / "ranks.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_quick_form_finds_equal_scores(ranks, tmp_path, capsys):
    page = tmp_path / "ranks.md"
    assert ranks.main(["--quick", "--out", str(page)]) == 0
    assert capsys.readouterr().out == page.read_text()
    found = json.loads(page.with_suffix(".json").read_text())["engines"]
    assert [row["engine"] for row in found] == ["jvp"]
    assert found[0]["error"] <= 1e-6
    assert found[0]["times"]["least"] == found[0]["times"]["most"] > 0
    assert "| jvp | " in page.read_text()


def test_scores_that_differ_are_refused(ranks):
    scores = np.random.default_rng(0).normal(size=(4, 8))
    assert ranks.check_agreement(scores, scores) == 0
    for wrong in (np.roll(scores, 1, axis=0), np.zeros_like(scores)):
        with pytest.raises(SystemExit, match="differ from one's"):
            ranks.check_agreement(scores, wrong)
    with pytest.raises(SystemExit, match="differ"):
        ranks.check_agreement(np.zeros_like(scores), np.zeros_like(scores))
