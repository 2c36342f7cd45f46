"""``ifguide init``: a commented YAML for a corpus and a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command
from ifguide.files import check_output, write_output
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.settings import starter
else:
    starter = functions_of("ifguide.settings.starter")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", type=Path, required=True, help="a file or folder of texts")
    parser.add_argument("--model", required=True, help="a checkpoint's folder, or a hub name")
    parser.add_argument("--queries", type=Path, help="texts with marked spans, or pairs of texts")
    parser.add_argument("--out", type=Path, default=Path("run.yaml"), help="the file (run.yaml)")
    parser.add_argument("--replace", action="store_true", help="write over a file that is there")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    check_output(parsed.out, replace=parsed.replace)
    text = starter.starter_yaml(parsed.corpus, parsed.model, queries=parsed.queries)
    write_output(parsed.out, text, replace=parsed.replace)
    print(f"{parsed.out}: read it, then run `ifguide run {parsed.out} --out runs/first`")
    return 0


INIT = Command(
    name="init",
    about="write a commented YAML for a corpus and a model",
    add_options=_add_options,
    do=_do,
)
