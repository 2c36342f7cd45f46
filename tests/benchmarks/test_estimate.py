"""The table of estimates: what it takes from a report, how it compares, never how long it was."""

import json
import re
import sys
from pathlib import Path

import pytest

from ifguide.run import work

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "estimate", raising=False)
    import estimate

    return estimate


def test_a_finished_run_beside_its_estimate(benchmark, finished, monkeypatch, tmp_path):
    page = tmp_path / "estimate.md"
    words = ["estimate.py", "--finished", str(finished), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", words)
    clock = work.time
    benchmark.main()
    assert work.time is clock
    text = page.read_text(encoding="utf-8")
    cost = json.loads((finished / "report.json").read_text())["cost"]
    took = re.search(r"^\| all stages \| ([\d,]+) s \| ([\d,]+) s \|", text, re.MULTILINE)
    whole = sum(stage["seconds"] for stage in cost.values())
    assert int(took[2].replace(",", "")) == pytest.approx(whole, abs=1 + 0.01 * whole)
    assert re.search(r"^\| baseline \|", text, re.MULTILINE)
    assert "| most memory |" in text
