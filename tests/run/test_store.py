"""The run folder: what is reused, what is made again, and what survives."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors import SafetensorError

from ifguide.errors import InputError
from ifguide.files import fingerprint_of, read_json, write_json, write_text
from ifguide.run.artifacts import ScoreShards
from ifguide.run.memory import peak_rss, reset_peak_rss
from ifguide.run.store import Store

SETTINGS = "data_dir: /data\nselection:\n  budget: 0.02\n  sources:\n  - a\n  - b\n"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "run"


class Work:
    """A stage of four shards of scores; counts the shards it makes, and may stop before one."""

    def __init__(self, stop_before=None, error=None, value=1.0):
        self.made, self.stop_before, self.error, self.value = [], stop_before, error, value

    def __call__(self, out):
        shards = ScoreShards(out.path, (8, 3), 2)
        (out.scratch / "half").write_text("half done")
        for rows in shards.missing():
            if rows.start == self.stop_before:
                raise self.error
            shards.put(rows, np.full((2, 3), self.value))
            out.progress(6)
            self.made.append(rows.start)


class KilledError(Exception):
    """Stands for a kill."""


def made(root, work, inputs=None, settings=SETTINGS, replace=False):
    """Run one stage in a fresh process's stead; return its folder."""
    with Store(root, settings, replace=replace) as store:
        return store.stage("score", {"quantile": 0.99} if inputs is None else inputs, work)


def scores_of(folder):
    return np.concatenate([np.load(file) for file in sorted(folder.glob("scores-*.npy"))])


def one_line(error):
    return "\n" not in str(error.value)


# reuse


def test_a_stage_is_made_once(root):
    work = Work()
    with Store(root, SETTINGS) as store:
        before = []
        for _ in range(2):
            folder = store.stage("score", {"x": 1}, work, before=lambda: before.append(1))
    assert work.made == [0, 2, 4, 6]
    assert before == [1]
    assert folder == root / "score"
    assert sorted(file.name for file in root.iterdir()) == [".lock", "config.yaml", "score"]
    assert sorted(file.name for file in folder.iterdir()) == [
        "manifest.json",
        *(f"scores-{n:09d}.npy" for n in (0, 2, 4, 6)),
    ]
    assert (root / "config.yaml").read_text() == SETTINGS
    assert made(root, work, {"x": 1}) == folder
    assert work.made == [0, 2, 4, 6]


def test_the_manifest_says_what_went_in_and_what_came_out(root):
    manifest = read_json(made(root, Work(), {"stage": "score", "n": 3}) / "manifest.json")
    assert manifest["inputs"] == {"stage": "score", "n": 3}
    assert manifest["fingerprint"] == fingerprint_of({"n": 3, "stage": "score"})
    assert manifest["versions"].keys() == {"torch", "transformers", "numpy"}
    assert manifest["cost"].keys() == {"seconds", "tokens", "peak_rss_bytes"}
    assert manifest["files"]["scores-000000004.npy"]["bytes"] == 128 + 2 * 3 * 4


def test_other_inputs_make_the_stage_again(root):
    made(root, Work(value=1.0), {"x": 1})
    folder = made(root, Work(value=2.0), {"x": 2})
    assert (scores_of(folder) == 2).all()
    unused = Work()
    made(root, unused, {"x": 2})
    assert not unused.made


@dataclass(frozen=True)
class Settings:
    budget: float
    name: str = "a"


def test_fingerprints_are_of_contents():
    assert fingerprint_of([Settings(0.1)]) == fingerprint_of([Settings(0.1, "a")])
    assert fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    values = [Settings(0.1), Settings(0.2), Settings(0.1, "b"), [Settings(0.1)], "Settings", None]
    assert len({fingerprint_of(value) for value in values}) == len(values)


# settings


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budget: 0.02", "budget: 0.05", "selection.budget: 0.02, now 0.05"),
        ("- b", "- c", "selection.sources.1: b, now c"),
        ("  - b\n", "", "selection.sources.1: b, now None"),
        ("selection", "choice", "choice.budget: None, now 0.02"),
    ],
)
def test_other_settings_are_refused_by_name_and_replaced_on_demand(root, old, new, said):
    made(root, Work(value=1.0), {"x": 1})
    changed = SETTINGS.replace(old, new)
    with pytest.raises(InputError) as error:
        made(root, Work(), {"x": 2}, changed)
    assert f"({said})" in str(error.value)
    assert "--replace" in str(error.value)
    assert one_line(error)
    assert (scores_of(root / "score") == 1).all()
    assert (root / "config.yaml").read_text() == SETTINGS
    folder = made(root, Work(value=2.0), {"x": 2}, changed, replace=True)
    assert (scores_of(folder) == 2).all()
    assert (root / "config.yaml").read_text() == changed
    unused = Work()
    made(root, unused, {"x": 2}, changed)  # the new settings are the folder's now
    assert not unused.made


