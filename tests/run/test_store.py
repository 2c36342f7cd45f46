"""A stage's folder: what is reused, what is made again, and what survives."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from safetensors import SafetensorError
from toys import KilledError, Shards, config, killed, made, scored, scores_of

from ifguide.errors import InputError
from ifguide.files import read_json, write_json, write_sealed
from ifguide.run import store
from ifguide.run.run import opened

SHARDS = [f"scores-{n:09d}.npy" for n in (0, 2, 4, 6)]
OTHER = {"selection__budget": 0.2}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run"


def one_line(error):
    return "\n" not in str(error.value)


# reuse


def test_a_stage_is_made_once(root):
    work = Shards()
    stage = scored(work)
    with opened(config(), root, quiet=True) as run:
        for _ in range(2):
            assert run.path(stage) == root / "score"
            assert (run(stage) == 1).all()
    assert work.made == [0, 2, 4, 6]
    assert sorted(file.name for file in (root / "score").iterdir()) == ["manifest.json", *SHARDS]
    assert made(root, work) == root / "score"
    assert work.made == [0, 2, 4, 6]


def test_the_manifest_says_what_went_in_and_what_came_out(root):
    manifest = read_json(made(root, Shards()) / "manifest.json")
    assert manifest["stage"] == "score"
    assert manifest["about"] == "four shards"
    assert manifest["settings"]["budget"] == 0.02
    assert manifest["section"] == "selection"
    assert manifest["versions"].keys() == {"ifguide", "torch", "transformers", "numpy"}
    assert manifest["version"] == 1
    assert manifest["cost"].keys() == {"seconds", "tokens", "peak_rss_bytes"}
    assert list(manifest["files"]) == SHARDS
    assert manifest["files"]["scores-000000004.npy"]["bytes"] == 128 + 2 * 3 * 4


@pytest.mark.parametrize("other", [{"changes": OTHER}, {"version": 2}])
def test_other_settings_or_another_version_make_the_stage_again(root, other):
    made(root, Shards(value=1.0))
    folder = made(root, Shards(value=2.0), replace=True, **other)
    assert (scores_of(folder) == 2).all()
    unused = Shards()
    made(root, unused, **other)
    assert not unused.made


def test_the_data_may_move(root):
    made(root, Shards())
    unused = Shards()
    made(root, unused, changes={"data_dir": "/elsewhere"})
    assert not unused.made


def test_settings_that_the_stage_is_not_given_change_nothing(root):
    made(root, Shards())
    unused = Shards()
    made(root, unused, changes={"seed": 4, "training__epochs": 1.0})
    assert not unused.made


# damage


def lose(file):
    file.unlink()


def shorten(file):
    os.truncate(file, 100)


def alter(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def link(file):
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


@pytest.mark.parametrize("damage", [lose, shorten, alter])
def test_only_what_is_damaged_is_made_again(root, damage):
    folder = made(root, Shards())
    untouched = (folder / SHARDS[2]).stat().st_mtime_ns
    damage(folder / SHARDS[1])
    again = Shards()
    made(root, again)
    assert again.made == [2]
    assert (scores_of(folder) == 1).all()
    assert (folder / SHARDS[2]).stat().st_mtime_ns == untouched
    assert read_json(folder / "manifest.json")["cost"]["tokens"] == 5 * 6  # mending costs too


def test_a_shard_that_nothing_tells_of_is_left_and_named(root):
    """It may be somebody's: a shard of ours is told of before it has its name."""
    with pytest.raises(KilledError):
        made(root, killed(4))
    part = root / "score.part"
    journal = part / "journal-0.jsonl"
    journal.write_text(journal.read_text().splitlines()[0] + '\n{"file": "scores-00')
    shard, again = (part / SHARDS[1]).read_bytes(), Shards()
    with pytest.raises(InputError, match=f"{SHARDS[1]}: nothing tells .* move it away") as error:
        made(root, again)
    assert one_line(error)
    assert not again.made
    assert (part / SHARDS[1]).read_bytes() == shard
    (part / SHARDS[1]).unlink()
    made(root, again)
    assert again.made == [2, 4, 6]


