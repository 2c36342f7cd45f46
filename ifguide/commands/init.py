"""``ifguide init``: a commented YAML for a corpus and a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command
from ifguide.evaluation.judges.registry import JUDGES
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
    parser.add_argument(
        "--judges", nargs="+", default=(), metavar="JUDGE", help="of continuations: hf:NAME, ..."
    )
    parser.add_argument("--out", type=Path, default=Path("run.yaml"), help="the file (run.yaml)")
    parser.add_argument("--replace", action="store_true", help="write over a file that is there")


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    listed = parsed.out.with_suffix(".words.txt")
    for place in (parsed.out, listed):
        check_output(place, replace=parsed.replace)
    for name in parsed.judges:
        JUDGES.check(name.partition(":")[0], "--judges")
    words = starter.word_list(parsed.corpus, parsed.queries)
    text = starter.starter_yaml(
        parsed.corpus,
        parsed.model,
        queries=parsed.queries,
        judges=parsed.judges,
        words=listed.absolute() if words else None,
    )
    write_output(parsed.out, text, replace=parsed.replace)
    if words:
        write_output(listed, "\n".join([*words, ""]), replace=parsed.replace)
        print(f"{listed}: {len(words):,} words that are nearly always marked, a judge of the run")
    print(f"{parsed.out}: read it, then run `ifguide run {parsed.out} --out runs/first`")
    return 0


INIT = Command(
    name="init",
    about="write a commented YAML for a corpus and a model",
    add_options=_add_options,
    do=_do,
)
