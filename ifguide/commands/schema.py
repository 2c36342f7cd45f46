"""``ifguide schema``: the settings' JSON schema, which editors use."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ifguide.commands.command import Command
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.settings import schema
else:
    schema = functions_of("ifguide.settings.schema")


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Take nothing."""


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    print(json.dumps(schema.schema(), indent=2, ensure_ascii=False))
    return 0


SCHEMA = Command(
    name="schema",
    about="print the JSON schema of the settings, for editors",
    add_options=_add_options,
    do=_do,
)
