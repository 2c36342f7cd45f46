"""Nothing is deleted or written over that ifguide did not write, whatever the command."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest
from foreign import FOREIGN, Place, commands, lay, link, lost, put_notes, snapshot

from ifguide.commands.main import COMMANDS, main
from ifguide.files import write_sealed
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
    codes = left_alone(Place(folder, beside, {}))
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


LINKS = {  # by the command that would write there, or rely on it
    "train": (
        *("config.yaml", "ifguide-run.json", ".ifguide-checksums.json", "train", "train.part"),
        *("train/manifest.json", "train/model.safetensors", "train.part/scratch"),
        *("train.part/journal-0.jsonl", "train.part/made-for.json", "train.part/cost.json"),
        *("train.part/manifest.json", "train.part/model.safetensors", "corpus/blocks"),
        *("train.part/scratch/training", "train.part/scratch/checkpoint-1"),
    ),
    "report": ("report.json", "report.html", "sample", "sample/suppressed", "report.part"),
    "select": ("select.part/mask", "select/mask", "select/mask/state.json", "select.part/mask/x"),
    "sweep": ("sweep", "sweep/table.json", "sweep/index.html", "model"),
    "attack": ("attack", "attacks", "attacks/attacks.md", "attack/lens-baseline.part"),
    "export-pair": ("pair", "pair.part", "pair.part/plus", "pair.part/plus/config.json"),
}


@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in LINKS.items() for name in names]
)
def test_links_in_every_place(command, name, dangling, copied, beside, left_alone):
    ours = snapshot(copied)
    link(copied / name, beside, dangling=dangling)
    theirs = {place: seen for place, seen in snapshot(copied).items() if seen != ours.get(place)}
    assert theirs
    left_alone(Place(copied, beside, theirs), {command})


LISTED = {  # by how a hostile manifest lists it: a file of somebody else's
    "../../keep.txt": "../keep.txt",
    "../keep.txt": "keep.txt",
    "/keep.txt": "../beside/keep.txt",
    "notes.txt": "WHERE/notes.txt",
    "my/own/notes.txt": "WHERE/my/own/notes.txt",
    "link/keep.txt": "../beside/keep.txt",
}


@pytest.mark.parametrize("where", ["train", "train.part"])
@pytest.mark.parametrize("listed", LISTED)
def test_manifests_that_list_what_is_not_theirs(listed, where, copied, beside, left_alone):
    if where == "train.part":
        (copied / "train").rename(copied / where)
    else:
        (copied / where / "generation_config.json").unlink()  # so that it is made again
    ours = snapshot(copied)
    file = copied / LISTED[listed].replace("WHERE", where)
    lay(file.parent, {file.name: "mine\n"})
    (copied / where / "link").symlink_to(beside)
    manifest = copied / where / "manifest.json"
    held = json.loads(manifest.read_text(encoding="utf-8"))
    seen = {"bytes": 5, "sha256": hashlib.sha256(b"mine\n").hexdigest()}
    held["files"][str(file.resolve()) if listed.startswith("/") else listed] = seen
    held.pop("seal")
    write_sealed(manifest, held)
    theirs = {name: seen for name, seen in snapshot(copied).items() if name not in ours}
    left_alone(Place(copied, beside, theirs), {"status", "train"})
    assert file.read_text(encoding="utf-8") == "mine\n"


@pytest.fixture
def theirs(tmp_path):
    """Somebody's folder, with a link for everything that ifguide might write there."""
    outside, folder = tmp_path / "outside", tmp_path / "theirs"
    names = ("README.md", "pair.json", "tokens.npy", "attacks.json", "attacks.md", "lens.svg")
    lay(outside, dict.fromkeys(names, "mine\n"))
    lay(folder, {"notes.txt": "mine\n", "plus/notes.txt": "mine\n"})
    for name in names:
        (folder / name).symlink_to(outside / name)
    return folder


OUTPUTS = {"export-pair": "--to", "attack": "--out"}
OUTPUTS_LINKED = {"export-pair": 2, "attack": 0}  # refused; links are replaced by files


@pytest.fixture
def writing(copied, micro_config):
    """Gives a command that writes outside the run folder."""

    def give(command, place, *rest):
        run = {
            "export-pair": [str(micro_config), "--out", str(copied)],
            "attack": [str(copied), "--kind", "lens"],
        }[command]
        return [command, *run, OUTPUTS[command], str(place), "--quiet", *rest]

    return give


