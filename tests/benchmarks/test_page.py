"""The benchmark of a page in a browser, once and small: what its numbers mean."""

import json
import os
import shutil
from pathlib import Path
from statistics import median

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import page_speed

    if os.environ.get("CI") != "true" and not any(map(shutil.which, page_speed.BROWSERS)):
        pytest.skip("Chromium is not installed")
    return page_speed


def test_the_quick_form_tells_every_figure(page, tmp_path, capfd):
    out = tmp_path / "page.md"
    assert page.main(["--quick", "--out", str(out)]) == 0
    assert capfd.readouterr().out == out.read_text()
    table = json.loads(out.with_suffix(".json").read_text())
    assert table["documents"] == 100
    assert [row["name"] for row in table["rows"]] == ["open it", *page.ACTIONS]
    for row in table["rows"]:
        assert 0 < row["longest"][0] <= row["all"][0]
        assert f"\n| {row['name']} | {row['longest'][0]:.0f} [" in out.read_text()


def test_the_figures_in_the_docs_are_the_record_s():
    record = json.loads((FOLDER / "records" / "page.json").read_text())
    rows = {row["name"]: row for row in record["rows"]}
    opening = median(rows.pop("open it")["all"]) / 1000
    longest = {name: median(row["longest"]) for name, row in rows.items()}
    jumps = max(of for name, of in longest.items() if name.startswith("jump"))
    others = max(of for name, of in longest.items() if not name.startswith("jump"))
    told = " ".join((FOLDER.parent / "docs" / "usage.md").read_text("utf-8").split())
    assert (
        f"Of {record['documents']:,} documents ({record['tokens'] / 1e6:.1f} million tokens, "
        f"{record['megabytes']:.0f} MB) opening takes {opening:.1f} s of the browser's main "
        "thread; "
        "after that searching, sorting, filtering and leafing hold it up for at most "
        f"{others:.0f} ms, less than a frame, and a jump by score for {jumps:.0f} ms"
    ) in told
    assert others < 1000 / 60