@pytest.mark.parametrize("damage", [shorten, alter])
def test_a_shard_that_was_altered_is_made_again(root, damage):
    with pytest.raises(KilledError):
        made(root, killed(4))
    damage(root / "score.part" / SHARDS[1])
    again = Shards()
    folder = made(root, again)
    assert again.made == [2, 4, 6]
    assert (scores_of(folder) == 1).all()


# manifests


def spoilt(folder, **changes):
    manifest = read_json(folder / "manifest.json")
    manifest.pop("seal")
    write_sealed(folder / "manifest.json", {**manifest, **changes})


@pytest.mark.parametrize(
    "content", ["", '{"fingerprint": "ab', "[]", "{}", "[" * 99999, '{"format": 2, "files": {}}']
)
def test_a_broken_manifest_is_named(root, content):
    folder = made(root, Shards())
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"score/manifest\.json: .*delete .* and run") as error:
        made(root, Shards())
    assert one_line(error)
    shutil.rmtree(folder)
    again = Shards()
    made(root, again)
    assert again.made == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"format": "2"},
        {"files": []},
        {"files": {"a": 3}},
        {"files": {"a": {"bytes": "3", "sha256": "ab"}}},
        {"cost": {"seconds": 1}},
        {"needs": None},
        {"reads": []},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_manifest_of_another_form_is_one_line(root, changes):
    folder = made(root, Shards())
    spoilt(folder, **changes)
    with pytest.raises(InputError, match=r"score/manifest\.json: .*delete .* and run") as error:
        made(root, Shards())
    assert one_line(error)
    assert [file.name for file in sorted(folder.glob("*.npy"))] == SHARDS


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("kind", ["above", "absolute", "beside", "link"])
def test_a_manifest_deletes_and_moves_nothing_but_the_stage_s_files(root, tmp_path, kind, replace):
    """Whatever a manifest lists as its own, and however the stage comes to be made again."""
    folder = made(root, Shards())
    keep = {
        "above": tmp_path / "keep.txt",
        "absolute": tmp_path / "keep.txt",
        "beside": folder / "keep.txt",
        "link": tmp_path / "theirs" / "keep.txt",
    }[kind]
    keep.parent.mkdir(exist_ok=True)
    keep.write_text("mine")
    if kind == "link":
        (folder / "scores-of-mine").symlink_to(keep.parent)
    name = {
        "above": "../../keep.txt",
        "absolute": str(keep),
        "beside": "keep.txt",
        "link": "scores-of-mine/keep.txt",
    }[kind]
    files = read_json(folder / "manifest.json")["files"]
    of_keep = {"bytes": 4, "sha256": store.Checksums(root, None).of(keep)}
    spoilt(folder, files={**files, name: of_keep})
    alter(folder / SHARDS[0])
    refusal = pytest.raises(InputError, match="names what is no file of its folder")
    with refusal if kind in ("above", "absolute") else nullcontext():
        made(root, Shards(value=2.0), replace=replace, changes=OTHER if replace else None)
    assert keep.read_text() == "mine"
    assert not keep.is_symlink()


def test_a_manifest_that_is_a_link_is_none_of_ours(root, tmp_path):
    folder = made(root, Shards())
    moved = (folder / "manifest.json").rename(tmp_path / "manifest.json")
    (folder / "manifest.json").symlink_to(moved)
    with pytest.raises(InputError, match="it is a link, and no manifest of ours; remove it"):
        made(root, Shards())
    assert moved.is_file()


# interruption


def test_an_interrupted_stage_goes_on(root):
    first, second = killed(4), Shards()
    with pytest.raises(KilledError):
        made(root, first)
    assert not (root / "score").exists()
    assert (root / "score.part/scratch/checkpoint-1/complete").exists()
    folder = made(root, second)
    assert (first.made, second.made) == ([0, 2], [4, 6])
    assert not (root / "score.part").exists()
    assert not (folder / "scratch").exists()


