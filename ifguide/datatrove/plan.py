"""What all tasks go by, and the finished run that they score with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ifguide.errors import InputError
from ifguide.files import fingerprint_of, lies_in
from ifguide.influence.config import ScoreConfig
from ifguide.nouns import Checkpoint, Direction
from ifguide.run.given import SmoothSettings
from ifguide.run.run import looked_at
from ifguide.run.scorers import computed
from ifguide.run.stages import AIM, CORPUS, SCORE, SCORED
from ifguide.selection.config import SelectionConfig
from ifguide.settings.reader import read_run_config


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A finished run, and the corpus that is scored and selected by it.

    Args:
        run: folder of the run, which is only read.
        out: folder of what the tasks make. Every machine must see both, by these names.
        selection: how tokens are selected; by default as the run does.
        trust_remote_code: let code run that comes with the run's checkpoint or tokenizer.

    Raises:
        InputError: there is no such run, it smooths or blends its scores, or a folder is none that
            can be mapped into memory.
    """

    run: str
    out: str
    selection: SelectionConfig | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("run", "out"):
            given = getattr(self, name)
            if "://" in given:
                raise InputError(
                    f"{name}: {given} is an address, and what lies there is mapped into memory; "
                    "give a folder on a disk that all machines see"
                )
        if lies_in(Path(self.out), Path(self.run)):
            raise InputError(
                f"out: {self.out} lies in the run's folder, which is only read; name another"
            )
        config = read_run_config(Path(self.run))
        if SmoothSettings(config.smoothing, config.lexicon).changes:
            raise InputError(
                f"run: {self.run} smooths or blends its scores, by means over a whole corpus, "
                "which tasks do not have; make a run without smoothing and lexicon"
            )

    @property
    def chosen(self) -> SelectionConfig:
        """How tokens are selected."""
        return self.selection or read_run_config(Path(self.run)).selection


@dataclass(frozen=True, eq=False)
class RunScorer:
    """What a finished run scores with.

    Args:
        model: that the run's scores are taken of.
        tokenizer: the run's.
        direction: the run's.
        settings: how the run's own scores came about. The step of ``difference`` is the one that
            was calibrated there, so that all tasks take the same.
        block_length: the run's.
        known_by: a fingerprint of all of it.
    """

    model: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    direction: Direction
    settings: ScoreConfig
    block_length: int
    known_by: str


def scorer_of(plan: Plan) -> RunScorer:
    """Open the run; a process that does several tasks opens it once.

    Raises:
        InputError: the run is not finished or does not stand.
    """
    return _opened(str(Path(plan.run).resolve()), plan.trust_remote_code)


@lru_cache(maxsize=1)
def _opened(folder: str, trust_remote_code: bool) -> RunScorer:
    config = read_run_config(Path(folder), trust_remote_code=trust_remote_code)
    with looked_at(config, Path(folder)) as run:
        text, direction, found = run(CORPUS), run(AIM), run(SCORE)
        settings = as_found(computed(config), found.metadata)
        made = {stage.name: run.fingerprint(stage) for stage in (CORPUS, SCORED, AIM, SCORE)}
        known_by = fingerprint_of({"run": made, "settings": settings})
        length = config.corpus.block_length
        return RunScorer(run(SCORED), text.tokenizer, direction, settings, length, known_by)


def as_found(settings: ScoreConfig, metadata: Mapping[str, Any]) -> ScoreConfig:
    """Return settings under which nothing is calibrated again: by what scores say of themselves."""
    if settings.engine != "difference":
        return settings
    if metadata.get("engine") != "difference":
        return settings.by("jvp")
    return replace(settings, step=metadata["step"])
