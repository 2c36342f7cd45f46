"""Two processes give what one gives with twice the batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks import train_here, train_padded_here
from safetensors.torch import load_file

from ifguide.files import read_json

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder that two processes left."""
    folder = tmp_path_factory.mktemp("ranks")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run(
        [sys.executable, *launch, str(TESTS / "ranks.py"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return folder


def test_two_processes_train_like_one_with_twice_the_batch(run, tmp_path):
    expected = train_here(tmp_path, batch_size=2)
    first, second = (load_file(run / f"whole-{rank}.safetensors") for rank in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, expected, rtol=1e-9, atol=1e-11)


def test_ranks_accumulation_and_masks_together_are_one_batch(run, tmp_path):
    alone = {
        "accumulated": train_here(tmp_path / "blocks", batch_size=4, kl=0.5),
        "padded": train_padded_here(tmp_path / "rows", batch_size=8),
    }
    for name, expected in alone.items():
        found = load_file(run / f"{name}-1.safetensors")
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_two_processes_log_the_losses_that_one_does(run, tmp_path):
    train_here(tmp_path, batch_size=2)
    whole, found = (read_json(folder / "curve.json") for folder in (tmp_path, run / "whole"))
    assert [point["update"] for point in found["points"]] == list(range(1, 9))
    for ours, theirs in zip(found["points"], whole["points"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    assert read_json(run / "killed" / "curve.json") == found


def test_a_stage_made_by_two_processes_is_made_once(run):
    manifest = read_json(run / "run" / "score" / "manifest.json")
    assert sorted(manifest["files"]) == [f"scores-{n:09d}.npy" for n in (0, 2, 4, 6)]
    assert manifest["cost"]["tokens"] == 2  # of the main rank
