"""Nothing is deleted or written over that ifguide did not write, whatever the command."""

import hashlib
import json
import os
import shutil

import pytest
from foreign import FOREIGN, Place, commands, lay, link, lost, put_notes, snapshot

from ifguide.commands.main import COMMANDS, main
from ifguide.run.store import StageFolder


@pytest.fixture
def beside(tmp_path):
    """What lies beside the folder that is meant, and where links lead."""
    folder = tmp_path / "beside"
    lay(folder, {"keep.txt": "mine\n", "data/corpus/keep.txt": "mine\n"})
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def left_alone(micro_config, capfd):
    """Gives every command on a place, and holds what is theirs against what it was."""

    def check(place, only=None):
        outside = snapshot(place.beside)
        codes = {}
        for given in commands(micro_config, place.folder, place.beside.parent):
            if only is not None and given[0] not in only:
                continue
            code = main([*given, "--quiet"])
            shown = capfd.readouterr()
            said = f"{given}: {shown.err}"
            assert code in (0, 2), said
            if code == 2:
                assert shown.out == "", said
                assert shown.err.startswith("ifguide: error: "), said
                assert shown.err.count("\n") == 1, said
            assert lost(place.theirs, snapshot(place.folder)) == [], said
            assert snapshot(place.beside) == outside, said
            codes.setdefault(given[0], set()).add(code)
        return codes

    return check


def test_every_command_is_given(tmp_path):
    given = {words[0] for words in commands(tmp_path, tmp_path, tmp_path)}
    assert given == {command.name for command in COMMANDS}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_folders_of_somebody_else(files, tmp_path, beside, left_alone):
    folder = tmp_path / "folder"
    lay(folder, files)
    (folder / "link").symlink_to(beside)
    before = snapshot(folder)
    codes = left_alone(Place(folder, beside, before))
    assert codes.pop("schema") == {0}
    assert set().union(*codes.values()) == {2}
    assert snapshot(folder).keys() == before.keys()


@pytest.mark.parametrize("files", [{}, {".train.0a1b2c3d.ifguide-tmp": "half"}], ids=len)
def test_folders_that_are_free(files, tmp_path, beside, left_alone):
    folder = tmp_path / "folder"
    folder.mkdir()
    lay(folder, files)
    codes = left_alone(Place(folder, beside, snapshot(folder)))
    assert codes["run"] == {0}


def test_a_finished_run_with_notes_in_every_folder(copied, beside, left_alone):
    ours = snapshot(copied)
    put_notes(copied)
    theirs = {name: seen for name, seen in snapshot(copied).items() if name not in ours}
    codes = left_alone(Place(copied, beside, theirs))
    assert codes["run"] == codes["compare"] == codes["report"] == {0}


CHANGES = {  # by stage: what makes it again
    "corpus": ["--corpus.block_length", "48"],
    "score": ["--scores.batch_tokens", "512"],
    "train": ["--training.learning_rate", "0.0009"],
    "sample/baseline": ["--evaluation.sampling.tokens", "3"],
}


@pytest.fixture
def stopped(copied, micro_config, monkeypatch):
    """Makes a stage of a finished run again, up to where only its manifest is missing."""

    def stop(stage):
        finish = StageFolder.finish

        def dies(place, *rest):
            if place.name == stage:
                raise KeyboardInterrupt
            finish(place, *rest)

        given = ["run", str(micro_config), "--out", str(copied), "--quiet", "--replace"]
        with monkeypatch.context() as patched:
            patched.setattr(StageFolder, "finish", dies)
            assert main([*given, *CHANGES[stage]]) == 130
        assert (copied / f"{stage}.part").is_dir()
        return copied

    return stop


@pytest.mark.parametrize("stage", CHANGES)
def test_a_run_that_died_with_notes_in_every_folder(stage, stopped, beside, left_alone, capfd):
    run = stopped(stage)
    assert capfd.readouterr().err.startswith("ifguide: interrupted")
    ours = snapshot(run)
    put_notes(run)
    theirs = {name: seen for name, seen in snapshot(run).items() if name not in ours}
    assert any(name.startswith(f"{stage}.part/") for name in theirs)
    codes = left_alone(Place(run, beside, theirs))
    assert 0 in codes["report"]


LINKS = (
    *("config.yaml", "report.json", "report.html", "ifguide-run.json", ".ifguide-checksums.json"),
    *("train", "train/manifest.json", "train/model.safetensors", "select/mask"),
    *("select/mask/state.json", "corpus/blocks", "sample", "sample/baseline", "score.part"),
    *("train.part", "train.part/scratch", "train.part/journal-0.jsonl", "train.part/made-for.json"),
    *("train.part/cost.json", "train.part/manifest.json", "train.part/model.safetensors"),
    *("train.part/scratch/training", "train.part/scratch/checkpoint-1", "select.part/mask"),
    *("corpus.part/tokenizer", "sample/suppressed.part", "compare", "compare/table.json"),
    *("sweep", "attacks", "attacks/attacks.md", "attacks/lens.svg", "attack"),
    *("attack/lens-baseline.part", "pair", "pair.part", "pair.part/plus", "model", "human_text"),
)
WRITERS = {"status", "run", "train", "report", "attack", "export-pair", "compare", "sweep"}


@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
@pytest.mark.parametrize("name", LINKS)
def test_links_in_every_place(name, dangling, copied, beside, left_alone):
    ours = snapshot(copied)
    link(copied / name, beside, dangling=dangling)
    theirs = {place: seen for place, seen in snapshot(copied).items() if seen != ours.get(place)}
    assert theirs
    left_alone(Place(copied, beside, theirs), WRITERS)


def manifest_names(name, run, beside):
    """A name for a file of somebody else's, as a hostile manifest would list it."""
    if name == "link":
        (run / "train" / "link").symlink_to(beside)
        return "link/keep.txt", beside / "keep.txt"
    file = {
        "parent": run / "train/../../keep.txt",
        "inner parent": run / "train/x/../../../keep.txt",
        "absolute": beside / "keep.txt",
        "beside the stage": run / "train/../keep.txt",
        "a user's own": run / "train/notes.txt",
        "deeper": run / "train/my/own/notes.txt",
    }[name]
    lay(file.parent, {file.name: "mine\n"}) if name != "inner parent" else None
    if name == "inner parent":
        lay(run.parent, {"keep.txt": "mine\n"})
    return (str(file) if name == "absolute" else os.path.relpath(file, run / "train")), file


NAMES = ("parent", "absolute", "beside the stage", "a user's own", "deeper", "link")


@pytest.mark.parametrize("where", ["train", "train.part"])
@pytest.mark.parametrize("name", NAMES)
def test_manifests_that_list_what_is_not_theirs(name, where, copied, beside, left_alone):
    ours = snapshot(copied)
    listed, file = manifest_names(name, copied, beside)
    manifest = copied / "train" / "manifest.json"
    held = json.loads(manifest.read_text())
    content = file.read_bytes()
    seen = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    held["files"][listed] = seen
    manifest.write_text(json.dumps(held))
    if where == "train":
        (copied / "train" / "generation_config.json").unlink()  # so that it is made again
    else:
        (copied / "train").rename(copied / "train.part")
    theirs = {
        k: v
        for k, v in snapshot(copied).items()
        if (k not in ours and "keep" in k) or "notes" in k or "link" in k
    }
    left_alone(Place(copied, beside, theirs), WRITERS)
    assert file.read_bytes() == b"mine\n"
