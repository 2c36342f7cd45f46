"""``ifguide report A B``: two finished runs beside each other."""

import shutil

import pytest
from micro import run

from ifguide.commands.main import main


@pytest.fixture(scope="module")
def other(finished, micro_config, tmp_path_factory):
    """The same run with a shorter page."""
    out = shutil.copytree(finished, tmp_path_factory.mktemp("other") / "shorter")
    assert run("report", micro_config, out, "--replace", "--report.top", "3") == 0
    return out


def contents(folder):
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_two_runs_are_shown_and_neither_is_changed(finished, other, tmp_path, capfd, monkeypatch):
    before = contents(finished), contents(other)
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(finished), str(other)]) == 0
    shown = capfd.readouterr().out
    assert f"A: {finished}\nB: {other}\n" in shown
    row = next(line for line in shown.splitlines() if line.startswith("report.top"))
    assert row.split() == ["report.top", "200", "3"]
    assert "By both, of all that either selects  100.0%" in shown
    assert shown.endswith("The page: beside.html\n")
    page = (tmp_path / "beside.html").read_text()
    assert page.count("<article") == 3
    assert "report.top" in page
    assert (contents(finished), contents(other)) == before


def test_what_cannot_be_shown_beside_each_other_is_refused(
    finished, other, micro_config, tmp_path, refused
):
    page = tmp_path / "page.html"
    assert "give a second run folder" in refused("report", finished)
    assert "it is the first run itself" in refused("report", finished, finished, "--out", page)
    assert "it is no run folder" in refused("report", finished, tmp_path, "--out", page)
    assert str(micro_config) in refused("report", micro_config, other, "--out", page)
    assert "remove it" in refused("report", finished, other, "--seed", "3")
    assert "remove it" in refused("report", finished, other, "--force", "--out", page)
    assert "trust_remote_code" in refused(
        "report", micro_config, "--trust-remote-code", "--out", tmp_path / "run"
    )
    assert not page.exists()


def test_a_run_that_does_not_stand_is_refused(finished, other, tmp_path, refused):
    broken = shutil.copytree(other, tmp_path / "broken")
    (broken / "report" / "report.json").unlink()
    line = refused("report", finished, broken, "--out", tmp_path / "page.html")
    assert str(broken) in line
    assert "report" in line
