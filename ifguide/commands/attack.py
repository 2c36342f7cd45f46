"""``ifguide attack``: suffixes, fine-tuning and looks inside, on models of a finished run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.attacks.config import KINDS, AttackConfig
from ifguide.commands.command import Command, add_folder, add_manner, folder_of, manner_of
from ifguide.errors import InputError
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.report import attacks
    from ifguide.run import actions
    from ifguide.settings import manual, reader
else:
    actions = functions_of("ifguide.run.actions")
    attacks = functions_of("ifguide.report.attacks")
    manual = functions_of("ifguide.settings.manual")
    reader = functions_of("ifguide.settings.reader")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser, needed=False)
    parser.add_argument("--out", type=Path, help="where the page goes (the run folder's attacks)")
    parser.add_argument(
        "--kind", action="append", choices=list(KINDS), help=f"{', '.join(KINDS)} (default: all)"
    )
    parser.add_argument(
        "--models",
        default="baseline,suppressed",
        help="names with commas between: these, rows of a comparison, or all that are made",
    )
    add_manner(parser)
    parser.add_argument("--settings", action="store_true", help="list every setting, stop")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    if parsed.settings:
        print(manual.manual(AttackConfig).rstrip("\n"))
        return 0
    if parsed.dir is None:
        raise InputError("ifguide attack: no run folder given; see `ifguide attack --help`")
    folder = folder_of(parsed)
    config = reader.with_overrides(AttackConfig(), overrides)

    kinds, trust = parsed.kind or list(KINDS), parsed.trust_remote_code
    models = [name.strip() for name in parsed.models.split(",") if name.strip()]
    manner = manner_of(parsed)
    found = actions.attack(
        folder, config, kinds, parsed.out, manner, models=models, trust_remote_code=trust
    )
    print(attacks.attack_text(found))
    print(f"\nThe page: {(parsed.out or parsed.dir / 'attacks') / 'attacks.md'}")
    return 0


ATTACK = Command(
    name="attack",
    about="attack models of a run: GCG, relearning, lens, activations",
    add_options=_add_options,
    do=_do,
    settles=True,
)
