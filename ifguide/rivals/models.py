"""The models that methods come to, each kept in the run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ifguide.files import fingerprint_of
from ifguide.models.load import load_checkpoint
from ifguide.nouns import Selection
from ifguide.rivals.methods import BASELINE, METHODS, Mask, Row
from ifguide.rivals.preferences import Preferences
from ifguide.rivals.scorers import Scorers
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import StageFolder
from ifguide.selection.config import SelectionConfig
from ifguide.selection.documents import select_documents
from ifguide.selection.select import select
from ifguide.training.config import TrainingConfig

RUN = "run"  # the name of the run's own way of training, where no other is set


@dataclass(frozen=True, eq=False)
class Models:
    """Makes the model of a row, by the run's and the rivals' scores and preferences."""

    run: Pipeline
    scorers: Scorers
    preferences: Preferences

    @property
    def trainings(self) -> dict[str, TrainingConfig]:
        """The ways of training by name."""
        return self.run.config.compare.trainings or {RUN: self.run.config.training}

    def model(self, row: Row) -> nn.Module:
        """Return the row's model, made first if it is not there."""
        row = owner_of(row)
        if row.method.name == BASELINE:
            return self.run.baseline
        if self._is_the_run_s(row):
            return self.run.suppressed
        make = self._make_preferring if row.method.preferences else self._make_masked
        return self.run.kept(
            self.stage(row),
            self.inputs(row),
            make(row),
            load_checkpoint,
            before=lambda: self._earlier(row),
            total=lambda: self._tokens(row),
        )

    def stage(self, row: Row) -> str:
        """Return the stage that holds the row's model."""
        row = owner_of(row)
        if row.method.name == BASELINE:
            return BASELINE
        return "train" if self._is_the_run_s(row) else str(Path("methods", "models", row.name))

    def inputs(self, row: Row) -> dict[str, Any]:
        """Return all that decides the row's model."""
        row, run = owner_of(row), self.run
        if row.method.name == BASELINE:
            return run.inputs("baseline")
        if self._is_the_run_s(row):
            return run.inputs("train")
        decided: dict[str, Any] = {
            "stage": "model",
            "baseline": fingerprint_of(run.inputs("baseline")),
            "seed": run.config.seed,
        }
        if row.method.preferences:
            return {**decided, "preferences": self.preferences.inputs(row.method.preferences)}
        decided["training"] = fingerprint_of([self.training(row), run.config.model])
        mask = row.method.mask
        if mask is not None:
            decided["scores"] = fingerprint_of(self.scorers.inputs(mask.scorer))
            decided["mask"] = fingerprint_of([mask, self._choice(mask)])
        return decided

    def training(self, row: Row) -> TrainingConfig:
        """Return how a row's model is trained, its own objective put in."""
        training, mask = self.trainings[row.training], row.method.mask
        if mask is None or mask.objective is None:
            return training
        return replace(training, objective=mask.objective)

    def selection(self, mask: Mask) -> Selection:
        """Return what a mask keeps from being learnt."""
        scores, config = self.scorers.scores(mask.scorer), self.run.config
        if mask.smoothed:
            scores = self.run.smooth(scores)
        if mask.documents is not None:
            return select_documents(scores, config.compare.document_budget, mask.documents)
        return select(scores, mask.selection or config.selection)

    def _choice(self, mask: Mask) -> list[Any]:
        """The run's settings that decide what a mask holds, beside the scores."""
        config = self.run.config
        if mask.documents is not None:
            return [config.compare.document_budget]
        chosen: SelectionConfig = mask.selection or config.selection
        return [chosen, [config.smoothing, config.lexicon] if mask.smoothed else None]

    def _is_the_run_s(self, row: Row) -> bool:
        """Whether the run's own stage ``train`` is this model."""
        same = self.trainings.get(row.training) == self.run.config.training
        return same and row.method == METHODS["ours"]

    def _make_masked(self, row: Row) -> Callable[[StageFolder], None]:
        def make(out: StageFolder) -> None:
            mask, training = row.method.mask, self.training(row)
            selection = None if mask is None else self.selection(mask)
            self.run.train(self.run.start_of(training), selection, training, out)

        return make

    def _make_preferring(self, row: Row) -> Callable[[StageFolder], None]:
        kind = row.method.preferences
        assert kind is not None
        return lambda out: self.preferences.train(kind, out)

    def _earlier(self, row: Row) -> None:
        _ = self.run.baseline
        if row.method.mask is not None:
            self.scorers.scores(row.method.mask.scorer)
        if row.method.preferences:
            self.preferences.pairs(row.method.preferences)

    def _tokens(self, row: Row) -> int | None:
        if row.method.preferences:
            return None
        return int(self.run.text.corpus.tokens.size * self.training(row).epochs)


def owner_of(row: Row) -> Row:
    """Return the row whose model a row uses; itself, if it has its own."""
    return replace(row, method=METHODS[row.method.model]) if row.method.model else row
