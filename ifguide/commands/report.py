"""``ifguide report``: the stage of that name, or two finished runs beside each other."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands import run
from ifguide.commands.command import Command
from ifguide.errors import InputError
from ifguide.files import check_output, write_output
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import beside, folder
else:
    beside = functions_of("ifguide.run.beside")
    folder = functions_of("ifguide.run.folder")
    libraries = functions_of("ifguide.commands.libraries")

PAGE = Path("beside.html")
OF_A_RUN = ("print_config", "settings", "from_logprobs", "pair", "force")  # options of the stage
USAGE = """\
With a YAML file and --out DIR: run the stages up to 'report'. With two run folders, A and B: show
them beside each other, and write the page to --out FILE (beside.html); neither folder is changed.
"""


def _add_options(parser: argparse.ArgumentParser) -> None:
    run.add_options(parser)
    parser.add_argument(
        "other", type=Path, nargs="?", help="a second run folder, where the first is one too"
    )
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="of two runs: run code of a tokenizer"
    )
    parser.epilog = USAGE


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    if parsed.other is not None:
        return _beside(parsed, overrides)
    if parsed.trust_remote_code:
        raise InputError(
            "--trust-remote-code: it is for two run folders; a YAML says trust_remote_code itself"
        )
    if parsed.config is not None and parsed.config.is_dir():
        raise InputError(
            f"{parsed.config}: a folder; give a second run folder to show beside it, or a YAML file"
        )
    return run.do(parsed, overrides)


def _beside(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    given = [f"--{name.replace('_', '-')}" for name in OF_A_RUN if getattr(parsed, name)]
    if unused := [*overrides, *given]:
        raise InputError(f"{unused[0]}: two finished runs are shown as they are; remove it")
    out = parsed.out or PAGE
    check_output(out, replace=parsed.replace)
    for one in (parsed.config, parsed.other):
        folder.check_run_folder(one)
    libraries.hush(quiet=parsed.quiet)
    made = beside.beside(
        parsed.config,
        parsed.other,
        verify=parsed.verify,
        trust_remote_code=parsed.trust_remote_code,
    )
    write_output(out, made.page, replace=parsed.replace)
    print(made.text)
    print(f"\nThe page: {out}")
    return 0


REPORT = Command(
    name="report",
    about="run the stages up to 'report', or show two finished runs beside each other",
    add_options=_add_options,
    do=_do,
    settles=True,
)