def test_replace_keeps_stages_that_do_not_differ(root):
    made(root, Work(), {"x": 1})
    unused = Work()
    made(root, unused, {"x": 1}, SETTINGS.replace("0.02", "0.05"), replace=True)
    assert not unused.made


def test_the_data_may_move(root):
    made(root, Work())
    unused = Work()
    made(root, unused, settings=SETTINGS.replace("/data", "/elsewhere"))
    assert not unused.made


@pytest.mark.parametrize("content", [b"a: [1", b"\xff\xfe"])
def test_a_broken_config_is_named(root, content):
    made(root, Work())
    (root / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read; delete it") as error:
        made(root, Work())
    assert one_line(error)
    (root / "config.yaml").unlink()
    unused = Work()
    made(root, unused)
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


@pytest.mark.parametrize("damage", [lose, shorten, alter])
def test_only_what_is_damaged_is_made_again(root, damage):
    folder = made(root, Work())
    untouched = (folder / "scores-000000004.npy").stat().st_mtime_ns
    damage(folder / "scores-000000002.npy")
    again = Work()
    made(root, again)
    assert again.made == [2]
    assert (scores_of(folder) == 1).all()
    assert (folder / "scores-000000004.npy").stat().st_mtime_ns == untouched
    assert read_json(folder / "manifest.json")["cost"]["tokens"] == 5 * 6  # mending costs too


@pytest.mark.parametrize(
    "content", ["", '{"fingerprint": "ab', "[]", "{}", '{"fingerprint": "ab", "files": {}}']
)
def test_a_broken_manifest_is_named(root, content):
    folder = made(root, Work())
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"score/manifest\.json: .*delete .* and run") as error:
        made(root, Work())
    assert one_line(error)
    shutil.rmtree(folder)
    again = Work()
    made(root, again)
    assert again.made == [0, 2, 4, 6]


# interruption


def test_an_interrupted_stage_goes_on(root):
    first, second = Work(stop_before=4, error=KilledError()), Work()
    with pytest.raises(KilledError):
        made(root, first)
    assert not (root / "score").exists()
    assert (root / "score.part" / "scratch" / "half").exists()
    folder = made(root, second)
    assert (first.made, second.made) == ([0, 2], [4, 6])
    assert not (root / "score.part").exists()
    assert not (folder / "scratch").exists()


def test_what_other_inputs_began_is_dropped(root):
    with pytest.raises(KilledError):
        made(root, Work(stop_before=4, error=KilledError(), value=1.0), {"x": 1})
    second = Work(value=2.0)
    folder = made(root, second, {"x": 2})
    assert second.made == [0, 2, 4, 6]
    assert (scores_of(folder) == 2).all()


def test_a_part_without_its_mark_is_dropped(root):
    with pytest.raises(KilledError):
        made(root, Work(stop_before=4, error=KilledError()))
    (root / "score.part" / "fingerprint").unlink()
    second = Work()
    made(root, second)
    assert second.made == [0, 2, 4, 6]


def test_cost_adds_up_over_attempts(root):
    def slowly(work):
        def make(out):
            time.sleep(0.05)
            work(out)

        return make

    began = time.monotonic()
    with Store(root, SETTINGS) as store:
        for stop in (2, 6):
            with pytest.raises(KilledError):
                store.stage("score", {}, slowly(Work(stop_before=stop, error=KilledError())))
        store.stage("score", {}, slowly(Work()), before=lambda: time.sleep(0.3))
        cost = store.cost("score")
    assert cost["tokens"] == 4 * 6
    assert 0.15 <= cost["seconds"] <= time.monotonic() - began - 0.3
    assert cost["peak_rss_bytes"] > 10**7


@pytest.mark.parametrize("scratch", [True, False])
def test_a_stage_killed_before_its_last_rename_is_whole(root, scratch):
    folder, part = made(root, Work(value=1.0)), root / "score.part"
    manifest = (folder / "manifest.json").read_bytes()
    folder.rename(part)
    if scratch:
        (part / "scratch").mkdir()
        (part / "cost.json").write_text("{}")
    unused = Work()
    made(root, unused)
    assert not unused.made
    assert not part.exists()
    assert sorted(file.name for file in folder.iterdir())[0] == "manifest.json"
    assert (folder / "manifest.json").read_bytes() == manifest


def test_a_stage_killed_while_going_back_keeps_its_files(root):
    folder, part = made(root, Work()), root / "score.part"
    (folder / "scores-000000006.npy").unlink()
    write_text(folder / "fingerprint", read_json(folder / "manifest.json")["fingerprint"])
    folder.rename(part)  # its manifest is still there
    again = Work()
    made(root, again)
    assert again.made == [6]


