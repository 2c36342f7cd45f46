"""``ifguide push``: a finished run's mask and model to a hub, each with its card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_manner, folder_of
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import pushing
else:
    libraries = functions_of("ifguide.commands.libraries")
    pushing = functions_of("ifguide.run.pushing")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--mask", metavar="REPO", help="a dataset's repository, for the mask")
    parser.add_argument("--model", metavar="REPO", help="a repository for the suppressed model")
    parser.add_argument("--dry", type=Path, metavar="FOLDER", help="write it here, push nothing")
    parser.add_argument("--private", action="store_true", help="make private repositories")
    add_manner(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    folder = folder_of(parsed)
    libraries.hush(quiet=parsed.quiet)
    made = pushing.push(
        folder,
        mask=parsed.mask,
        model=parsed.model,
        dry=parsed.dry,
        private=parsed.private,
        replaced=parsed.replace,
        verify=parsed.verify,
        trust_remote_code=parsed.trust_remote_code,
    )
    for place in made:
        print(place)
    return 0


PUSH = Command(
    name="push",
    about="push a run's mask and model to a hub, each with its card",
    add_options=_add_options,
    do=_do,
)
