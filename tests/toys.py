"""Stages that take no time, over real run folders: what is made of them is told."""

import numpy as np
from micro import settings

from ifguide.run.artifacts import ScoreShards
from ifguide.run.run import opened
from ifguide.run.stage import Stage, needs
from ifguide.settings.config import Config
from ifguide.settings.reader import checked


class KilledError(Exception):
    """Stands for a kill."""


class Shards:
    """Makes four shards of scores; counts the shards it makes, and may stop before one."""

    def __init__(self, stop_before=None, error=None, value=1.0):
        self.made, self.stop_before, self.error, self.value = [], stop_before, error, value

    def __call__(self, work, settings):
        shards = ScoreShards(work.path, (8, 3), 2, work.put)
        checkpoint = work.scratch / "checkpoint-1"
        checkpoint.mkdir(exist_ok=True)
        (checkpoint / "complete").write_text("half done")
        for rows in shards.missing():
            if rows.start == self.stop_before:
                raise self.error
            shards.put(rows, np.full((2, 3), self.value))
            work.progress(6)
            self.made.append(rows.start)


def killed(before, value=1.0):
    """Return a work that is killed before one of its shards."""
    return Shards(stop_before=before, error=KilledError(), value=value)


def config(**changes):
    """Return the settings of a micro run; see ``micro.settings``."""
    return checked(Config, settings(**changes))


def scored(make, **changes):
    """Declare a stage of shards."""
    declared = {
        "name": "score",
        "about": "four shards",
        "needs": needs(),
        "settings": lambda config: config.selection,
        "section": "selection",
        "load": lambda folder, get: scores_of(folder),
        "files": ("scores-*.npy",),
    }
    return Stage(make=make, **{**declared, **changes})


def scores_of(folder):
    return np.concatenate([np.load(file) for file in sorted(folder.glob("scores-*.npy"))])


def made(root, make, *, replace=False, changes=None, **declared):
    """Make a stage of shards in a fresh process's stead; return its folder."""
    stage = scored(make, **declared)
    with opened(config(**(changes or {})), root, [stage], quiet=True, replace=replace) as run:
        return run.path(stage)