KILLED = """
import os, sys, time
from pathlib import Path
from ifguide.run.store import Store

def make(out):
    for name in "abcd":
        if name == "c":
            print("half", flush=True)
            time.sleep(600)
        if not (out.path / name).exists():
            (out.path / name).write_text(name)
            out.progress(1)

with Store(Path(sys.argv[1]), "x: 1\\n") as store:
    store.stage("letters", {"y": 2}, make)
"""


def test_a_second_process_is_refused_and_a_kill_loses_nothing(root):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "half\n"
        with pytest.raises(InputError, match="another process is working in this folder"):
            made(root, Work(), settings="x: 1\n")
        other.send_signal(signal.SIGKILL)
    written = []

    def go_on(out):
        for name in "abcd":
            if not (out.path / name).exists():
                (out.path / name).write_text(name)
                written.append(name)

    with Store(root, "x: 1\n") as store:
        folder = store.stage("letters", {"y": 2}, go_on)
        assert store.cost("letters")["tokens"] >= 1
    assert written == ["c", "d"]
    assert "".join((folder / name).read_text() for name in "abcd") == "abcd"


# the folder


def test_one_store_at_a_time(root):
    with Store(root, SETTINGS), pytest.raises(InputError, match="another process"):
        Store(root, SETTINGS).__enter__()
    with Store(root, SETTINGS):
        pass
    refused = Store(root, SETTINGS.replace("0.02", "0.03"))
    with pytest.raises(InputError, match="other settings"):
        refused.__enter__()
    with Store(root, SETTINGS):  # a refusal leaves no lock
        pass


@pytest.mark.parametrize("name", ["notes.txt", "config.yaml"])
def test_a_folder_that_is_not_ours_is_refused(root, name):
    root.mkdir()
    (root / name).write_text("x: 1\n")
    for replace in (False, True):
        with pytest.raises(InputError, match="not empty and not a run folder"):
            made(root, Work(), replace=replace)
    assert sorted(file.name for file in root.iterdir()) == [name]
    assert (root / name).read_text() == "x: 1\n"


def test_an_empty_folder_and_a_copy_without_hidden_files_are_ours(root, tmp_path):
    root.mkdir()
    made(root, Work())
    (root / ".lock").unlink()
    copy = shutil.copytree(root, tmp_path / "copy")
    unused = Work()
    made(copy, unused)
    assert not unused.made


@pytest.mark.parametrize("inside", [False, True])
def test_a_file_in_the_way_is_named(tmp_path, inside):
    file = tmp_path / "taken"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"taken.*: it is a file; give --out a folder"):
        made(file / "run" if inside else file, Work())
    assert file.read_text() == "mine"


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
    done = Work()
    with Store(root, SETTINGS) as store:
        store.stage("select", {"x": 1}, done)
    with monkeypatch.context() as patched:
        fill(patched, free)
        with pytest.raises(OSError, match="No space left") as refused:
            made(root, Work(stop_before=4, error=error))
    assert refused.value.errno == errno.ENOSPC
    assert refused.value.filename == str(root / "score.part")
    assert refused.value.__cause__ is error
    again, unused = Work(), Work()
    made(root, again)
    assert again.made == [4, 6]
    with Store(root, SETTINGS) as store:
        store.stage("select", {"x": 1}, unused)
    assert not unused.made


@pytest.mark.parametrize("error", [RuntimeError("a fault"), InputError("a line"), KilledError()])
def test_other_errors_are_left_as_they_are(root, monkeypatch, error):
    fill(monkeypatch, free=1 << 30)
    with pytest.raises(type(error)) as raised:
        made(root, Work(stop_before=4, error=error))
    assert raised.value is error


def test_an_input_error_is_no_full_disk(root, monkeypatch):
    fill(monkeypatch, free=0)
    with pytest.raises(InputError, match="a line"):
        made(root, Work(stop_before=4, error=InputError("a line")))


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
    reset_peak_rss()
    before = peak_rss()
    held = np.ones(8_000_000)
    high = peak_rss()
    assert high >= before + 0.9 * held.nbytes
    del held
    reset_peak_rss()
    assert peak_rss() <= high - 0.9 * 64_000_000


def test_json_that_cannot_be_read_is_one_line(tmp_path):
    file = tmp_path / "a.json"
    for content in (None, "", "{", json.dumps([1])[:-1]):
        if content is not None:
            file.write_text(content)
        with pytest.raises(InputError, match=r"a\.json: cannot be read .*delete it") as error:
            read_json(file)
        assert one_line(error)