@pytest.mark.parametrize("command", OUTPUTS)
def test_outputs_outside_the_run_write_over_nothing_unasked(command, writing, theirs, refused):
    before = snapshot(theirs.parent)
    assert "it is there already; give" in refused(*writing(command, theirs))
    assert lost(before, snapshot(theirs.parent)) == []


@pytest.mark.parametrize("command", OUTPUTS)
def test_outputs_outside_the_run_follow_no_links(command, writing, theirs):
    before = snapshot(theirs.parent / "outside")
    assert main(writing(command, theirs, "--replace")) == OUTPUTS_LINKED[command]
    assert snapshot(theirs.parent / "outside") == before
    assert snapshot(theirs)["notes.txt"] == snapshot(theirs)["plus/notes.txt"]


def test_a_pair_is_not_copied_through_a_linked_folder(writing, theirs, refused):
    outside = theirs.parent / "outside"
    for file in theirs.glob("*"):
        if file.is_symlink():
            file.unlink()
    (theirs / "minus").symlink_to(outside)
    before = snapshot(theirs), snapshot(outside)
    line = refused(*writing("export-pair", theirs, "--replace"))
    assert line == f"{theirs}/minus: it is a link, and nothing is written through it; move it away"
    assert (snapshot(theirs), snapshot(outside)) == before


def test_a_pair_is_copied_without_a_users_notes(writing, copied, tmp_path):
    assert main(writing("export-pair", tmp_path / "first")) == 0
    put_notes(copied / "pair")
    assert main(writing("export-pair", tmp_path / "second")) == 0
    assert snapshot(tmp_path / "second") == snapshot(tmp_path / "first")


@pytest.mark.parametrize("command", OUTPUTS)
@pytest.mark.parametrize("kind", ["file", "file/inside", "dangling"])
def test_outputs_that_can_be_no_folder(kind, command, writing, refused, tmp_path):
    (tmp_path / "file").write_text("mine\n")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    line = refused(*writing(command, tmp_path / kind, "--replace"))
    place = tmp_path / kind.partition("/")[0]
    assert line == f"{place}: it is no folder; give {OUTPUTS[command]} a folder"
    assert (tmp_path / "file").read_text() == "mine\n"
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def read_only(copied):
    """A finished run that nobody may write to."""
    command = ["mount", "--bind", "-o", "ro", str(copied), str(copied)]
    if os.geteuid() == 0:
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a folder can only be mounted read-only by root")
        subprocess.run(["mount", "-o", "remount,bind,ro", str(copied)], check=True)
        yield copied
        subprocess.run(["umount", "--lazy", str(copied)], check=True)
    else:
        for place in [copied, *copied.rglob("*")]:
            place.chmod(0o555 if place.is_dir() else 0o444)
        yield copied
        for place in [copied, *copied.rglob("*")]:
            place.chmod(0o755)


def test_a_folder_that_nobody_may_write_to(read_only, beside, left_alone):
    codes = left_alone(Place(read_only, beside, snapshot(read_only)))
    assert codes["status"] == codes["inspect"] == {0}
    assert codes["compare"] == {2}


FILES = ("train", "train.part", "corpus.part", "sample", "attack", "attacks", "compare", "pair")


def test_files_where_folders_are_meant(copied, beside, left_alone):
    for name in FILES:
        shutil.rmtree(copied / name, ignore_errors=True)
        (copied / name).write_text("mine\n", encoding="utf-8")
    theirs = {name: seen for name, seen in snapshot(copied).items() if name in FILES}
    left_alone(Place(copied, beside, theirs))


def test_folders_where_files_are_meant(copied, beside, left_alone):
    for name in ("train", "train.part", "pair.part", "select.part"):
        for file in ("model.safetensors", "made-for.json", "journal-0.jsonl", "README.md"):
            place = copied / name / file
            place.unlink(missing_ok=True)
            lay(place, {"notes.txt": "mine\n"})
    theirs = {name: seen for name, seen in snapshot(copied).items() if "notes" in name}
    left_alone(Place(copied, beside, theirs))


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_file_where_the_run_folder_is_meant(name, tmp_path, beside, left_alone):
    lay(tmp_path / "folder", {"file": "mine\n"})
    place = Place(tmp_path / "folder" / name, beside, {})
    codes = left_alone(place)
    assert set().union(*(codes[name] for name in codes if name != "schema")) == {2}
    assert snapshot(tmp_path / "folder").keys() == {"file"}
    assert (tmp_path / "folder" / "file").read_text() == "mine\n"
