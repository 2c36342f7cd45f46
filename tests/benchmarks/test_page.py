"""The benchmark of a page in a browser, once and small: what its numbers mean."""

import json
import os
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import page

    if os.environ.get("CI") != "true" and not any(map(shutil.which, page.BROWSERS)):
        pytest.skip("Chromium is not installed")
    return page


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
