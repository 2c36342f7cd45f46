"""Comparisons over one run: every method from the same start, as rows of one table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

import torch
from torch import nn

from ifguide.distributed import ranks
from ifguide.evaluation.comparison import Comparison, MethodCost, MethodCurve, MethodFigures
from ifguide.evaluation.figures import ModelFigures
from ifguide.evaluation.human_text import HumanScores
from ifguide.evaluation.typed_json import typed_text
from ifguide.models.tracked import find_tracked
from ifguide.report.comparison import methods_markdown, render_methods
from ifguide.report.tradeoff import tradeoff_figure
from ifguide.rivals.methods import MethodRow
from ifguide.rivals.result import ComparisonTerms, Origin, result_of
from ifguide.run.rivals import HUMAN_TEXT, Rivals
from ifguide.run.rivals_given import labeller_of
from ifguide.run.rivals_sources import reward_of
from ifguide.run.run import Run, closure
from ifguide.run.scorers import JUDGED_SCORERS, PROXY_BASELINE
from ifguide.run.stage import AnyStage
from ifguide.run.stages import BASELINE, CORPUS

TABLE = ("table.json", "table.md", "tradeoff.svg", "index.html")


def write_table(
    run: Run, rows: Sequence[MethodRow], folder: str, command: str
) -> Comparison | None:
    """Make the rows one by one, and write the table anew after each.

    Args:
        run: the run.
        rows: what is compared, the first one being what the others are set against.
        folder: in the run folder, where the table goes.
        command: what the table says that it was made with.

    Returns:
        what table.json holds, on the main rank.
    """
    if ranks.is_main():
        run.folder.check_outputs(f"{folder}/{name}" for name in TABLE)
    config, result, done = run.config, None, []
    human = human_text(run)
    rivals = Rivals(config)
    labeller = labeller_of(config) if any(map(rivals.is_labelled, rows)) else None
    filters = any(row.method.mask and row.method.mask.scorer in JUDGED_SCORERS for row in rows)
    terms = ComparisonTerms(
        evaluation=config.evaluation, thresholds=config.compare.thresholds, seed=config.seed
    )
    origin = Origin(
        command=command,
        date=date.today().isoformat(),
        machine=f"{os.cpu_count()}-core {_device()}, torch {torch.__version__}",
    )
    for row in rows:
        with run.forgetting():
            done.append(figures_of(run, row))
        if ranks.is_main():
            filtered_by = config.compare.filters.judge if filters else None
            result = result_of(done, terms, origin, labeller, human, filtered_by)
            _write(run, result, folder)
    return result


def human_text(run: Run) -> HumanScores | None:
    """Return what judges make of text that people wrote; None where there is none to judge."""
    found = run(HUMAN_TEXT)
    return found if found.scores and all(found.scores.values()) else None


def figures_of(run: Run, row: MethodRow) -> MethodFigures:
    """Return what the table says of a row: what it is, its figures, and what it cost.

    A row with a curve is shown as the point that is chosen.
    """
    rivals, shown = Rivals(run.config), shown_row(run, row)
    toxicity, fluency = run(rivals.judged(shown)), run(rivals.fluency(shown))
    return MethodFigures(
        name=row.name,
        about=shown.method.about,
        figures=ModelFigures.of(toxicity.judges, fluency),
        cost=cost(run, shown),
        curve=_curve(run, row),
    )


def shown_row(run: Run, row: MethodRow) -> MethodRow:
    """Return the point of a row's curve that is chosen; without a curve, the row itself."""
    rivals = Rivals(run.config)
    points = rivals.points(row)
    if len(points) == 1:
        return row
    for point in points:
        with run.forgetting():
            run.ensure(rivals.judged_apart(point))
            run.ensure(rivals.fluency(point))
    chosen = run(rivals.choice(row)).chosen
    return next(point for point in points if point.name == chosen)


def _curve(run: Run, row: MethodRow) -> MethodCurve | None:
    """Return a row's curve with what each point cost."""
    rivals = Rivals(run.config)
    rows = {point.name: point for point in rivals.points(row)}
    if len(rows) == 1:
        return None
    curve = run(rivals.choice(row))
    points = tuple(replace(point, cost=cost(run, rows[point.name])) for point in curve.points)
    return replace(curve, points=points)


def cost(run: Run, row: MethodRow) -> MethodCost:
    """Return what a row's model costs beside the baseline's training, and its decoding."""
    corpus_tokens = int(run(CORPUS).corpus.tokens.size)
    seconds = passes = 0.0
    for stage in _beside_the_baseline(run, row):
        spent, settings = run.cost(stage), stage.settings(run.config)
        seconds += spent.seconds
        worth = stage.passes(settings, lambda stage=stage: run(stage)) * _size(run, stage)  # type: ignore[misc]
        passes += spent.tokens * worth / corpus_tokens
    decoding = 0
    if row.method.reward:
        decoding = (row.method.decoding or run.config.compare.decoding).top_k
    return MethodCost(
        seconds=round(seconds, 1),
        passes=round(passes, 3),
        passes_a_generated_token=1 + decoding,
    )


def _beside_the_baseline(run: Run, row: MethodRow) -> Iterator[AnyStage]:
    """Yield the stages that a row's model and decoding take beside the baseline's training."""
    common = {stage.name for stage in closure([BASELINE], run.config)}
    reward = [reward_of(run.config)] if row.method.reward else []
    wanted = [Rivals(run.config).model(row), *reward]
    for stage in closure(wanted, run.config):
        if stage.name not in common and stage.kept(run.config):
            yield stage


def _size(run: Run, stage: AnyStage) -> float:
    """Return the size of the model that a stage runs, as a share of the compared one's."""
    below = {earlier.name for earlier in closure([stage], run.config)}
    if PROXY_BASELINE.name not in below or BASELINE.name in below:
        return 1.0
    return _weights(run(PROXY_BASELINE).model) / _weights(run(BASELINE).model)


def _weights(model: nn.Module) -> int:
    return sum(weight.parameter.numel() for weight in find_tracked(model))


def _write(run: Run, result: Comparison, folder: str) -> None:
    texts = {
        "table.json": typed_text(result),
        "table.md": methods_markdown(result),
        "tradeoff.svg": str(tradeoff_figure(result.rows)),
        "index.html": render_methods(result),
    }
    for name, text in texts.items():
        run.folder.output(f"{folder}/{name}", text)


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
