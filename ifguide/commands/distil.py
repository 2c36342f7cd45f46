"""``ifguide distil``: a token scorer that is learnt from a finished run's scores."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_verify, folder_of
from ifguide.influence.config import DistilConfig
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import distilling
else:
    libraries = functions_of("ifguide.commands.libraries")
    distilling = functions_of("ifguide.run.distilling")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the scorer")
    parser.add_argument("--layers", type=int, help="of the model's blocks (a quarter of them)")
    parser.add_argument("--epochs", type=int, help="over the run's corpus (12)")
    parser.add_argument("--replace", action="store_true", help="write over a scorer that is there")
    add_verify(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    given = {"layers": parsed.layers, "epochs": parsed.epochs}
    named = {name: value for name, value in given.items() if value is not None}
    DistilConfig(**{"layers": 1, **named})  # out of its range is refused at once
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    found = distilling.distil_run(
        folder,
        parsed.out,
        named,
        replace=parsed.replace,
        verify=parsed.verify,
        trust_remote_code=parsed.trust_remote_code,
    )
    print(
        f"The scorer: {parsed.out} (Spearman {found.spearman:.3f} and {found.top:.0%} of the "
        f"highest 1% of {found.tokens:,} tokens that it did not learn; {found.passes:.2f} passes a "
        "token)"
    )
    return 0


DISTIL = Command(
    name="distil",
    about="learn a fast token scorer from a finished run's scores",
    add_options=_add_options,
    do=_do,
)
