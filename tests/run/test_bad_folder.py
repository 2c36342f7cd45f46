"""Run folders that cannot be used, and disks that are full."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
from micro import run, write_settings

from ifguide.run import store


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
    assert line == f"{tmp_path}/{name}: it is a file; give --out a folder"


def test_a_folder_of_something_else(refused, tmp_path):
    line = refused("run", write_settings(tmp_path), "--out", tmp_path)
    assert line == f"{tmp_path}: not empty and not a run folder; give --out a new folder"


def test_a_folder_in_use(refused, tmp_path):
    config = write_settings(tmp_path)
    with store.Store(tmp_path / "run", ""):
        line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path}/run: another process is working in this folder; wait")


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
    [(20, "corpus", []), (160, "corpus", []), (400, "baseline", ["corpus", "held_out"])],
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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing(code, refused, tmp_path, monkeypatch):
    def fails(file, *_, **__):
        raise OSError(code, os.strerror(code), str(file))

    config = write_settings(tmp_path)
    monkeypatch.setattr(Path, "write_text", fails)
    line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{tmp_path}/run/config.yaml.tmp: {os.strerror(code)}; nothing finish")
