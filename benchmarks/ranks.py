"""What two processes make of scoring, against one single-threaded process on the same cores.

    python benchmarks/ranks.py [--out FILE.md]
    python benchmarks/ranks.py --quick

The same model and corpus are scored by one process and by two, one thread each, in turn. Every
process makes its engine, waits for the others, and scores its share of the blocks; the time is that
of the slowest, without start-up. The figure is the median over the turns of one process's time
divided by two processes' time. Before any time is told, the scores of the two must be equal within
1e-6 of the largest. Do not measure while the machine does other work.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from cases import Case, random_direction
from speed import ENGINES

from ifguide.distributed import ranks
from ifguide.files import write_json, write_text
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import build_engine, score_rows
from ifguide.models.tracked import find_tracked
from ifguide.run.artifacts import ScoreShards

BOUND = 1.8  # times one process
AGREEMENT = 1e-6  # largest difference of two scores, as a share of the largest score
SHARD_BLOCKS = 1024


def worker(case: Case, engine: str, folder: Path) -> None:
    """Score this rank's share into ``folder``; the main rank writes the seconds it took."""
    torch.set_num_threads(1)
    ranks.start()
    model, corpus = case.model(), case.corpus()
    config = ScoreConfig(engine=engine, step=1e-2 if engine == "difference" else None)
    built, _ = build_engine(model, find_tracked(model), random_direction(model), corpus, config)
    score_rows(built, model, corpus, slice(0, 1), config.batch_tokens, lambda _: None)  # warm
    shards = ScoreShards(folder, corpus.tokens.shape, SHARD_BLOCKS)
    ranks.barrier()
    start = time.perf_counter()
    for rows in shards.missing():
        values = score_rows(built, model, corpus, rows, config.batch_tokens, lambda _: None)
        shards.put(rows, values)
    scores = np.asarray(shards.collect()[:])
    seconds = time.perf_counter() - start
    if ranks.is_main():
        np.save(folder / "all.npy", scores)
        write_json(folder / "seconds.json", seconds)
    ranks.barrier()
    ranks.stop()


def scored(case: Case, engine: str, processes: int) -> tuple[float, np.ndarray]:
    """Return the seconds and the scores of one run by some processes of one thread each."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={processes}"]
    with tempfile.TemporaryDirectory() as folder:
        command += [__file__, "--worker", engine, "--case", json.dumps(asdict(case))]
        threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(
            [*command, "--folder", folder],
            env={**os.environ, **threads},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"ranks: {processes} processes failed:\n{done.stderr}")
        seconds = json.loads((Path(folder) / "seconds.json").read_text())
        return seconds, np.load(Path(folder) / "all.npy")


def measure(case: Case, engine: str, repeats: int) -> dict[str, Any]:
    """Score in turn by one process and by two; refuse scores that differ."""
    turns = []
    for _ in range(repeats):
        (one, alone), (two, shared) = (scored(case, engine, n) for n in (1, 2))
        error = check_agreement(alone, shared)
        turns.append({"one": one, "two": two, "times": one / two, "error": error})
    return {
        "engine": engine,
        "error": max(turn["error"] for turn in turns),
        "seconds": {n: median(turn[n] for turn in turns) for n in ("one", "two")},
        "times": {
            "median": median(turn["times"] for turn in turns),
            "least": min(turn["times"] for turn in turns),
            "most": max(turn["times"] for turn in turns),
        },
    }


def check_agreement(alone: np.ndarray, shared: np.ndarray) -> float:
    """Return the largest difference as a share of the largest score; refuse it above 1e-6."""
    largest = np.abs(alone).max()
    error = float(np.abs(alone - shared).max() / largest) if largest else float("inf")
    if error > AGREEMENT:
        raise SystemExit(f"ranks: two processes' scores differ from one's by {error:.1e}")
    return error


def table(results: dict[str, Any]) -> str:
    """The Markdown page: one row an engine."""
    case = results["case"]
    lines = [
        "# Two processes",
        "",
        f"`{results['command']}`, {results['date']}, {results['machine']}; GPT-NeoX of width "
        f"{case['width']}, {case['layers']} layers, {case['tokens']} tokens in blocks of "
        f"{case['length']}.",
        "",
        __doc__.split("\n\n")[2].replace("\n", " "),
        "",
        f"| engine | one process, s | two processes, s | times as fast (≥ {BOUND}) | difference |",
        "|---|---|---|---|---|",
    ]
    for found in results["engines"]:
        times, seconds = found["times"], found["seconds"]
        lines.append(
            f"| {found['engine']} | {seconds['one']:.2f} | {seconds['two']:.2f} | "
            f"{times['median']:.2f} [{times['least']:.2f}, {times['most']:.2f}] | "
            f"{found['error']:.1e} |"
        )
    return "\n".join([*lines, "", "In brackets: the least and the most of the turns.", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    if parsed.worker:
        worker(Case(**json.loads(parsed.case)), parsed.worker, parsed.folder)
        return 0
    case = Case(parsed.width, parsed.length, parsed.tokens)
    engines, repeats = parsed.engines, parsed.repeats
    if parsed.quick:
        case, engines, repeats = Case(32, 64, 2048, vocabulary=300, layers=2), ["jvp"], 1
    results = {
        "command": shlex.join(["python", "benchmarks/ranks.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{parsed.machine}, torch {torch.__version__}",
        "case": asdict(case),
        "engines": [measure(case, engine, repeats) for engine in engines],
    }
    page = table(results)
    if parsed.out:
        write_text(parsed.out, page)
        write_json(parsed.out.with_suffix(".json"), results)
    print(page, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Scoring by two processes against one.")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=131072, help="of the corpus")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--machine", default=f"{os.cpu_count()}-core CPU", help="in words")
    parser.add_argument("--quick", action="store_true", help="one tiny model, to check meaning")
    parser.add_argument("--worker", choices=ENGINES, help="of one process: score, and end")
    parser.add_argument("--case", help="of --worker, as JSON")
    parser.add_argument("--folder", type=Path, help="of --worker")
    return parser


if __name__ == "__main__":
    sys.exit(main())
