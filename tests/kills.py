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
    "attack/relearn-baseline": "scratch/*/training/checkpoint-1/complete",
    "baseline": "scratch/checkpoint-1/complete",
    "model/ours-tuned-87a5c952": "scratch/checkpoint-1/complete",
    "reward": "scratch/checkpoint-1/complete",
    "sample/baseline": "samples-0.parquet",
    "score": "scores-000000000.npy",
    "train": "scratch/checkpoint-1/complete",
}


def killed_command(words, out, stage, moment=None):
    """Run a command, and die by SIGKILL in a stage.

    Args:
        words: what is typed.
        out: the run folder.
        stage: by name.
        moment: ``at work``, with something kept, or ``before its name``, when all of it is
            written; by default at work where the stage keeps something.
    """
    progress, settle, part = Work.progress, StageFolder._settle, out / f"{stage}.part"
    keeps = AT_WORK.get(stage)

    def die(folder):
        if folder == part:
            os.kill(os.getpid(), signal.SIGKILL)

    def die_at_work(work, tokens):
        progress(work, tokens)
        if work._folder is not None and any(work.path.glob(keeps)):
            die(work.path)

    def die_before_its_name(folder, manifest):
        die(folder.part)
        settle(folder, manifest)

    if (moment or ("at work" if keeps else "before its name")) == "at work":
        Work.progress = die_at_work
    else:
        StageFolder._settle = die_before_its_name
    main(words)


def killed_run(micro_config, out, stage, moment):
    """Run, and die by SIGKILL in a stage."""
    killed_command(["run", str(micro_config), "--out", str(out), "--quiet"], out, stage, moment)


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
