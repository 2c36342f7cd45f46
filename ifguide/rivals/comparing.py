"""Drive a comparison in a run folder: make what is missing, and write what it comes to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import torch

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.comparison import Comparison as Table
from ifguide.evaluation.comparison import MethodFigures, write_comparison
from ifguide.files import write_text
from ifguide.report.comparison import methods_markdown, render_methods
from ifguide.report.tradeoff import tradeoff_figure
from ifguide.rivals.compare import Comparison
from ifguide.rivals.methods import Row, rows_of
from ifguide.rivals.result import ComparisonTerms, Origin, result_of
from ifguide.rivals.sweep import Grid, swept
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import Store
from ifguide.settings.config import Config
from ifguide.settings.reader import to_yaml

log = logging.getLogger(__name__)


def compare(
    config: Config,
    out: Path,
    wanted: Sequence[str] = ("all",),
    *,
    command: str = "",
    quiet: bool = False,
    replace: bool = False,
) -> Table | None:
    """Evaluate methods from one start as rows of a table, in ``out/compare``.

    Args:
        config: the run's settings; ``config.compare`` is what the rivals need.
        out: the run folder; what it holds already is reused.
        wanted: methods by name (see ``ifguide.methods.rows_of``).
        command: what the table says that it was made with.
        quiet: no progress lines.
        replace: allow a folder that was made with other settings.

    Returns:
        what table.json holds, on the main rank.

    Raises:
        InputError: something given cannot be used; what no method needs is not asked for.
    """
    with _opened(config, out, quiet=quiet, replace=replace) as comparison:
        names = ["baseline", *wanted]
        rows = rows_of(names, list(comparison.models.trainings))
        return _table(comparison, _possible(comparison, rows, names), out / "compare", command)


def sweep(
    config: Config,
    out: Path,
    grid: Grid,
    training: str | None = None,
    *,
    command: str = "",
    quiet: bool = False,
    replace: bool = False,
) -> Table | None:
    """Evaluate our method at many settings without scoring again, in ``out/sweep``.

    Args:
        config: the run's settings.
        out: the run folder.
        grid: what is varied.
        training: the way of training, one of ``compare.trainings``; by default the first.
        command: what the table says that it was made with.
        quiet: no progress lines.
        replace: allow a folder that was made with other settings.

    Returns:
        what table.json holds, on the main rank.
    """
    with _opened(config, out, quiet=quiet, replace=replace) as comparison:
        trainings = comparison.models.trainings
        name = training or next(iter(trainings))
        if name not in trainings:
            raise InputError(
                f"--training: '{name}' is not in compare.trainings; use one of "
                f"{', '.join(trainings)}"
            )
        methods = swept(grid, config.selection, trainings[name].objective)
        rows = rows_of(["all"], [name], methods)
        return _table(comparison, rows, out / "sweep", command)


@contextmanager
def _opened(config: Config, out: Path, *, quiet: bool, replace: bool) -> Iterator[Comparison]:
    """Open a run folder whose settings have been checked."""
    ranks.start()
    try:
        with Store(out, to_yaml(config), replace=replace) as store:
            run = Pipeline(config, store, quiet=quiet)
            run.check()
            with Comparison(run) as comparison:
                yield comparison
    finally:
        ranks.stop()


def _possible(comparison: Comparison, rows: Sequence[Row], named: Sequence[str]) -> tuple[Row, ...]:
    """Refuse a row that is named and lacks a setting; one that came with ``all`` is left out."""
    possible = []
    for row in rows:
        try:
            comparison.check(row)
        except InputError as error:
            if {row.name, row.method.name} & set(named):
                raise
            log.warning("%s is left out: %s", row.name, error)
        else:
            possible.append(row)
    return tuple(possible)


def _table(comparison: Comparison, rows: Sequence[Row], folder: Path, command: str) -> Table | None:
    """Make the rows one by one, and write the table anew after each."""
    done: list[MethodFigures] = []
    result, human = None, comparison.evaluations.human_text()
    config, labeller = comparison.run.config, comparison.labeller(rows)
    terms = ComparisonTerms(
        evaluation=config.evaluation, thresholds=config.compare.thresholds, seed=config.seed
    )
    origin = Origin(
        command=command,
        date=date.today().isoformat(),
        machine=f"{os.cpu_count()}-core {_device()}, torch {torch.__version__}",
    )
    for row in rows:
        done.append(comparison.row(row))
        if ranks.is_main():
            result = result_of(done, terms, origin, labeller, human)
            _write(result, folder)
    return result


def _write(result: Table, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_comparison(folder / "table.json", result)
    write_text(folder / "table.md", methods_markdown(result))
    write_text(folder / "tradeoff.svg", str(tradeoff_figure(result.rows)))
    write_text(folder / "index.html", render_methods(result))


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
