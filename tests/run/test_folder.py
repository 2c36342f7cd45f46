"""The run folder: its mark, its lock, and that nothing of others is touched."""

import errno
import fcntl
import json
import os
import shutil

import pytest

from ifguide.errors import InputError
from ifguide.run import folder
from ifguide.run.folder import CHECKSUMS, CONFIG, MARK, RunFolder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run"


def claimed(root):
    return RunFolder.claim(root)


def hashes(place):
    """What lies in a folder: the bytes of its files, where its links lead, its folders."""
    return {
        str(file.relative_to(place)): os.readlink(file)
        if file.is_symlink()
        else file.read_bytes()
        if file.is_file()
        else None
        for file in sorted(place.rglob("*"))
    }


# the mark


def test_a_claimed_folder_bears_a_mark_and_can_be_looked_at(root):
    claimed(root).close()
    mark = json.loads((root / MARK).read_text())
    assert mark.keys() == {"format", "id", "made_by", "wrote"}
    RunFolder.open(root).close()
    claimed(root).close()
    assert json.loads((root / MARK).read_text()) == mark


def test_two_folders_have_two_ids(root, tmp_path):
    for place in (root, tmp_path / "other"):
        claimed(place).close()
    ids = {json.loads((p / MARK).read_text())["id"] for p in (root, tmp_path / "other")}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "name", ["notes.txt", CONFIG, ".lock", "report.json", "data/manifest.json", "corpus/", ".git/"]
)
def test_a_folder_without_a_mark_that_holds_anything_is_refused(root, name):
    place = root / name
    place.parent.mkdir(parents=True)
    place.mkdir() if name.endswith("/") else place.write_text("mine")
    before = hashes(root)
    with pytest.raises(InputError, match="not empty and not a run folder; give"):
        claimed(root)
    with pytest.raises(InputError, match="it is no run folder"):
        RunFolder.open(root)
    assert hashes(root) == before


@pytest.mark.parametrize("left", [[], [f".{MARK}.0a.ifguide-tmp"], [".ifguide-lock"]])
def test_an_empty_folder_and_one_left_by_a_kill_can_be_claimed(root, left):
    root.mkdir()
    for name in left:
        (root / name).touch()
    claimed(root).close()
    assert {file.name for file in root.iterdir()} <= {MARK, ".ifguide-lock"}


MARKS = {
    "not JSON": "{",
    "empty": "",
    "another file": '{"a": 1}',
    "a list": "[]",
    "another format": '{"format": 9, "id": "a", "made_by": "9.0", "wrote": []}',
    "no names": '{"format": 2, "id": "a", "made_by": "9.0", "wrote": 3}',
    "a name above": '{"format": 2, "id": "a", "made_by": "9.0", "wrote": ["../keep"]}',
    "a whole name": '{"format": 2, "id": "a", "made_by": "9.0", "wrote": ["/keep"]}',
    "a number": '{"format": 2, "id": "a", "made_by": "9.0", "wrote": [3]}',
}


@pytest.mark.parametrize("kind", MARKS)
def test_a_mark_that_is_none_is_one_line_and_nothing_is_touched(root, kind):
    root.mkdir()
    (root / MARK).write_text(MARKS[kind])
    before = hashes(root)
    for use in (claimed, RunFolder.open):
        with pytest.raises(InputError, match=r"run|cannot be read") as error:
            use(root)
        assert "\n" not in str(error.value)
    assert hashes(root) == before


def test_a_mark_that_is_a_link_is_none(root, tmp_path):
    root.mkdir()
    claimed(tmp_path / "other").close()
    (root / MARK).symlink_to(tmp_path / "other" / MARK)
    before = hashes(tmp_path)
    with pytest.raises(InputError, match="not a run folder"):
        claimed(root)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_in_the_way_is_named(tmp_path, inside):
    file = tmp_path / "taken"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"taken.*: it is no folder; give --out a folder"):
        claimed(file / "run" if inside else file)
    assert file.read_text() == "mine"


def test_a_folder_that_is_reached_by_a_link_is_a_folder(root, tmp_path):
    (tmp_path / "real").mkdir()
    root.symlink_to(tmp_path / "real")
    claimed(root).close()
    assert (tmp_path / "real" / MARK).is_file()


# the lock


def test_the_second_who_claims_is_refused_and_the_next_is_not(root):
    first = claimed(root)
    with pytest.raises(InputError, match="another process is working in this folder; wait for it"):
        claimed(root)
    RunFolder.open(root).close()  # whoever looks need not wait
    first.close()
    claimed(root).close()


