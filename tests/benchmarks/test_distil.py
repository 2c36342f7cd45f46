"""The table of distilled scorers, on a run that takes seconds: which rows, and that shares are."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "distil", raising=False)
    return import_module("distil")


def test_a_row_for_what_was_kept_out_and_for_each_text(benchmark, finished, monkeypatch, tmp_path):
    texts, page = tmp_path / "new.jsonl", tmp_path / "page.md"
    lines = [json.dumps({"text": f"a calm river {n}"}) + "\n" for n in range(40)]
    texts.write_text("".join(lines))
    words = ["distil.py", str(finished), "--layers", "1", "--epochs", "1", "--limit", "30"]
    monkeypatch.setattr(sys, "argv", [*words, "--texts", f"rivers={texts}", "--out", str(page)])
    benchmark.main()
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines() if line[:3] == "| 1"]
    assert [row[1].split()[0] for row in rows] == ["kept", "rivers"]
    assert all(len(row) == 9 for row in rows)
    assert -1 <= float(rows[1][3]) <= 1
    assert all(0 <= int(cell.strip(" %")) <= 100 for cell in rows[1][4:7])
    assert all(float(cell) > 0 for cell in rows[1][7:])
