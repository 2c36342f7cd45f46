"""``ifguide export-pair``: two perturbed checkpoints, for scores by any engine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ifguide.commands.command import Command, add_run_options, manner_of, settings_of


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    parser.add_argument("--step", type=float, help="‖εv‖ as a share of the weights' (0.03)")
    parser.add_argument("--to", type=Path, help="a new folder for a copy of the run folder's pair")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = settings_of(parsed, overrides)
    if config is not None:
        from ifguide.run import actions

        if actions.write_pair(config, parsed.out, parsed.step, parsed.to, manner_of(parsed)):
            place = parsed.to or parsed.out / "pair"
            print(f"The pair: {place} (its README.md says how to go on)")
    return 0


EXPORT_PAIR = Command(
    name="export-pair",
    about="write the models θ+εv and θ-εv, for scores by any engine",
    add_options=_add_options,
    do=_do,
    settles=True,
)
