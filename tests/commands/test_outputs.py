"""What a command writes beside the run folder goes over no file, and through no link, unasked."""

import shutil
import sys
from types import SimpleNamespace

import pytest

from ifguide.commands.main import main

KEPT = "somebody's"


@pytest.fixture
def commands(finished, micro_config, tmp_path, monkeypatch):
    """Each command that writes where it is told, by name: its words, and the file it writes."""
    tasks = SimpleNamespace(
        TaskManager=lambda include_path=None: SimpleNamespace(match_tasks=lambda names: names)
    )
    figures = {"results": {}, "versions": {}, "n-shot": {}, "n-samples": {}}
    stand_in = SimpleNamespace(simple_evaluate=lambda **settings: dict(figures), tasks=tasks)
    monkeypatch.setitem(sys.modules, "lm_eval", stand_in)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)
    run, place = shutil.copytree(finished, tmp_path / "run"), tmp_path / "place"
    posts = tmp_path / "posts.jsonl"
    marked = '{"text": "the old farm has you donkey", "spans": [[17, 27]]}\n'
    posts.write_text((marked + '{"text": "the old farm has a red gate", "spans": []}\n') * 40)
    lens = ["--kind", "lens", "--lens.queries", "1", "--quiet"]
    return {
        "judge": (["judge", run, "--judges", "rule", "--out", place], place),
        "lm-eval": (["lm-eval", run, "--tasks", "made", "--out", place], place),
        "init": (["init", "--corpus", posts, "--model", run / "train", "--out", place], place),
        "attack": (["attack", run, *lens, "--out", place], place / "attacks.md"),
        "report": (["report", finished, run, "--out", place], place),
        "export-pair": (
            ["export-pair", micro_config, "--out", run, "--quiet", "--to", place],
            place / "README.md",
        ),
    }


NAMES = ["judge", "lm-eval", "init", "attack", "report", "export-pair"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_is_written_over_only_where_asked_for(name, commands, refused):
    words, file = commands[name]
    file.parent.mkdir(exist_ok=True)
    file.write_text(KEPT)
    assert "it is there already; give " in refused(*words)
    assert file.read_text() == KEPT
    assert main([*map(str, words), "--replace"]) == 0
    assert file.read_text() != KEPT


@pytest.mark.parametrize("replace", [[], ["--replace"]], ids=["as it is", "replace"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_through_a_link(name, replace, commands, tmp_path, capfd):
    words, file = commands[name]
    theirs = tmp_path / "theirs"
    theirs.write_text(KEPT)
    file.parent.mkdir(exist_ok=True)
    file.symlink_to(theirs)
    code = main([*map(str, words), *replace])
    assert code == (0 if replace and name != "export-pair" else 2)
    assert theirs.read_text() == KEPT
    assert file.is_symlink() == (code == 2)
    assert len(capfd.readouterr().err.splitlines()) == (code == 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_link_that_leads_nowhere_is_there_already(name, commands, tmp_path, refused):
    words, _ = commands[name]
    (tmp_path / "place").symlink_to(tmp_path / "nowhere")
    assert str(tmp_path / "place") in refused(*words)
    assert not (tmp_path / "nowhere").exists()
