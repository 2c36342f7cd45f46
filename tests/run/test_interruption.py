"""A run that is killed, and one of two processes, end as any other."""

import multiprocessing
import signal
import subprocess
import sys

import numpy as np
import pytest
from kills import AT_WORK, killed_run, resumed_run
from micro import STAGES, contents, figures, manifests


@pytest.fixture(scope="module")
def processes():
    """Makes processes in which ifguide is imported already, but nothing has run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ifguide.commands.main", "ifguide.run.actions", "kills"])
    return context


QUICK = ("queries", "prompts", "judge/baseline", "judge/suppressed", "sample/suppressed")
KILLS = [
    (stage, moment)
    for stage in STAGES
    for moment in ("at work", "before its name")
    if (stage in AT_WORK if moment == "at work" else stage not in QUICK)
]


def test_killed_in_every_stage_and_run_again(processes, micro_config, finished, tmp_path):
    """One folder, killed again and again; what is finished by then is as if never killed."""
    out, wanted = tmp_path / "run", contents(finished)
    for stage, moment in KILLS:
        process = processes.Process(target=killed_run, args=(micro_config, out, stage, moment))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (stage, moment)
        assert manifests(out).keys() == set(STAGES[: STAGES.index(stage)])
        changed = contents(out).items() - wanted.items()
        assert not changed, (stage, moment)
    process = processes.Process(target=resumed_run, args=(micro_config, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert figures(out) == figures(finished)
    assert contents(out) == wanted


# several processes


def test_two_processes_give_the_same_scores(micro_config, finished, tmp_path):
    """Half the batch on each of two processes is the same training.

    A weight whose gradient is near 0 moves by the sign of its rounding, one update's length either
    way, and next to nothing depends on it; other batches would move all weights so.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "ifguide", "run", str(micro_config)]
    command += ["--out", str(tmp_path / "run"), "--quiet"]
    command += ["--baseline.batch_size", "2", "--training.batch_size", "2"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("The page:") == 1
    assert "Warning" not in shown.stderr
    ours, theirs = (
        np.concatenate([np.load(f) for f in sorted((out / "score").glob("*.npy"))])
        for out in (tmp_path / "run", finished)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())
    ours, theirs = (figures(out)["models"] for out in (tmp_path / "run", finished))
    for name in ("baseline", "suppressed"):
        assert ours[name]["perplexity"]["benign"] == pytest.approx(
            theirs[name]["perplexity"]["benign"], rel=1e-4
        )
