"""``ifguide schema``: the settings' JSON schema, which editors use."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from ifguide.commands.command import Command


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Take nothing."""


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    from ifguide.settings.schema import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return 0


SCHEMA = Command(
    name="schema",
    about="print the JSON schema of the settings, for editors",
    add_options=_add_options,
    do=_do,
    works=False,
)
