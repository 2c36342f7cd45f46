"""What was tried to raise the precision of a run's token scores, each way with its figures.

    python benchmarks/refine.py DIR [--directions | --checkpoint DIR] [--out FILE.md] [--blocks N]
    python benchmarks/refine.py --quick

DIR is a run folder with a finished `ifguide score`; nothing is written into it. Settings were
chosen by the documents of even number, so that those of odd number say what they are worth. No
way sees a human mark but those of the run's queries. Markdown goes to stdout and to --out, and the
same as JSON beside it, as far as the rows are done.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from directions import averaged, directions
from localise import describe, make_quick_run
from refinements import readings
from scorers import Row, Run, open_run
from transformers.utils import logging as transformers_logging

from ifguide import Corpus, InputError
from ifguide.evaluation.character_f1 import top_tokens
from ifguide.evaluation.localisation import localisation
from ifguide.files import write_json, write_text
from ifguide.nouns import Interval

FIGURES = {
    "average_precision": "AP",
    "precision_at_1_percent": "P@1%",
    "precision_at_2_percent": "P@2%",
    "precision_at_3_percent": "P@3%",
}
HALVES = ("even", "odd")
QUICK_BLOCKS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 2 after one line about input that cannot be used."""
    parsed = _parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/refine.py", *given])
    transformers_logging.disable_progress_bar()
    try:
        if not parsed.quick and parsed.dir is None:
            raise InputError("no run folder given; name one, or use --quick")
        with tempfile.TemporaryDirectory() as scratch:
            folder = make_quick_run(Path(scratch)) if parsed.quick else parsed.dir
            blocks = parsed.blocks or (QUICK_BLOCKS if parsed.quick else None)
            tabulate(open_run(folder, blocks, quiet=parsed.quiet), parsed, command)
    except InputError as error:
        print(f"refine: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Ways to raise the precision of token scores.")
    parser.add_argument("dir", type=Path, nargs="?", help="a run folder with finished scores")
    parser.add_argument("--directions", action="store_true", help="other directions, not readings")
    parser.add_argument("--checkpoint", type=Path, help="an earlier checkpoint, alone and averaged")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--blocks", type=int, help="compare on this many blocks, drawn by seed")
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--quick", action="store_true", help="both kinds, on a tiny run of its own")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


def tabulate(run: Run, parsed: argparse.Namespace, command: str) -> None:
    """Measure row by row, writing what there is each time, and print the table."""
    about, found = describe(run, command, parsed.resamples), []
    for row in _rows(run, parsed):
        found.append(measure(row, run.part, parsed.resamples, run.config.seed))
        if parsed.out:
            write_text(parsed.out, render(about, found))
            write_json(parsed.out.with_suffix(".json"), {**about, "rows": found})
    print(render(about, found), end="")


def _rows(run: Run, parsed: argparse.Namespace) -> Iterator[Row]:
    if parsed.checkpoint:
        yield from averaged(run, parsed.checkpoint)
        return
    if parsed.quick or not parsed.directions:
        yield from readings(run)
    if parsed.quick or parsed.directions:
        yield from directions(run)


def measure(row: Row, part: Corpus, resamples: int, seed: int) -> dict[str, Any]:
    """A row's figures on each half of the documents."""
    marked, document = np.asarray(part.marked), np.asarray(part.document)
    halves = {}
    for number, half in enumerate(HALVES):
        counted = part.has_loss & (document % 2 == number)
        found = localisation(row.values, marked, document, counted, resamples=resamples, seed=seed)
        top = marked[top_tokens(np.asarray(row.values), counted, 0.03, seed=seed)]
        halves[half] = {**found, "precision_at_3_percent": float(top.mean())}
    return {"name": row.name, "meaning": row.meaning, **halves}


def render(about: dict[str, Any], rows: Sequence[dict]) -> str:
    """The whole Markdown page."""
    heads = [f"{figure}, {half}" for half in HALVES for figure in FIGURES.values()]
    lines = [
        "# Ways to raise the precision of token scores",
        "",
        f"`{about['command']}`, {about['date']}, {about['machine']}.",
        "",
        f"{about['blocks']} of the corpus's {about['blocks_of_corpus']} blocks; {about['queries']} "
        "queries. Settings were chosen by documents of even",
        "number. In brackets: 95% bootstrap intervals over documents.",
        "",
        f"| way | {' | '.join(heads)} |",
        "|---" * (1 + len(heads)) + "|",
    ]
    for row in rows:
        cells = [_shown(row[half][name], half) for half in HALVES for name in FIGURES]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    lines += ["", *(f"- {row['name']}: {row['meaning']}" for row in rows)]
    return "\n".join(lines) + "\n"


def _shown(figure: Interval | float, half: str) -> str:
    if not isinstance(figure, Interval):
        return f"{figure:.3f}"
    interval = f" [{figure.low:.3f}, {figure.high:.3f}]" if half == "odd" else ""
    return f"{figure.value:.3f}{interval}"


if __name__ == "__main__":
    sys.exit(main())
