"""``ifguide status``: how each stage of a run stands, and what made it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_verify
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.run import status
else:
    status = functions_of("ifguide.run.status")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", type=Path, help="the folder of a run or of score-corpus")
    add_verify(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    print(status.folder_text(parsed.dir, verify=parsed.verify))
    return 0


STATUS = Command(
    name="status",
    about="show each stage of a run: whether it stands, by what it was made, what it cost",
    add_options=_add_options,
    do=_do,
)
