"""How much of the corpus the curvature needs: scores by fits on samples against the full fit's.

    python benchmarks/curvature_sample.py DIR [--shares 0.001 0.01 0.05 0.2] [--out FILE.md]
    python benchmarks/curvature_sample.py --quick

DIR is a run folder with a finished `ifguide score`; nothing is written into it. EK-FAC is fitted on
every block of the corpus, and on samples that are drawn with other seeds, blocks and labels alike.
Each gives a direction from the same query gradient, and the `jvp` scores along it are compared
with those of the full fit over the same blocks. --reference N fits the reference on N blocks
instead, where the whole corpus takes too long; --keep FOLDER keeps every fit, and takes it from
there the next time.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from agreement import agreement, top
from localise import make_quick_run
from scorers import Run, open_run
from transformers.utils import logging as transformers_logging

from ifguide import Curvature, Direction, InputError, fit, score
from ifguide.files import read_json, write_json, write_text
from ifguide.influence.direction import contrast_gradient
from ifguide.models.tracked import find_tracked
from ifguide.run import artifacts

SHARES = (0.001, 0.01, 0.05, 0.2)
OWN = "the run's own"
ROUNDED = "the same, rotated in bfloat16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 2 after one line about input that cannot be used."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        if not parsed.quick and parsed.dir is None:
            raise InputError("no run folder given; name one, or use --quick")
        with tempfile.TemporaryDirectory() as scratch:
            folder = make_quick_run(Path(scratch)) if parsed.quick else parsed.dir
            run = open_run(folder, parsed.blocks, quiet=parsed.quiet)
            print(render(tabulate(run, parsed, given)), end="")
    except InputError as error:
        print(f"curvature_sample: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Scores by curvatures of samples of the corpus.")
    parser.add_argument("dir", type=Path, nargs="?", help="a run folder with finished scores")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the blocks")
    parser.add_argument("--draws", type=int, default=3, help="samples of each share")
    parser.add_argument("--blocks", type=int, help="compare scores on this many, drawn by seed")
    parser.add_argument("--reference", type=int, help="blocks of the reference (default every)")
    parser.add_argument("--keep", type=Path, help="folder where the fits are kept")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="on a tiny run of its own")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


def tabulate(run: Run, parsed: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Fit, aim and score for each sample, writing what there is each time."""
    blocks = len(run.text.corpus.tokens)
    table: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/curvature_sample.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, one thread, torch {torch.__version__}",
        "blocks": blocks,
        "compared_blocks": len(run.rows),
        "tokens": int(run.part.has_loss.sum()),
        "marked": float(run.part.marked[run.part.has_loss].mean()),
        "rows": [],
    }
    gradient, reference = goal(run), None
    drawn: dict[int, list[np.ndarray]] = {}
    for name, sample, seconds, curvature in curvatures(run, parsed):
        values = scores_along(run, name, curvature, gradient)
        reference = values if reference is None else reference
        earlier = drawn.setdefault(sample, [])
        marked = run.part.marked[run.part.has_loss]
        found = {
            "name": name,
            "sample_blocks": sample,
            "fit_seconds": seconds,
            **agreement(values, reference),
            "precision": float(marked[top(values)].mean()),
            "other_draws": [agreement(values, other)["spearman"] for other in earlier],
        }
        earlier.append(values)
        table["rows"].append(found)
        if parsed.out:
            write_text(parsed.out, render(table))
            write_json(parsed.out.with_suffix(".json"), table)
    return table


