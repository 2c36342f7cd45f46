"""Runs in processes of their own, which import this module by its name."""

import os
import signal
import sys

from micro import run

AT_WORK = {  # stages that keep what is done so far, and where
    "baseline": "scratch/checkpoint-1/complete",
    "score": "scores-000000000.npy",
    "train": "scratch/checkpoint-1/complete",
    "evaluate": "samples-baseline-toxic.parquet",
}


def killed_run(micro_config, out, stage, moment):
    """Run, and die by SIGKILL in a stage: with something kept, or when all of it is written."""
    from ifguide.run import store

    progress, promote = store.StageFolder.progress, store._promote

    def die(folder):
        if folder.path.name == f"{stage}.part":
            os.kill(os.getpid(), signal.SIGKILL)

    def die_at_work(folder, tokens):
        progress(folder, tokens)
        if (folder.path / AT_WORK.get(stage, "")).is_file():
            die(folder)

    def die_before_its_name(folder, *rest):
        die(folder)
        promote(folder, *rest)

    if moment == "at work":
        store.StageFolder.progress = die_at_work
    else:
        store._promote = die_before_its_name
    run("run", micro_config, out)


def resumed_run(micro_config, out):
    sys.exit(run("run", micro_config, out))
