"""``ifguide run``, and a command for each stage that stops after it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifguide.commands.command import Command, add_run_options, manner_of, settings_of
from ifguide.lazily import functions_of
from ifguide.run.table import STAGES
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.report import tables
    from ifguide.run import actions
else:
    actions = functions_of("ifguide.run.actions")
    tables = functions_of("ifguide.report.tables")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what a command takes that runs stages."""
    add_run_options(parser)
    parser.add_argument(
        "--from-logprobs",
        type=Path,
        nargs=2,
        metavar=("PLUS", "MINUS"),
        help="scores from these log-probabilities (sets scores.logprobs)",
    )
    parser.add_argument("--pair", type=Path, help="folder of the pair (the run folder's pair)")
    parser.add_argument("--force", action="store_true", help="take them below Spearman 0.98 too")


def do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Run the stages up to the one that the command is called after, or all."""
    config = settings_of(parsed, [*overrides, *_logprobs(parsed)])
    if config is not None:
        show_run(config, parsed.out, "report" if parsed.name == "run" else parsed.name, parsed)
    return 0


def show_run(config: Config, out: Path, until: str, parsed: argparse.Namespace) -> None:
    """Run the stages up to one, and show what the last one came to."""
    noun: Any = actions.run(config, out, until, manner_of(parsed))
    if until == "score" and noun is not None and "spearman" in noun.metadata:
        print(f"Spearman with float32 jvp on a probe: {noun.metadata['spearman']:.4f}")
    if until == "report" and noun is not None:
        print(tables.comparison_table(noun))
        print(f"\nThe page: {out / 'report.html'}")


def _logprobs(parsed: argparse.Namespace) -> list[str]:
    """Return the settings that options about log-probabilities stand for."""
    if parsed.from_logprobs is None:
        return []
    plus, minus = parsed.from_logprobs
    pair = parsed.pair or (parsed.out or Path()) / "pair"
    files = {"plus": plus, "minus": minus, "pair": pair}
    words = [f"--scores.logprobs.{name}={file.absolute()}" for name, file in files.items()]
    return [*words, f"--scores.logprobs.force={str(parsed.force).lower()}"]


RUN = Command(name="run", about="run every stage", add_options=add_options, do=do, settles=True)
STAGE_COMMANDS = tuple(
    Command(
        name=name,
        about=f"run the stages up to '{name}'",
        add_options=add_options,
        do=do,
        settles=True,
    )
    for name in STAGES.names()
)
