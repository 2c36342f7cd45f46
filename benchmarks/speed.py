"""What the engines and the curvature cost, in plain forward passes over the same tokens.

    python benchmarks/speed.py [--widths 256 768] [--lengths 256 1024] [--out FILE.md]
    python benchmarks/speed.py --quick

The unit is one forward pass in inference mode that ends in the model's own loss per token, at the
batch size that suits it best. Each task is timed between two such passes, several times over, all
tasks in turn; a figure is the median of the ratios. Times are this process's processor time, so
that other work on the machine weighs less. Peak memory is the growth of a fresh process from before
the model is made. Every case first checks that the engines agree. Markdown goes to stdout and to
--out, JSON beside it; cases that lie there already stay, unless they are measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import date
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from cases import Case, add_fits, curvature_passes, plain_losses, random_direction
from torch import nn

from ifguide.files import write_json, write_text
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.curvature.eigen import eigenbasis
from ifguide.influence.engines.chunks import CPU_TOKENS
from ifguide.influence.score import build_engine, score_rows
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus
from ifguide.run.memory import peak_rss, reset_peak_rss

BOUNDS = {"difference": 2.1, "jvp": 3.2, "position": 3.0, "ekfac": 9.0, "ekfac, bfloat16": 9.0}
MEMORY_BOUND = 1.3
SAMPLE_BLOCKS = CurvatureConfig().sample_blocks
ENGINES = ("difference", "jvp", "position")
WHOLE = "forward, whole batch"
TASKS = ("forward", WHOLE, "difference", "jvp", "position", "ekfac")
BATCH_TOKENS = ScoreConfig().batch_tokens
FORWARD_BATCHES = (1024, 2048, 4096)  # tokens
AGREEMENT = 2e-3  # largest error of a block's sum, as a share of the largest sum, in float32


def scorer(model: nn.Module, corpus: Corpus, engine: str) -> Callable[[], np.ndarray]:
    """Build an engine, as ``score`` does, and return what scores the corpus with it."""
    config = ScoreConfig(engine=engine, step=1e-2 if engine == "difference" else None)
    built, _ = build_engine(model, find_tracked(model), random_direction(model), corpus, config)
    every = slice(0, len(corpus.tokens))
    return lambda: score_rows(built, model, corpus, every, config.batch_tokens, lambda _: None)


def eigenvector_seconds(model: nn.Module) -> float:
    """Seconds that the eigenvectors of all factors take."""
    sizes = [size for w in find_tracked(model) for size in w.matrix.shape]
    taken = 0.0
    for size in set(sizes):
        rows = torch.randn(2 * size, size)
        factor = rows.T @ rows
        taken += sizes.count(size) * timed(lambda factor=factor: eigenbasis(factor))
    return taken


def timed(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Time every task of a case between two plain passes, in turn, as ratios to those."""
    model, corpus = case.model(), case.corpus()
    scorers = {engine: scorer(model, corpus, engine) for engine in ENGINES}
    agreement = check_agreement(scorers)
    batch, seconds = fastest_batch(model, corpus, repeats)
    ratios: dict[str, list[float]] = {}
    tasks = {**scorers, **curvature_passes(model, corpus)}
    for _ in range(repeats):
        before = timed(lambda: plain_losses(model, corpus, batch))
        for name, task in tasks.items():
            taken = timed(task)
            after = timed(lambda: plain_losses(model, corpus, batch))
            ratios.setdefault(name, []).append(2 * taken / (before + after))
            before = after
    add_fits(ratios)
    return {
        **asdict(case),
        "forward_batch_tokens": batch,
        "forward_microseconds_a_token": seconds / corpus.tokens.size * 1e6,
        "eigenvector_seconds": eigenvector_seconds(model),
        "agreement": agreement,
        "passes": {
            name: {"median": median(found), "least": min(found), "most": max(found)}
            for name, found in ratios.items()
        },
    }


def fastest_batch(model: nn.Module, corpus: Corpus, repeats: int) -> tuple[int, float]:
    """The batch size, in tokens, at which a plain pass is fastest, and its median seconds."""
    turns = [
        [timed(lambda b=b: plain_losses(model, corpus, b)) for b in FORWARD_BATCHES]
        for _ in range(repeats)
    ]
    seconds = [median(turn[i] for turn in turns) for i in range(len(FORWARD_BATCHES))]
    return FORWARD_BATCHES[int(np.argmin(seconds))], min(seconds)