def curvatures(
    run: Run, parsed: argparse.Namespace
) -> Iterator[tuple[str, int, float | None, Curvature]]:
    """Yield name, blocks, processor seconds if known, and curvature; the reference first."""
    blocks, own = len(run.text.corpus.tokens), run.config.curvature.sample_blocks
    full = min(parsed.reference or blocks, blocks)
    name = "every block" if full == blocks else f"reference, {full / blocks:.1%}"
    yield name, full, *fitted(run, name, full, run.config.seed, parsed.keep)
    if run.curvature.kind == "ekfac":
        yield OWN, min(own, blocks), None, run.curvature
        own_again = fitted(run, ROUNDED, own, run.config.seed, parsed.keep, rotation="bfloat16")
        yield ROUNDED, min(own, blocks), *own_again
    for share in parsed.shares:
        sample = max(1, round(share * blocks))
        for draw in range(1, parsed.draws + 1):
            name = f"{share:.1%}, draw {draw}"
            yield name, sample, *fitted(run, name, sample, run.config.seed + draw, parsed.keep)


def fitted(
    run: Run,
    name: str,
    sample: int,
    seed: int,
    keep: Path | None,
    rotation: Literal["full", "bfloat16"] = "full",
) -> tuple[float, Curvature]:
    """Fit EK-FAC on a sample of the corpus, unless it is kept; processor seconds and curvature."""
    rounded = "" if rotation == "full" else f"-{rotation}"
    kept = keep and keep / f"{sample}-blocks-seed-{seed}{rounded}"
    if kept and (kept / "seconds.json").exists():
        return read_json(kept / "seconds.json"), artifacts.load_curvature(kept)
    settings = replace(run.config.curvature, kind="ekfac", sample_blocks=sample, rotation=rotation)
    corpus, start = run.text.corpus, time.process_time()
    with run.line(f"fit {name}", 2 * sample * corpus.tokens.shape[1]) as move:
        curvature = fit(run.model, corpus, settings, seed=seed, progress=move)
    seconds = time.process_time() - start
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        artifacts.save_curvature(kept, curvature)
        write_json(kept / "seconds.json", seconds)
    return seconds, curvature


def goal(run: Run) -> dict[str, torch.Tensor]:
    """Return the run's ``g_tox - g_safe``, by weight name."""
    batch = run.config.direction.batch_size
    return contrast_gradient(run.model, find_tracked(run.model), run.contrast, batch)


def scores_along(
    run: Run, name: str, curvature: Curvature, gradient: dict[str, torch.Tensor]
) -> np.ndarray:
    """Return the ``jvp`` scores of the compared tokens along ``(H + μ)⁻¹ gradient``."""
    direction = Direction(curvature.solve(gradient, run.config.direction.damping))
    settings = run.config.scores.by("jvp")
    with run.line(f"score {name}", run.part.tokens.size) as move:
        scores = score(run.model, run.part, direction, settings, progress=move)
    return np.asarray(scores.values)[run.part.has_loss]


def render(table: dict[str, Any]) -> str:
    """The whole Markdown page."""
    lines = [
        "# Curvature from a sample of the corpus",
        "",
        f"`{table['command']}`, {table['date']}, {table['machine']}.",
        "",
        f"EK-FAC on samples of a corpus of {table['blocks']} blocks, by the `jvp` scores they lead",
        f"to over {table['compared_blocks']} of its blocks, {table['tokens']} tokens with a loss,",
        f"{table['marked']:.4f} of them marked, against those of the first row. Each draw has",
        "blocks and labels of its own, of another seed than the first row's. Among draws: Spearman",
        "with the earlier draws of as many blocks. P@1% is the precision of the highest 1% against",
        "the marks. Fits take processor time.",
        "",
        "| fitted on | blocks | Spearman | Pearson | top 1% in common | among draws | P@1% "
        "| fit, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        seconds = "" if row["fit_seconds"] is None else f"{row['fit_seconds']:.0f}"
        lines.append(
            f"| {row['name']} | {row['sample_blocks']} | {row['spearman']:.4f} "
            f"| {row['pearson']:.4f} | {row['top']:.3f} "
            f"| {', '.join(f'{x:.4f}' for x in row['other_draws'])} | {row['precision']:.3f} "
            f"| {seconds} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
