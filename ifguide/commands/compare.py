"""``ifguide compare`` and ``ifguide sweep``: methods from the same start as rows of one table."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_run_options, manner_of, settings_of
from ifguide.rivals.methods import all_methods
from ifguide.rivals.sweep import Grid

if TYPE_CHECKING:
    from ifguide.evaluation.comparison import Comparison

GRID = {"budget": float, "window": int, "quantile": float, "weight": float, "ceiling": float}


def _add_compare_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    parser.add_argument(
        "--methods", default="all", help="all, or METHOD[@TRAINING] with commas between (all)"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    about = (f"  {method.name:<23} {method.about}" for method in all_methods())
    parser.epilog = "\n".join(["methods:", *about])


def _compare(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = settings_of(parsed, overrides)
    if config is not None:
        from ifguide.run import actions

        wanted = [name.strip() for name in parsed.methods.split(",") if name.strip()]
        manner, command = manner_of(parsed), _command(parsed)
        _show(parsed, actions.compare(config, parsed.out, wanted, manner, command=command))
    return 0


def _add_sweep_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    for name, kind in GRID.items():
        parser.add_argument(f"--{name}", type=kind, nargs="+", default=[], metavar="VALUE")
    parser.add_argument("--training", help="one of compare.trainings (the first)")


def _sweep(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = settings_of(parsed, overrides)
    if config is not None:
        from ifguide.run import actions

        grid = Grid(**{name: tuple(getattr(parsed, name)) for name in GRID})
        manner, command = manner_of(parsed), _command(parsed)
        training = parsed.training
        _show(parsed, actions.sweep(config, parsed.out, grid, training, manner, command=command))
    return 0


def _command(parsed: argparse.Namespace) -> str:
    return shlex.join(["ifguide", *parsed.arguments])


def _show(parsed: argparse.Namespace, result: Comparison | None) -> None:
    from ifguide.report.comparison import methods_table
    from ifguide.report.tables import plain_text

    if result is not None:
        print(plain_text(methods_table(result)))
        print(f"\nThe page: {parsed.out / parsed.name / 'index.html'}")


COMPARE = Command(
    name="compare",
    about="run every rival from the same start, and show one table",
    add_options=_add_compare_options,
    do=_compare,
    settles=True,
)
SWEEP = Command(
    name="sweep",
    about="draw toxicity against fluency over settings, without scoring again",
    add_options=_add_sweep_options,
    do=_sweep,
    settles=True,
)
