"""Two processes: the same scores, models in shards, a lost process and what comes after it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fsdp import CASES, loaded, make_model, results
from torch import nn

from ifguide.distributed import ranks
from ifguide.models.sharded import is_sharded
from ifguide.run.artifacts import ScoreShards

TESTS = Path(__file__).parents[1]
SMALL_SHARDS = ("--scores.shard_blocks", "8", "--replace", "--quiet")


def launch(*arguments):
    """Run a script or module by two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = [str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",  # a process that aborts says where
    }
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def unscored(finished, tmp_path):
    """A run folder whose next stage is the scores."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for stage in ("score", "select", "train", "evaluate", "report"):
        shutil.rmtree(out / stage)
    return out


def scores_in(folder):
    return np.concatenate([np.load(file) for file in sorted(folder.glob("scores-*.npy"))])


def written(folder):
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("scores-*.npy")}


@pytest.mark.parametrize("moment", ["at work", "in the end"])
def test_a_killed_process_is_told_of_and_only_what_is_missing_is_made_again(
    moment, unscored, finished, micro_config
):
    command = ["score", micro_config, "--out", unscored, *SMALL_SHARDS]
    killed = launch(TESTS / "killed_rank.py", moment, *command)
    assert killed.returncode != 0
    ours = [line for line in killed.stderr.splitlines() if line.startswith("ifguide")]
    assert len(ours) == 1, killed.stderr
    assert "another process of this run has ended or was killed" in ours[0]
    assert "run the same command again to go on" in ours[0]
    assert not (unscored / "score").exists()
    kept = written(unscored / "score.part")
    assert kept
    again = launch("-m", "ifguide", *command)
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    made = written(unscored / "score")
    assert kept.items() <= made.items()
    assert (kept == made) == (moment == "in the end")
    ours, theirs = scores_in(unscored / "score"), scores_in(finished / "score")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("kept", [[], [(25, 50)], [(0, 30), (40, 41), (99, 100)]])
def test_what_is_missing_is_shared_out(kept, tmp_path, monkeypatch):
    """Every row once, and no rank has more than a shard above another's rows."""
    shards = ScoreShards(tmp_path, (100, 3), 30)
    for start, stop in kept:
        shards.put(slice(start, stop), np.zeros((stop - start, 3)))
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    monkeypatch.setattr(ranks, "is_main", lambda: True)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        shares.append(list(shards.missing()))
    rows = [[row for piece in share for row in range(100)[piece]] for share in shares]
    held = [row for start, stop in kept for row in range(start, stop)]
    assert sorted([*rows[0], *rows[1], *held]) == list(range(100))
    assert max(piece.stop - piece.start for share in shares for piece in share) <= 30
    assert abs(len(rows[0]) - len(rows[1])) <= (30 if kept else 0)


# models in shards


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """The folder in which two processes left what the verbs make of models in shards."""
    folder = tmp_path_factory.mktemp("fsdp")
    done = launch(TESTS / "fsdp.py", folder)
    assert done.returncode == 0, done.stderr.partition("ChildFailedError")[0][-4000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_model_in_shards_gives_what_the_whole_one_gives(case, sharded):
    whole = results(make_model(case))
    bound = 1e-9 if CASES[case][1] == torch.float64 else 1e-4
    for rank in (0, 1):
        found = loaded(sharded, case, rank)
        assert found.keys() == whole.keys()
        for name, expected in whole.items():
            error = (found[name] - expected).abs().max() / expected.abs().max()
            # a whole head takes the differences of states, one in shards those of its logits,
            # which float32 has rounded
            limit = max(bound, 1e-6) if name == "scores difference" else 1e-6
            assert error <= (limit if "scores" in name else bound), (name, error)


def test_a_whole_model_is_not_taken_for_a_sharded_one():
    assert not is_sharded(nn.Linear(2, 2))
