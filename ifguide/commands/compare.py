"""``ifguide compare`` and ``ifguide sweep``: methods from the same start as rows of one table."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_run_options, manner_of, settings_of
from ifguide.lazily import functions_of
from ifguide.rivals.methods import all_methods
from ifguide.rivals.sweep import Grid

if TYPE_CHECKING:
    from ifguide.evaluation.comparison import Comparison
    from ifguide.report import comparison, tables
    from ifguide.run import actions
else:
    actions = functions_of("ifguide.run.actions")
    comparison = functions_of("ifguide.report.comparison")
    tables = functions_of("ifguide.report.tables")


METHODS_BELOW = "methods:"
GRID = {"budget": float, "window": int, "quantile": float, "weight": float, "ceiling": float}


def _add_compare_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    parser.add_argument(
        "--methods", default="all", help="all, or METHOD[@TRAINING] with commas between (all)"
    )
    parser.formatter_class, parser.epilog = _Help, METHODS_BELOW


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help that ends with the methods; those of other packages are imported for it alone."""

    def add_text(self, text: str | None) -> None:
        if text == METHODS_BELOW:
            text = "\n".join([text, *(_explained(m.name, m.about) for m in all_methods())])
        super().add_text(text)


def _explained(name: str, about: str) -> str:
    """Return what help says of a method, in lines of at most 100 characters."""
    head = f"  {name:<23} "
    return textwrap.fill(about, 100, initial_indent=head, subsequent_indent=" " * len(head))


def _compare(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = settings_of(parsed, overrides)
    if config is not None:
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
        grid = Grid(**{name: tuple(getattr(parsed, name)) for name in GRID})
        manner, command = manner_of(parsed), _command(parsed)
        training = parsed.training
        _show(parsed, actions.sweep(config, parsed.out, grid, training, manner, command=command))
    return 0


def _command(parsed: argparse.Namespace) -> str:
    return shlex.join(["ifguide", *parsed.arguments])


def _show(parsed: argparse.Namespace, result: Comparison | None) -> None:
    if result is not None:
        print(tables.plain_text(comparison.methods_table(result)))
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
