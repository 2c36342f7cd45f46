"""What there is, and may be, in a run folder: every stage that its settings describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifguide.attacks.config import AttackConfig
from ifguide.run.attacks import attacks, is_attack, models_of
from ifguide.run.pair import perturbed
from ifguide.run.rivals import Rivals, rows_under
from ifguide.run.run import closure, looked_at
from ifguide.run.stage import AnyStage, StageOf
from ifguide.run.stages import SAMPLES
from ifguide.run.standing import Standing
from ifguide.run.table import STAGES, stage_named
from ifguide.settings.config import Config
from ifguide.settings.reader import read_run_config


def status(folder: Path, *, verify: bool = False) -> list[Standing]:
    """Return how each stage of a run stands, those of rivals and attacks that are there included.

    Args:
        folder: of the run.
        verify: read every byte.

    Raises:
        InputError: it is no run folder, or its settings cannot be read.
    """
    config = read_run_config(folder)
    with looked_at(config, folder, verify=verify) as run:
        main = {stage.name for stage in main_stages(config)}
        found = [run.standing(stage, as_made=is_optional(stage)) for stage in known_stages(config)]
    return [
        standing
        for standing in found
        if standing.state != "not kept"
        and (standing.state != "not made" or standing.stage.name in main)
    ]


def main_stages(config: Config) -> list[AnyStage]:
    """Return every stage that has a command, and those that they rest on, earlier ones first."""
    return closure([stage_named(name) for name in STAGES.names()], config)


def known_stages(config: Config) -> list[AnyStage]:
    """Return every stage that settings describe: the run's, the rivals', the attacks'."""
    found, rivals = main_stages(config), Rivals(config)
    for row in rows_under(config):
        points = rivals.points(row)
        for point in points:
            found += [rivals.judged(point), rivals.fluency(point)]
        found += [rivals.choice(row)] if len(points) > 1 else []
    kinds = attacks(AttackConfig(), models_of(config))
    found += [stage for kind in kinds.values() for stage in kind.values()]
    return closure([*found, perturbed()], config)


def is_optional(stage: AnyStage) -> bool:
    """Whether options of a command, and not the run's settings, decide a stage."""
    return is_attack(stage) or stage.name == perturbed().name


def samples_of(config: Config) -> dict[str, StageOf[Any]]:
    """Return the continuations that a run and a comparison over it make, by the model's name."""
    found: dict[str, StageOf[Any]] = dict(SAMPLES)
    rivals = Rivals(config)
    for point in (point for row in rows_under(config) for point in rivals.points(row)):
        stage = rivals.samples(point)
        if stage.name not in {other.name for other in found.values()}:
            found[point.name] = stage
    return found
