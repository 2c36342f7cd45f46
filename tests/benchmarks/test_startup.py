"""The benchmark of starting up, once each: what its numbers mean, never how small they are."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def startup(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import startup

    return startup


def test_the_quick_form_tells_every_figure(startup, monkeypatch, tmp_path, capfd):
    page = tmp_path / "startup.md"
    monkeypatch.setattr(startup, "COMMANDS", dict(list(startup.COMMANDS.items())[:2]))
    monkeypatch.setattr(startup, "prepare", lambda folder: None)
    (tmp_path / "ifguide").mkdir()
    (tmp_path / "ifguide/__init__.py").touch()
    (tmp_path / "ifguide/__main__.py").write_text("import sys; sys.exit('run' in sys.argv)")
    options = ["--quick", "--before", str(tmp_path), "--out", str(page)]
    assert startup.main(options) == 0
    assert capfd.readouterr().out == page.read_text()
    first, second = json.loads(page.with_suffix(".json").read_text())["rows"]
    assert 0 < first["before"]["median"] < first["now"]["median"]
    assert "before" not in second  # it does not know the command
    assert f"| {second['now']['median']:.2f} [" in page.read_text()


def test_processor_time_is_what_a_process_works_not_how_long_it_waits(startup, tmp_path):
    (tmp_path / "ifguide").mkdir()
    (tmp_path / "ifguide/__init__.py").touch()
    main = tmp_path / "ifguide/__main__.py"
    main.write_text("import time; time.sleep(0.7)")
    waiting, code = startup.spent(tmp_path, [])
    assert code == 0
    main.write_text("import sys, time\nwhile time.process_time() < 0.7: pass\nsys.exit(3)")
    working, code = startup.spent(tmp_path, [])
    assert code == 3
    assert waiting < 0.5 < 0.7 <= working


def test_a_page_without_another_checkout(startup):
    row = {"name": "ifguide --help", "now": {"median": 0.25, "least": 0.2, "most": 0.3}}
    table = {"command": "x", "date": "d", "machine": sys.platform, "repeats": 3, "rows": [row]}
    assert "| `ifguide --help` | 0.25 [0.20, 0.30] | – |" in startup.render(table)
