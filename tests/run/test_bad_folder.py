"""Run folders that cannot be used, and disks that are full."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from micro import run, write_settings

from ifguide.run.folder import RunFolder


def test_a_folder_made_by_other_settings(refused, tmp_path):
    config = write_settings(tmp_path)
    assert run("select", config, tmp_path / "run") == 0
    line = refused("run", config, "--out", tmp_path / "run", "--seed", "9")
    assert line == (
        f"{tmp_path}/run/config.yaml: the folder was made with other settings (seed: 3, now 9); "
        "give another --out, or --replace to make again what differs"
    )


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_one(name, refused, tmp_path):
    (tmp_path / "file").touch()
    line = refused("run", write_settings(tmp_path), "--out", tmp_path / name)
    assert line == f"{tmp_path}/file: it is no folder; give --out a folder"


def test_a_folder_of_something_else(refused, tmp_path):
    line = refused("run", write_settings(tmp_path), "--out", tmp_path)
    assert line == f"{tmp_path}: not empty and not a run folder; give --out a new folder"


def test_a_folder_in_use(refused, tmp_path):
    config = write_settings(tmp_path)
    claimed = RunFolder.claim(tmp_path / "run")
    line = refused("run", config, "--out", tmp_path / "run")
    claimed.close()
    assert line.startswith(f"{tmp_path}/run: another process is working in this folder; wait")


def test_a_mended_setting_is_let_in_while_nothing_has_been_computed(refused, tmp_path):
    """What is wrong is found before anything is trained, and mending it costs nothing."""
    wrong = write_settings(
        tmp_path, queries={"source": {"path": "nowhere.jsonl", "spans": "marked"}}
    )
    line = refused("run", wrong, "--out", tmp_path / "run", "--quiet")
    assert line.startswith("nowhere.jsonl: no such file")
    assert run("select", write_settings(tmp_path), tmp_path / "run") == 0


LATER = {
    "judge": ["--judges", "words"],
    "lm-eval": ["--tasks", "any"],
    "inspect": [],
    "attack": ["--kind", "lens"],
}


@pytest.mark.parametrize("command", LATER)
def test_a_stage_that_settings_have_left_behind_is_refused_by_name(
    command, refused, finished, micro_config, tmp_path, capfd
):
    """Never an old model under new settings, whatever looks at it."""
    out = shutil.copytree(finished, tmp_path / "run")
    changes = ["--selection.budget", "0.2", "--replace"]
    if command == "inspect":
        changes[0:2] = ["--direction.damping", "0.5"]
    until = "score" if command == "inspect" else "select"
    assert run(until, micro_config, out, *changes) == 0
    capfd.readouterr()
    stage = {"judge": "sample/suppressed", "inspect": "select"}.get(command, "train")
    made_by = {"judge": "evaluate"}.get(command, stage)
    before = {file: file.read_bytes() for file in out.rglob("[!.]*") if file.is_file()}
    line = refused(command, out, *LATER[command])
    assert f"its stage '{stage}' is not what the settings and files now say" in line
    assert line.endswith(f"run `ifguide {made_by}` first")
    assert {file: file.read_bytes() for file in out.rglob("[!.]*") if file.is_file()} == before


@pytest.fixture
def small_disk(tmp_path):
    """Makes a folder on a disk of so many KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def make(kibibytes):
        nonlocal mounted
        command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a disk of its own can only be mounted by root")
        mounted = True
        return folder

    yield make
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("kibibytes", "stage", "finished"),
    [(160, "corpus", []), (440, "baseline", ["corpus", "held_out"])],
)
def test_a_full_disk_loses_nothing(kibibytes, stage, finished, refused, small_disk, tmp_path):
    out = small_disk(kibibytes) / "run"
    config = write_settings(tmp_path)
    assert refused("run", config, "--out", out, "--quiet") == (
        f"{out}/{stage}.part: No space left on device; nothing finished is lost: mend it and run "
        "the same command again"
    )
    assert [name for name in ("corpus", "held_out", "baseline") if (out / name).exists()] == (
        finished
    )
    subprocess.run(["mount", "-o", "remount,size=64m", str(out.parent)], check=True)
    assert run("fit", config, out) == 0


def test_a_disk_that_could_not_hold_the_models_is_refused_beforehand(refused, small_disk, tmp_path):
    out = small_disk(20) / "run"
    line = refused("run", write_settings(tmp_path), "--out", out, "--quiet")
    assert line.startswith(f"{out}: the run writes ")
    assert line.endswith("; give --out on a larger disk")
    assert not out.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing(code, refused, tmp_path, monkeypatch):
    def fails(file, *_, **__):
        raise OSError(code, os.strerror(code), str(file))

    config = write_settings(tmp_path)
    monkeypatch.setattr(Path, "write_text", fails)
    line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path}/run/")
    assert f": {os.strerror(code)}; nothing finished is lost: mend it and run the same" in line