def test_what_other_settings_began_is_dropped(root):
    with pytest.raises(KilledError):
        made(root, killed(4, value=1.0))
    second = Shards(value=2.0)
    folder = made(root, second, replace=True, changes=OTHER)
    assert second.made == [0, 2, 4, 6]
    assert (scores_of(folder) == 2).all()


@pytest.mark.parametrize("content", [None, "", "[]", '{"fingerprint": 3}'])
def test_a_part_that_says_not_what_it_was_made_for_is_dropped(root, content):
    with pytest.raises(KilledError):
        made(root, killed(4))
    head = root / "score.part" / "made-for.json"
    head.unlink()
    if content is not None:
        head.write_text(content)
    second = Shards()
    made(root, second)
    assert second.made == [0, 2, 4, 6]


def test_cost_adds_up_over_attempts(root):
    def slowly(work):
        def make(out, settings):
            time.sleep(0.05)
            work(out, settings)

        return make

    began = time.monotonic()
    for stop in (2, 6):
        with pytest.raises(KilledError):
            made(root, slowly(killed(stop)))
    cost = read_json(made(root, slowly(Shards())) / "manifest.json")["cost"]
    assert cost["tokens"] == 4 * 6
    assert 0.15 <= cost["seconds"] <= time.monotonic() - began
    assert cost["peak_rss_bytes"] > 10**7


@pytest.mark.parametrize("controls", [True, False])
def test_a_stage_killed_before_its_last_rename_is_whole(root, controls):
    folder, part = made(root, Shards(value=1.0)), root / "score.part"
    manifest = (folder / "manifest.json").read_bytes()
    folder.rename(part)
    if controls:
        (part / "made-for.json").write_text("{}")
        (part / "cost.json").write_text("{}")
        (part / ".cost.json.0a.ifguide-tmp").write_text("{")
    unused = Shards()
    made(root, unused)
    assert not unused.made
    assert not part.exists()
    assert sorted(file.name for file in folder.iterdir()) == ["manifest.json", *SHARDS]
    assert (folder / "manifest.json").read_bytes() == manifest


class Interrupted:
    """Lets so many changes of the file system through, and then kills."""

    def __init__(self, monkeypatch, allowed):
        self.left = allowed
        for module, name in ((os, "replace"), (os, "rmdir"), (Path, "unlink"), (Path, "rename")):
            original = getattr(module, name)
            monkeypatch.setattr(module, name, self._counted(original))

    def _counted(self, change):
        def counted(*arguments, **options):
            if self.left == 0:
                raise KilledError
            self.left -= 1
            return change(*arguments, **options)

        return counted


@pytest.mark.parametrize("notes", [False, True])
def test_a_kill_between_any_two_moves_of_a_mending_loses_no_shard(root, notes):
    """Taking a damaged stage back, making what it lacks and giving it its place again."""
    folder = made(root, Shards())
    original = shutil.copytree(root, root.with_name("original"))
    for allowed in range(60):
        shutil.rmtree(root)
        shutil.copytree(original, root)
        (folder / SHARDS[3]).unlink()
        if notes:
            (folder / "notes.txt").write_text("mine")
        first, again = Shards(), Shards()
        with pytest.MonkeyPatch.context() as patched:
            interrupted = Interrupted(patched, allowed)
            try:
                made(root, first)
            except KilledError:
                killed = True
            else:
                killed = interrupted.left == 0
        made(root, again)
        assert {*first.made, *again.made} <= {6}, allowed
        assert (scores_of(folder) == 1).all()
        assert not [*root.rglob("*.ifguide-tmp"), *root.rglob("*.part")]
        assert [f.name for f in root.rglob("notes.txt")] == ["notes.txt"] * notes
        if not killed:
            break
    assert allowed > 8
    assert not killed


