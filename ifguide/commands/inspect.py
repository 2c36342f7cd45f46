"""``ifguide inspect``: the highest-ranked documents of a run, tokens coloured."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, folder_of
from ifguide.errors import InputError
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import actions
else:
    actions = functions_of("ifguide.run.actions")
    libraries = functions_of("ifguide.commands.libraries")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--doc", action="append", default=[], help="a document's id")
    parser.add_argument("--top", type=int, default=10, help="how many documents (default 10)")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    if parsed.top < 1:
        raise InputError(f"--top: {parsed.top} is below 1; give the number of documents to show")
    colour, trust = sys.stdout.isatty() and "NO_COLOR" not in os.environ, parsed.trust_remote_code
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    shown = actions.inspect(folder, parsed.top, parsed.doc, colour=colour, trust_remote_code=trust)
    for line in shown:
        print(line)
    return 0


INSPECT = Command(
    name="inspect",
    about="show the highest-ranked documents of a run, tokens coloured",
    add_options=_add_options,
    do=_do,
)
