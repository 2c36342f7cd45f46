"""Whatever takes long says what it is at, and nothing where quiet is asked."""

import time

import pytest
from micro import write_settings

from ifguide.commands.main import main
from ifguide.parts import heard_by, tell, told
from ifguide.run import progress

PARTS = (
    "checking ",
    "reading posts, record 0",
    "learning the tokenizer",
    "cutting into tokens, document 0 of ",
    "loading the model",
    "trying the model",
    "covariances",
    "eigendecompositions of ",
    "corrected eigenvalues",
    "gradient of the queries",
    "solving for the direction",
    "rule, text 0 of ",
)


def test_every_part_of_a_run_is_told(tmp_path):
    parts = []
    file, out = write_settings(tmp_path), str(tmp_path / "out")
    with heard_by(parts.append):
        assert main(["run", str(file), "--out", out, "--quiet"]) == 0
        assert main(["run", str(file), "--out", out, "--quiet", "--verify"]) == 0
    assert [part for part in PARTS if not any(said.startswith(part) for said in parts)] == []


def test_a_stage_that_counts_nothing_still_says_what_it_is_at(capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.progress_line("fit", None, quiet=False):
        tell("eigendecompositions of 9 weights: 4")
        time.sleep(0.3)
    lines = capfd.readouterr().err.splitlines()
    assert any(
        line.startswith("fit        eigendecompositions of 9 weights: 4 [") for line in lines
    )
    assert lines[-1].startswith("fit        [")


def test_quiet_says_nothing(capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.progress_line("fit", None, quiet=True):
        tell("covariances")
        time.sleep(0.1)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("every", "parts"), [(1, 5), (2, 3), (10, 1)])
def test_items_are_told_every_so_many(every, parts):
    heard = []
    with heard_by(heard.append):
        assert [*told(range(5), "item", every=every)] == [0, 1, 2, 3, 4]
    assert len(heard) == parts
    assert heard[0] == "item 0"
    tell("nobody hears this")
    assert len(heard) == parts
