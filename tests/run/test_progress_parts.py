"""A stage that is silent still shows that it goes on, and which part of it is being done."""

import time

import pytest

from ifguide.parts import doing
from ifguide.run import progress


@pytest.mark.parametrize("total", [None, 100])
def test_a_silent_part_is_shown(capsys, monkeypatch, total):
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    with progress.progress_line("fit", total, quiet=False) as move:
        doing("decomposing a (1 of 2)")
        time.sleep(0.2)
        move(60)
        doing("decomposing b (2 of 2)")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert any("fit" in line and "decomposing a (1 of 2)" in line for line in lines)
    assert any("fit" in line and "decomposing b (2 of 2)" in line for line in lines)
    assert "decomposing" not in lines[-1]


def test_nothing_is_shown_where_quiet(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    with progress.progress_line("fit", None, quiet=True):
        doing("decomposing a (1 of 2)")
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