@pytest.mark.parametrize("delete", ["each file", "the mark", "everything"])
def test_the_lock_survives_whatever_is_deleted(root, delete):
    first = claimed(root)
    first.output(CONFIG, "a: 1\n")
    (root / "stage").mkdir()
    (root / "stage" / "file").touch()
    for file in [MARK] if delete == "the mark" else ["stage/file", CONFIG, MARK]:
        (root / file).unlink()
    if delete == "everything":
        (root / "stage").rmdir()
    with pytest.raises(InputError, match=r"another process|not a run folder"):
        claimed(root)
    first.close()
    assert not (root / CHECKSUMS).exists(), "nothing is written where the mark is gone"


def test_a_folder_that_was_renamed_while_it_is_claimed_is_claimed_still(root):
    first = claimed(root)
    moved = root.rename(root.with_name("moved"))
    with pytest.raises(InputError, match="another process"):
        claimed(moved)
    first.close()


def test_a_refusal_leaves_no_lock(root):
    claimed(root).close()
    whole = (root / MARK).read_text()
    (root / MARK).write_text("{")
    with pytest.raises(InputError):
        claimed(root)
    (root / MARK).write_text(whole)
    claimed(root).close()


@pytest.fixture
def no_locks_on_folders(monkeypatch):
    """As on NFS, where what is locked must be open for writing."""
    lock = fcntl.flock

    def flock(handle, how):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(handle, how)

    monkeypatch.setattr(folder.fcntl, "flock", flock)


@pytest.mark.usefixtures("no_locks_on_folders")
def test_where_folders_cannot_be_locked_a_file_is(root):
    first = claimed(root)
    first.output(CONFIG, "a: 1\n")  # the mark is written anew
    with pytest.raises(InputError, match="another process"):
        claimed(root)
    first.close()
    claimed(root).close()


@pytest.mark.usefixtures("no_locks_on_folders")
@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_lock_that_is_no_plain_file_is_refused(root, tmp_path, kind):
    root.mkdir()
    place = root / ".ifguide-lock"
    place.mkdir() if kind == "folder" else place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="it is no plain file, and ifguide locks it"):
        claimed(root)
    assert not (tmp_path / "elsewhere").exists()


# what is written beside the stages


def test_an_output_is_written_again_by_who_wrote_it(root):
    for text in ("a: 1\n", "a: 2\n"):
        claim = claimed(root)
        claim.output("compare/table.json", text)
        claim.close()
    assert (root / "compare/table.json").read_text() == "a: 2\n"


@pytest.mark.parametrize("kind", ["file", "link", "link to nothing", "folder", "link above"])
@pytest.mark.parametrize("ours", [False, True])
def test_an_output_never_writes_over_or_through_what_is_not_ours(root, tmp_path, kind, ours):
    """Also where a file of ours was replaced by something else."""
    claim, place, theirs = claimed(root), root / "compare/table.json", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "table.json").write_text("mine")
    if ours:
        claim.output("compare/table.json", "ours")
        shutil.rmtree(root / "compare")
    if kind != "link above":
        place.parent.mkdir()
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        place.symlink_to(theirs / "table.json")
    elif kind == "link to nothing":
        place.symlink_to(theirs / "nothing")
    elif kind == "folder":
        place.mkdir()
    else:
        place.parent.symlink_to(theirs)
    before = hashes(tmp_path)
    if not (ours and kind == "file"):  # which cannot be told from ours
        with pytest.raises(InputError, match="move it away"):
            claim.output("compare/table.json", "ours")
        assert hashes(tmp_path) == before
    claim.close()


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_the_memory_of_checksums_is_refused_where_it_is_no_plain_file(root, tmp_path, kind):
    claimed(root).close()
    place = root / CHECKSUMS
    place.mkdir() if kind == "folder" else place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="it is no plain file, and ifguide writes there"):
        claimed(root)
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_kill_left_half_written_is_dropped_and_nothing_else(root):
    claim = claimed(root)
    claim.output("compare/table.json", "ours")
    claim.close()
    (root / "notes").mkdir()
    half = [root / f".{CONFIG}.0a.ifguide-tmp", root / "compare/.table.json.0a.ifguide-tmp"]
    theirs = [root / "notes/.a.ifguide-tmp", root / ".notes.tmp"]
    for file in (*half, *theirs):
        file.write_text("half")
    claimed(root).close()
    assert not any(file.exists() for file in half)
    assert all(file.exists() for file in theirs)