def check_agreement(scorers: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """Return the engines' errors of the block sums, against ``jvp``; refuse large ones."""
    sums = {name: run().sum(1) for name, run in scorers.items()}
    largest = np.abs(sums["jvp"]).max()
    errors = {
        name: float(np.abs(found - sums["jvp"]).max() / largest)
        for name, found in sums.items()
        if name != "jvp"
    }
    if not largest > 0 or max(errors.values()) > AGREEMENT:
        raise SystemExit(f"speed: the engines' block sums disagree: {errors}, largest {largest}")
    return errors


def peak_memory(case: Case, task: str) -> int:
    """Run a task in this process and return the bytes that it and its model took at most."""
    before = resident()
    reset_peak_rss()
    model, corpus = case.model(), case.corpus()
    if task in ("forward", WHOLE):
        plain_losses(model, corpus, CPU_TOKENS if task == "forward" else BATCH_TOKENS)
    elif task == "ekfac":
        for run in curvature_passes(model, corpus).values():
            run()
    else:
        scorer(model, corpus, task)()
    return peak_rss() - before


def fresh_peak_memory(case: Case, task: str, repeats: int) -> int:
    """The median of the same over a whole batch in fresh processes; an allocator's share varies."""
    given = json.dumps(asdict(replace(case, tokens=max(case.tokens, BATCH_TOKENS))))
    command = [sys.executable, __file__, "--memory", task, "--case", given]
    peaks = [
        int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(repeats)
    ]
    return int(median(peaks))


def resident() -> int:
    """Bytes of memory that this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024


def table(results: dict[str, Any]) -> str:
    """The Markdown page: one row a case, bounds in the head."""
    bounds = [f"{name} (≤ {bound})" for name, bound in BOUNDS.items()]
    heads = ["width", "block", "forward, µs a token", *bounds]
    heads += ["covariances", "eigenvalues", "eigenvectors"]
    heads += [f"memory, same batch (≤ {MEMORY_BOUND})", f"memory, {CPU_TOKENS} tokens"]
    lines = [
        "# Speed and memory",
        "",
        f"`{results['command']}`, {results['date']}, {results['machine']}.",
        "",
        __doc__.split("\n\n")[2].replace("\n", " "),
        "",
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
        *(_row(case) for case in results["cases"]),
        "",
        "In brackets: the least and the most of the turns. The engines score batches of "
        f"{BATCH_TOKENS} tokens, {CPU_TOKENS} at a time on a CPU. EK-FAC is both "
        "passes over its sample, a token of it, with the rotations of the second in float32 or in "
        "bfloat16; its eigenvectors come once a fit, and their figure is of the default sample, "
        f"{SAMPLE_BLOCKS} blocks. Memory is the peak of `difference` over that of a plain pass of "
        f"the same batch, {BATCH_TOKENS} tokens, and over one of {CPU_TOKENS} tokens at a time.",
    ]
    return "\n".join(lines) + "\n"


def _row(case: dict[str, Any]) -> str:
    def shown(name: str) -> str:
        found = case["passes"][name]
        return f"{found['median']:.2f} [{found['least']:.2f}, {found['most']:.2f}]"

    passes = [shown(name) for name in (*BOUNDS, "covariances", "eigenvalues")]
    peak = {task: round(size / 2**20) for task, size in case["peak_memory"].items()}
    sample = SAMPLE_BLOCKS * case["length"] * case["forward_microseconds_a_token"] * 1e-6
    once = case["eigenvector_seconds"] / sample
    cells = [case["width"], case["length"], f"{case['forward_microseconds_a_token']:.0f}", *passes]
    cells += [f"{once:.1f}"]
    for unit in (WHOLE, "forward"):
        ratio = peak["difference"] / peak[unit]
        cells += [f"{ratio:.2f} ({peak['difference']} / {peak[unit]} MiB)"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the cases asked for, print the table, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    torch.set_num_threads(1)
    if parsed.memory:
        print(peak_memory(Case(**json.loads(parsed.case)), parsed.memory))
        return 0
    cases = [Case(w, t, parsed.tokens) for w, t in product(parsed.widths, parsed.lengths)]
    tasks = TASKS
    if parsed.quick:
        cases, tasks = [Case(32, 64, 2048, vocabulary=300, layers=2)], TASKS[:3]
    results = {
        "command": shlex.join(["python", "benchmarks/speed.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{parsed.machine}, one thread, torch {torch.__version__}",
        "cases": _kept(parsed.out, cases),
    }
    for case in cases:
        found = measure(case, parsed.repeats)
        turns = 1 if parsed.quick else 3
        found["peak_memory"] = {t: fresh_peak_memory(case, t, turns) for t in tasks}
        results["cases"].append(found)
        results["cases"].sort(key=lambda c: (c["width"], c["length"]))
        if parsed.out:
            write_text(parsed.out, table(results))
            write_json(parsed.out.with_suffix(".json"), results)
    print(table(results), end="")
    return 0


def _kept(out: Path | None, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The cases measured into a file before, but for those to be measured now."""
    if out is None or not out.with_suffix(".json").exists():
        return []
    again = {(case.width, case.length) for case in cases}
    found = json.loads(out.with_suffix(".json").read_text())["cases"]
    return [case for case in found if (case["width"], case["length"]) not in again]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost of the engines and of the curvature fit.")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 768])
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--tokens", type=int, default=8192, help="of the corpus")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core CPU", help="in words")
    parser.add_argument("--quick", action="store_true", help="one tiny model, to check meaning")
    parser.add_argument("--memory", choices=TASKS, help="print this task's peak memory and end")
    parser.add_argument("--case", help="of --memory, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
