"""``ifguide demo``: the whole method on the built-in corpus."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_manner
from ifguide.commands.run import show_run
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.settings import reader
else:
    reader = functions_of("ifguide.settings.reader")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="the run folder")
    add_manner(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    with resources.as_file(resources.files("ifguide") / "demo.yaml") as file:
        config = reader.read_config(file, overrides)
    show_run(config, parsed.out, "report", parsed)
    return 0


DEMO = Command(
    name="demo",
    about="run everything on the built-in corpus and show the result",
    add_options=_add_options,
    do=_do,
    settles=True,
)