KILLED = """
import sys, time
from pathlib import Path
from toys import scored, config
from ifguide.run.run import opened

def make(work, settings):
    for name in "abcd":
        if name == "c":
            print("half", flush=True)
            time.sleep(600)
        (work.path / name).write_text(name)
        work.keep(work.path / name)
        work.progress(1)

with opened(config(), Path(sys.argv[1]), quiet=True) as run:
    run(scored(make, name="letters", files=("[a-d]",), load=lambda folder, get: None))
"""


def test_a_second_process_is_refused_and_a_kill_loses_nothing(root):
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as other:
        assert other.stdout.readline() == "half\n"
        with pytest.raises(InputError, match="another process is working in this folder"):
            made(root, Shards())
        other.send_signal(signal.SIGKILL)
    written = []

    def go_on(work, settings):
        for name in "abcd":
            if not (work.path / name).exists():
                (work.path / name).write_text(name)
                written.append(name)

    letters = scored(go_on, name="letters", files=("[a-d]",), load=lambda folder, get: None)
    with opened(config(), root, quiet=True) as run:
        folder = run.path(letters)
        assert run.cost(letters).tokens >= 1
    assert written == ["c", "d"]
    assert "".join((folder / name).read_text() for name in "abcd") == "abcd"


# a full disk


def fill(monkeypatch, free):
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1 << 30),
        (OSError("1000000 requested and 262128 written"), 4096),
        (RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 576 vs 534"), 4096),
        (SafetensorError("while serializing: I/O error: No space left on device"), 1 << 30),
    ],
    ids=["system", "numpy", "torch", "safetensors"],
)
def test_a_full_disk_is_called_so_and_finished_things_stay(root, monkeypatch, error, free):
    done = Shards()
    made(root, done, name="select")
    with monkeypatch.context() as patched:
        fill(patched, free)
        with pytest.raises(OSError, match="No space left") as refused:
            made(root, Shards(stop_before=4, error=error))
    assert refused.value.errno == errno.ENOSPC
    assert refused.value.filename == str(root / "score.part")
    assert refused.value.__cause__ is error
    again, unused = Shards(), Shards()
    made(root, again)
    assert again.made == [4, 6]
    made(root, unused, name="select")
    assert not unused.made


@pytest.mark.parametrize("error", [RuntimeError("a fault"), InputError("a line"), KilledError()])
def test_other_errors_are_left_as_they_are(root, monkeypatch, error):
    fill(monkeypatch, free=1 << 30)
    with pytest.raises(type(error)) as raised:
        made(root, Shards(stop_before=4, error=error))
    assert raised.value is error


def test_an_input_error_is_no_full_disk(root, monkeypatch):
    fill(monkeypatch, free=0)
    with pytest.raises(InputError, match="a line"):
        made(root, Shards(stop_before=4, error=InputError("a line")))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "report.json"
    write_json(file, {"old": True})
    whole = type(file).write_text

    def write_half(path, text, encoding):
        whole(path, text[:3], encoding)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(type(file), "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        write_json(file, {"new": True})
    assert read_json(file) == {"old": True}
    assert list(tmp_path.iterdir()) == [file]


# memory


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_peak_memory_is_measured_anew():
    """In a process of its own: the kernel takes memory back from one that holds much for long."""
    code = """
import numpy as np
from ifguide.run.memory import peak_rss, reset_peak_rss
reset_peak_rss()
before = peak_rss()
held = np.ones(8_000_000)
high = peak_rss()
assert high >= before + 0.9 * held.nbytes, (before, high)
del held
reset_peak_rss()
assert peak_rss() <= high - 0.9 * 64_000_000, (high, peak_rss())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_json_that_cannot_be_read_is_one_line(tmp_path):
    file = tmp_path / "a.json"
    for content in (None, "", "{", json.dumps([1])[:-1]):
        if content is not None:
            file.write_text(content)
        with pytest.raises(
            InputError, match=r"a\.json: (no such file|cannot be read .*delete it)"
        ) as error:
            read_json(file)
        assert one_line(error)
