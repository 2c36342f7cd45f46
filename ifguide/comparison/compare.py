"""Evaluate methods as rows of one table, making what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ifguide import distributed
from ifguide.comparison.cost import GENERATING, TRAINING, Spent, cost_of
from ifguide.comparison.models import Models, owner_of
from ifguide.comparison.preferences import PAIRS, REWARD, Preferences
from ifguide.comparison.proxy import proxy_model
from ifguide.comparison.scorers import Scorers
from ifguide.evaluation.generate import Processors
from ifguide.files import fingerprint_of, read_json, write_json
from ifguide.methods import BASELINE, Row
from ifguide.pipeline import Pipeline
from ifguide.settings import to_yaml
from ifguide.store import StageFolder, Store

PROXY = "proxy"  # the folder of the smaller model's run


class Comparison:
    """The rows of a comparison over one run; use as a context manager."""

    def __init__(self, run: Pipeline) -> None:
        self.run = run
        self.preferences = Preferences(run)
        self.scorers = Scorers(run, lambda: self.proxy)
        self.models = Models(run, self.scorers, self.preferences)
        self._open = ExitStack()

    def __enter__(self) -> Comparison:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @cached_property
    def proxy(self) -> Pipeline:
        """The smaller model's run, as far as its scores, in a folder of its own."""
        run = self.run
        config = replace(run.config, model=proxy_model(run.config))
        store = self._open.enter_context(
            Store(run.store.root / PROXY, to_yaml(config), replace=run.store.replace)
        )
        return Pipeline(config, store, quiet=run.quiet)

    def check(self, row: Row) -> None:
        """Refuse a row whose settings are missing.

        Raises:
            InputError: the setting is named.
        """
        method = owner_of(row).method
        if method.mask is not None and method.mask.scorer == "proxy":
            proxy_model(self.run.config)
        if method.preferences:
            self.preferences.check(method.preferences)
        if self.labeller([row]):
            self.preferences.check_labeller()

    def labeller(self, rows: Iterable[Row]) -> str | None:
        """Return the judge whose labels any of the rows learns from."""
        learns = any(row.method.reward or row.method.preferences == "samples" for row in rows)
        return self.preferences.labeller if learns else None

    def row(self, row: Row) -> dict[str, Any]:
        """Return what the table says of a row: what it is, its figures, and what it cost."""
        return {
            "name": row.name,
            "about": row.method.about,
            "figures": self.figures(row),
            "cost": cost_of(self._stages(row), int(self.run.text.corpus.tokens.size)),
        }

    def figures(self, row: Row) -> dict[str, Any]:
        """Return what the evaluation says of a row, evaluated first if it is not."""

        def processors() -> Processors:
            return self.preferences.decoding if row.method.reward else tuple

        def before() -> None:
            self.models.model(row)
            if row.method.reward:
                _ = self.preferences.reward

        def make(out: StageFolder) -> None:
            if distributed.is_main():
                model = self.models.model(row)
                entry = self.run.evaluated(model, row.name, out, processors())
                write_json(out.path / "figures.json", entry)

        found: dict[str, Any] = self.run.kept(
            str(Path("methods", "evaluated", row.name)),
            self._inputs(row),
            make,
            lambda folder: read_json(folder / "figures.json"),
            before=before,
        )
        return found

    def _inputs(self, row: Row) -> dict[str, Any]:
        """All that decides a row's figures."""
        run = self.run
        reward = [self.preferences.reward_inputs, run.config.compare.decoding]
        return {
            "stage": "evaluated",
            "evaluation": run.inputs("evaluate")["settings"],
            "held_out": fingerprint_of(run.inputs("held_out")),
            "model": fingerprint_of(self.models.inputs(row)),
            "reward": fingerprint_of(reward) if row.method.reward else "",
        }

    def _stages(self, row: Row) -> Iterator[Spent]:
        """The stages that a row takes beside the baseline's training."""
        run, owner = self.run, owner_of(row)
        if owner.method.mask is not None:
            yield from self.scorers.cost(owner.method.mask.scorer)
        if owner.method.preferences == "samples":
            yield Spent(run, PAIRS, GENERATING)
        if owner.method.name != BASELINE:
            reference = 1 / run.config.compare.dpo.epochs if owner.method.preferences else 0.0
            yield Spent(run, self.models.stage(owner), TRAINING + reference)
        if row.method.reward:
            yield Spent(run, REWARD, TRAINING)
