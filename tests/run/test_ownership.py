"""What somebody else has put into a run folder stays as it is, wherever and whatever happens."""

import os

import pytest
from toys import KilledError, Shards, killed, made, scored, scores_of

from ifguide.errors import InputError

OTHER = {"selection__budget": 0.2}
FOLDERS = ("", "score", "score.part", "score.part/scratch", "score.part/scratch/checkpoint-1")
NAMES = ("notes.txt", "Makefile", ".hidden", "scores.npy.bak", "more/manifest.json")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def interrupted(root):
    """A folder with a stage that is whole, and one that was begun under other settings."""
    made(root, Shards(value=1.0))
    with pytest.raises(KilledError):
        made(root, killed(4, value=2.0), replace=True, changes=OTHER)
    return root


AGAIN = {
    "the old settings": {},
    "resumed": {"replace": True, "changes": OTHER},
    "settings of a third kind": {"replace": True, "changes": {"selection__budget": 0.3}},
    "a new version": {"replace": True, "version": 2},
}


@pytest.mark.parametrize("again", AGAIN)
def test_notes_survive_a_remaking_and_a_resumption_and_are_named(interrupted, again, caplog):
    notes = {}
    for folder in FOLDERS:
        for name in NAMES:
            file = interrupted / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"mine, {folder}")
            notes[file] = file.read_bytes(), file.stat().st_mtime_ns
    folder = made(interrupted, Shards(value=2.0), **AGAIN[again])
    (folder / "scores-000000000.npy").unlink()
    made(interrupted, Shards(value=2.0), **AGAIN[again])  # and a mending
    found = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in notes}
    assert found == notes
    assert scores_of(folder).shape == (8, 3)
    assert set(os.listdir(folder)) >= {"manifest.json", "notes.txt", "more"}
    left = {
        str(file)
        for file in notes
        if file.is_relative_to(folder)
        or (again != "the old settings" and file.is_relative_to(interrupted / "score.part"))
    }
    named = {r.getMessage().partition(": left as it is")[0] for r in caplog.records}
    assert left <= named


def test_a_folder_of_somebody_s_where_a_stage_goes_is_kept(root):
    made(root, Shards(), name="other")
    (root / "score").mkdir()
    (root / "score" / "notes.txt").write_text("mine")
    folder = made(root, Shards())
    assert (folder / "notes.txt").read_text() == "mine"
    assert (scores_of(folder) == 1).all()
    unused = Shards()
    made(root, unused)
    assert not unused.made


def test_a_file_under_a_name_that_a_stage_needs_is_named_before_it_is_made(root):
    made(root, Shards(), name="other")
    (root / "score").mkdir()
    (root / "score" / "scores-000000004.npy").write_text("mine")
    unused = Shards()
    with pytest.raises(InputError, match=r"scores-000000004\.npy: ifguide did not write it"):
        made(root, unused)
    assert not unused.made
    assert (root / "score" / "scores-000000004.npy").read_text() == "mine"


LINKS = (
    "score",
    "score.part",
    "score/manifest.json",
    "score/scores-000000002.npy",
    "score/mask",
    "score.part/manifest.json",
    "score.part/made-for.json",
    "score.part/cost.json",
    "score.part/journal-0.jsonl",
    "score.part/scores-000000004.npy",
    "score.part/mask",
    "score.part/scratch",
    "score.part/scratch/checkpoint-1",
    "score.part/scratch/checkpoint-1/complete",
)


def hashes(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Masked(Shards):
    """Shards, and a mask in a folder of its own."""

    def __call__(self, work, settings):
        super().__call__(work, settings)
        (work.path / "mask").mkdir(exist_ok=True)
        (work.path / "mask" / "state.json").write_text("{}")


@pytest.mark.parametrize("target", ["a folder", "a file", "nothing"])
@pytest.mark.parametrize("place", LINKS)
@pytest.mark.parametrize("again", AGAIN)
def test_no_link_is_ever_written_through(interrupted, tmp_path, place, target, again):
    theirs = tmp_path / "theirs"
    (theirs / "mask").mkdir(parents=True)
    for name in ("state.json", "complete", "manifest.json", "scores-000000002.npy", "file"):
        (theirs / name).write_text("mine")
    link = interrupted / place
    if link.exists():
        link.rename(tmp_path / "before")
    link.symlink_to(theirs / {"a folder": "", "a file": "file", "nothing": "none"}[target])
    before = hashes(theirs)
    files = ("scores-*.npy", "mask/state.json")
    try:
        made(interrupted, Masked(value=2.0), files=files, **AGAIN[again])
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert str(link) in str(error)  # noqa: PT017
    assert hashes(theirs) == before
    assert not (theirs / "none").exists()
    assert link.is_symlink(), "the link itself is somebody's"


@pytest.mark.parametrize("place", ["score/manifest.json", "score.part/cost.json"])
def test_a_folder_in_the_place_of_a_file_is_one_line(interrupted, place):
    (interrupted / place).unlink()
    (interrupted / place).mkdir()
    with pytest.raises(InputError) as error:
        made(interrupted, Shards(value=2.0), replace=True, changes=OTHER)
    assert place in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stage_s_patterns_reach_into_no_folder_of_somebody_s(root):
    made(root, Shards())
    (root / "score/more").mkdir()
    (root / "score/more/scores-000000000.npy").write_text("mine")
    made(root, Shards(value=2.0), replace=True, changes=OTHER)
    assert (root / "score/more/scores-000000000.npy").read_text() == "mine"
    assert scored(Shards()).files == ("scores-*.npy",)


@pytest.mark.parametrize("again", AGAIN)
def test_empty_folders_of_somebody_s_stay(interrupted, again):
    """In a stage, in what was begun of it, and in where its checkpoints lie."""
    empty = [interrupted / folder / "empty" / "within" for folder in FOLDERS[1:]]
    for folder in empty:
        folder.mkdir(parents=True)
    folder = made(interrupted, Shards(value=2.0), **AGAIN[again])
    (folder / "scores-000000000.npy").unlink()
    made(interrupted, Shards(value=2.0), **AGAIN[again])  # and a mending
    assert [folder for folder in empty if not folder.is_dir()] == []
    assert not (folder / "scratch/checkpoint-1").exists()


def test_folders_that_a_stage_has_emptied_are_removed(interrupted):
    made(interrupted, Shards(value=2.0), replace=True, changes=OTHER)
    assert sorted(os.listdir(interrupted / "score")) == [
        "manifest.json",
        *(f"scores-{number:09d}.npy" for number in (0, 2, 4, 6)),
    ]
    assert not (interrupted / "score.part").exists()


@pytest.mark.parametrize("again", AGAIN)
def test_a_file_in_a_part_that_only_has_a_name_of_ours_is_left_and_named(interrupted, again):
    theirs = interrupted / "score.part/scores-000000006.npy"
    theirs.write_text("mine")
    before = hashes(interrupted / "score.part")
    if again == "the old settings":  # the finished stage stands, and nothing is made
        made(interrupted, Shards(value=2.0), **AGAIN[again])
        assert theirs.read_text() == "mine"
        return
    with pytest.raises(InputError, match=r"scores-000000006\.npy: nothing tells") as error:
        made(interrupted, Shards(value=2.0), **AGAIN[again])
    assert "\n" not in str(error.value)
    assert hashes(interrupted / "score.part") == before
    theirs.unlink()
    made(interrupted, Shards(value=2.0), **AGAIN[again])
