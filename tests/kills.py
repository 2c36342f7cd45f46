"""Runs in processes of their own, which import this module by its name."""

import os
import signal
import sys

from micro import run

from ifguide.commands.main import main
from ifguide.run.folder import RunFolder
from ifguide.run.store import StageFolder
from ifguide.run.work import Work

AT_WORK = {  # stages that keep what is done so far, and where
    "baseline": "scratch/checkpoint-1/complete",
    "sample/baseline": "samples-0.parquet",
    "score": "scores-000000000.npy",
    "train": "scratch/checkpoint-1/complete",
}


def killed_run(micro_config, out, stage, moment):
    """Run, and die by SIGKILL in a stage: with something kept, or when all of it is written."""
    progress, settle, part = Work.progress, StageFolder._settle, out / f"{stage}.part"

    def die(folder):
        if folder == part:
            os.kill(os.getpid(), signal.SIGKILL)

    def die_at_work(work, tokens):
        progress(work, tokens)
        if work._folder is not None and (work.path / AT_WORK.get(stage, "")).is_file():
            die(work.path)

    def die_before_its_name(folder, manifest):
        die(folder.part)
        settle(folder, manifest)

    if moment == "at work":
        Work.progress = die_at_work
    else:
        StageFolder._settle = die_before_its_name
    run("run", micro_config, out)


def resumed_run(micro_config, out):
    sys.exit(run("run", micro_config, out))


def told(arguments, begun):
    """Run a command; ``begun`` is set when its process is ready to."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    begun.set()
    sys.exit(main(arguments))


def held(arguments, holds, released):
    """Run a command that stops once it has claimed its folder, until it is released."""

    claim = RunFolder.claim.__func__

    def wait(cls, root, **options):
        claim(cls, root, **options)
        holds.set()
        released.wait()
        os._exit(0)

    RunFolder.claim = classmethod(wait)
    sys.exit(main(arguments))
