"""``ifguide estimate``: time, memory and disk of each stage, before anything is computed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command
from ifguide.errors import InputError
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.report import tables
    from ifguide.run import estimate, progress
    from ifguide.settings import reader
else:
    estimate = functions_of("ifguide.run.estimate")
    libraries = functions_of("ifguide.commands.libraries")
    progress = functions_of("ifguide.run.progress")
    reader = functions_of("ifguide.settings.reader")
    tables = functions_of("ifguide.report.tables")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the YAML file of the run")
    parser.add_argument("--out", type=Path, help="where the run folder will be, for the free disk")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="what the run will use (best)")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = reader.read_config(parsed.config, overrides)
    libraries.hush(quiet=parsed.quiet)
    with progress.progress_line("estimate", None, quiet=parsed.quiet):
        found = estimate.estimate(config, parsed.out, parsed.device)
    print(tables.plain_text(estimate.estimate_table(found)))
    print(f"\n{estimate.said_of(found)}")
    if found.problems:
        raise InputError("; and ".join(found.problems))
    return 0


ESTIMATE = Command(
    name="estimate",
    about="tell what a run will take, stage by stage, before anything is computed",
    add_options=_add_options,
    do=_do,
    settles=True,
)
