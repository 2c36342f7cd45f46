"""``ifguide score-corpus``: new documents by a finished run's direction and threshold."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.commands.command import Command, add_folder, add_manner, folder_of, manner_of
from ifguide.corpus.config import Source
from ifguide.files import read_json
from ifguide.lazily import functions_of

if TYPE_CHECKING:
    from ifguide.run import screening
    from ifguide.settings import plain, reader
else:
    screening = functions_of("ifguide.run.screening")
    plain = functions_of("ifguide.settings.plain")
    reader = functions_of("ifguide.settings.reader")


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument(
        "--source",
        action="append",
        required=True,
        help="a file or folder of documents, or a source as in the YAML: '{path: P, text: FIELD}'",
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for the scores")
    parser.add_argument(
        "--to",
        choices=("spans", "shards"),
        default="spans",
        help="a line of JSON a document with the score of each span (spans), or shards alone",
    )
    parser.add_argument("--scorer", type=Path, help="a folder of `ifguide distil`, which scores")
    add_manner(parser)


def _do(parsed: argparse.Namespace, overrides: Sequence[str]) -> int:
    sources = [_source(given) for given in parsed.source]
    folder, spans = folder_of(parsed), parsed.to == "spans"
    found = screening.score_corpus(
        folder,
        sources,
        parsed.out,
        manner_of(parsed),
        spans=spans,
        scorer=parsed.scorer,
        trust_remote_code=parsed.trust_remote_code,
    )
    if found is not None and spans:
        told = read_json(parsed.out / "spans" / "summary.json")
        print(
            f"{told['above']:,} of {told['tokens']:,} tokens of {told['documents']:,} documents "
            f"are above the run's threshold, {told['threshold']:.4g}"
        )
    if found is not None:
        name = "spans/spans.jsonl" if spans else "scores"
        print(f"The scores: {os.path.join(parsed.out, name)}")
    return 0


def _source(given: str) -> Source:
    """Return what an option says: a path, or the settings of a source in braces.

    Raises:
        InputError: the settings do not fit.
    """
    if given.lstrip().startswith("{"):
        return reader.checked(Source, plain.read_plain_yaml(given, "--source"))
    return Source(path=given)


SCORE_CORPUS = Command(
    name="score-corpus",
    about="score new documents by a finished run's direction and threshold",
    add_options=_add_options,
    do=_do,
)
