"""What a command is: its name, the options that it takes, and what it does.

Commands import what they need when they run, so that help comes at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.errors import InputError
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.commands import libraries
    from ifguide.run import actions, folder
    from ifguide.run.actions import Manner
    from ifguide.settings import reader
    from ifguide.settings.config import Config
else:
    actions = functions_of("ifguide.run.actions")
    folder = functions_of("ifguide.run.folder")
    libraries = functions_of("ifguide.commands.libraries")
    reader = functions_of("ifguide.settings.reader")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the command line.

    Args:
        name: what it is called.
        about: what it does, in a line.
        add_options: declares what it takes.
        do: does it; its arguments are what was parsed, and what was not: overrides of settings.
        settles: whether dotted options of settings may follow.
    """

    name: str
    about: str
    add_options: Callable[[argparse.ArgumentParser], None]
    do: Callable[[argparse.Namespace, Sequence[str]], int]
    settles: bool = False


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare what every command takes that works in a run folder by a YAML file."""
    parser.add_argument("config", type=Path, nargs="?", help="the YAML file of the run")
    parser.add_argument("--out", type=Path, help="the run folder")
    add_manner(parser)
    parser.add_argument("--print_config", action="store_true", help="print all settings, stop")
    parser.add_argument("--settings", action="store_true", help="list every setting, stop")


def add_manner(parser: argparse.ArgumentParser) -> None:
    """Declare how a run folder is worked in."""
    parser.add_argument("--replace", action="store_true", help="make again what differs")
    add_verify(parser)


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Declare how thoroughly a run folder is checked."""
    parser.add_argument(
        "--verify", action="store_true", help="read every byte, not sizes and times alone"
    )


def add_folder(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Declare the folder of a finished run, and whether code that it brings along may run."""
    parser.add_argument("dir", type=Path, nargs=None if needed else "?", help="the run folder")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that comes with its models"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare a file for the figures."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.add_argument("--replace", action="store_true", help="write over a file that is there")


def folder_of(parsed: argparse.Namespace) -> Path:
    """Return the folder of a run, seen to be one before anything heavy is imported.

    Raises:
        InputError: it is none.
    """
    given: Path = parsed.dir
    folder.check_run_folder(given)
    return given


def manner_of(parsed: argparse.Namespace) -> Manner:
    """Return how the run folder is worked in; other libraries are silenced for it."""
    libraries.hush(quiet=parsed.quiet)
    return actions.Manner(quiet=parsed.quiet, replace=parsed.replace, verify=parsed.verify)


def settings_of(parsed: argparse.Namespace, overrides: Sequence[str]) -> Config | None:
    """Return the settings of a run, or None if they were only to be shown.

    Raises:
        InputError: there are none, they do not fit, or no run folder is given.
    """
    if parsed.settings:
        print(reader.describe(), end="")
        return None
    if parsed.config is None:
        raise InputError(f"ifguide {parsed.name}: no YAML file given; see `ifguide --help`")
    config = reader.read_config(parsed.config, overrides)
    if parsed.print_config:
        print(reader.to_yaml(config), end="")
        return None
    if parsed.out is None:
        raise InputError("--out: no run folder given; add --out DIR")
    return config
