"""Evaluate methods as rows of one table, making what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property

from ifguide.evaluation.comparison import MethodCost, MethodFigures
from ifguide.rivals.cost import GENERATING, TRAINING, Spent, cost_of
from ifguide.rivals.evaluations import Evaluations
from ifguide.rivals.methods import BASELINE, Row
from ifguide.rivals.models import Models, owner_of
from ifguide.rivals.preferences import PAIRS, REWARD, Preferences
from ifguide.rivals.proxy import proxy_model
from ifguide.rivals.scorers import Scorers
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import Store
from ifguide.settings.reader import to_yaml

PROXY = "proxy"  # the folder of the smaller model's run


class Comparison:
    """The rows of a comparison over one run; use as a context manager."""

    def __init__(self, run: Pipeline) -> None:
        self.run = run
        self.preferences = Preferences(run)
        self.scorers = Scorers(run, lambda: self.proxy)
        self.models = Models(run, self.scorers, self.preferences)
        self.evaluations = Evaluations(run, self.models, self.preferences)
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

    def row(self, row: Row) -> MethodFigures:
        """Return what the table says of a row: what it is, its figures, and what it cost."""
        figures = self.evaluations.figures(row)
        cost = cost_of(self._stages(row), int(self.run.text.corpus.tokens.size))
        return MethodFigures(
            name=row.name,
            about=row.method.about,
            figures=figures,
            cost=MethodCost(
                seconds=cost["seconds"],
                passes=cost["passes"],
                passes_a_generated_token=self._decoding_passes(row),
            ),
        )

    def _decoding_passes(self, row: Row) -> int:
        """The model's pass and, of RAD, one of the reward model for each candidate."""
        return 1 + (self.run.config.compare.decoding.top_k if row.method.reward else 0)

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
