"""Tokens a second of the engines and the curvature on a device, beside its matrix-product ceiling.

    python benchmarks/throughput.py [--models pythia-160m pythia-1b] [--dtype bfloat16] [--out FILE]
    python benchmarks/throughput.py --quick

The models have random weights and a GPU is taken where there is one. The tasks run in turn, several
times over, and a figure is the median of wall-clock times. Passes are against the plain forward
pass of the same turn, with its loss, at the same batch. The ceiling is the rate of the fastest
product of two square matrices in the same type on the same device. A task's share of it counts the
products that it cannot do without, at two operations a weight and token: one of all weights for
the plain pass, two for `difference`, and of the tracked weights three for `jvp` and `position` (the
head's: two). What else a task does (attention, norms, softmax, rotations) counts as time, not as
work. Where the type is float32 the engines' block sums must agree first; in half precision the
Spearman of `difference` with float32 `jvp`, which its calibration finds, is in the table.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from cases import Case, add_fits, curvature_passes, plain_losses, random_direction
from speed import check_agreement
from torch import nn

from ifguide.files import write_json, write_text
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import build_engine, score_rows
from ifguide.models.tracked import find_tracked

MODELS = {  # the shapes of Pythia (Biderman et al. 2023)
    "pythia-160m": {"width": 768, "layers": 12, "vocabulary": 50304},
    "pythia-1b": {"width": 2048, "layers": 16, "vocabulary": 50304},
    "tiny": {"width": 32, "layers": 2, "vocabulary": 300},
}
ENGINES = {"difference": {"step": 0.03}, "jvp": {}, "position": {}}
PRODUCTS = {"forward": (1, 1), "difference": (2, 2), "jvp": (3, 2), "position": (3, 2)}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SIDES = (1024, 2048, 4096, 8192)  # of the square matrices


@dataclass(frozen=True)
class Place:
    """Where and how to compute."""

    device: torch.device
    dtype: torch.dtype
    batch_tokens: int

    def timed(self, run: Callable[[], Any]) -> float:
        """Wall-clock seconds, with all that the device still has to do."""
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self, run: Callable[[], Any]) -> int | None:
        """Bytes of the GPU that a task needs at most, its model included."""
        if self.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        run()
        return torch.cuda.max_memory_allocated(self.device)


def ceiling(place: Place, sides: Sequence[int], repeats: int) -> float:
    """Operations a second of the fastest square matrix product."""
    rates = []
    for side in sides:
        a, b = (torch.randn(side, side, device=place.device).to(place.dtype) for _ in range(2))
        place.timed(lambda a=a, b=b: a @ b)
        taken = min(place.timed(lambda a=a, b=b: a @ b) for _ in range(repeats))
        rates.append(2 * side**3 / taken)
    return max(rates)


def measure(case: Case, place: Place, repeats: int) -> dict[str, Any]:
    """Time every task of a model in turn."""
    model = case.model().to(place.device, place.dtype)
    corpus, every = case.corpus(), slice(0, case.tokens // case.length)
    tracked, direction = find_tracked(model), random_direction(model)
    scorers, spearman = {}, None
    for name, options in ENGINES.items():
        config = ScoreConfig(engine=name, batch_tokens=place.batch_tokens, **options)
        engine, settings = build_engine(model, tracked, direction, corpus, config)
        spearman = settings.get("spearman", spearman)
        scorers[name] = _scorer(engine, model, corpus, every, place.batch_tokens)
    agreement = check_agreement(scorers) if place.dtype == torch.float32 else None
    tasks = {"forward": lambda: plain_losses(model, corpus, place.batch_tokens), **scorers}
    tasks |= curvature_passes(model, corpus)
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            taken = place.timed(task)
            if turn:  # the first warms up
                seconds[name].append(taken)
    add_fits(seconds)
    return {
        **asdict(case),
        **weights_of(model),
        "agreement": agreement,
        "spearman": spearman,
        "seconds": seconds,
        "peak_memory": {name: place.peak(task) for name, task in tasks.items()},
    }


def _scorer(engine: Any, model: nn.Module, corpus: Any, rows: slice, batch_tokens: int) -> Any:
    def run() -> np.ndarray:
        return score_rows(engine, model, corpus, rows, batch_tokens, lambda _: None)

    return run


def weights_of(model: nn.Module) -> dict[str, int]:
    """Numbers of weights that every token is multiplied with: the tracked ones and the head's."""
    head = model.get_output_embeddings().weight.numel()
    return {"tracked": sum(w.matrix.numel() for w in find_tracked(model)), "head": head}


def figures(case: dict[str, Any], task: str, rate: float) -> dict[str, float | None]:
    """Tokens a second, plain passes, and the share of the ceiling, of one task."""
    seconds = case["seconds"]
    passes = [taken / unit for taken, unit in zip(seconds[task], seconds["forward"], strict=True)]
    speed = case["tokens"] / median(seconds[task])
    share = None
    if task in PRODUCTS:
        tracked, head = PRODUCTS[task]
        share = 2 * (tracked * case["tracked"] + head * case["head"]) * speed / rate
    return {"tokens_a_second": speed, "passes": median(passes), "share": share}


def table(results: dict[str, Any]) -> str:
    """The Markdown page: one row a model and task."""
    lines = [
        "# Throughput",
        "",
        f"`{results['command']}`, {results['date']}, {results['machine']}.",
        "",
        __doc__.split("\n\n")[2].replace("\n", " "),
        "",
        f"Ceiling: {results['ceiling'] / 1e12:.3g} TFLOP/s in {results['dtype']}; "
        f"{results['batch_tokens']} tokens a batch.",
        "",
        "| model | block | task | tokens/s | passes | share of the ceiling | peak, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, case in results["cases"].items():
        for task in (*PRODUCTS, "ekfac", "ekfac, bfloat16"):
            found = figures(case, task, results["ceiling"])
            peak = case["peak_memory"].get(task)
            cells = [name, case["length"], task, f"{found['tokens_a_second']:,.0f}"]
            cells += [f"{found['passes']:.2f}"]
            cells += ["" if found["share"] is None else f"{found['share']:.1%}"]
            cells += ["" if peak is None else f"{peak / 2**30:.2f}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    stated = [
        f"{name}: Spearman of `difference` with float32 `jvp` {case['spearman']:.4f}."
        for name, case in results["cases"].items()
        if case["spearman"] is not None
    ]
    return "\n".join([*lines, "", *stated, *([""] if stated else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the models asked for, print the table, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    device = torch.device(parsed.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    place = Place(device, TYPES[parsed.dtype], parsed.batch_tokens)
    models, tokens, sides = parsed.models, parsed.tokens, SIDES
    if parsed.quick:
        models, tokens, sides = ["tiny"], 512, SIDES[:1]
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()}-core"
    results: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/throughput.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{on} {device.type.upper()}, torch {torch.__version__}",
        "dtype": parsed.dtype,
        "batch_tokens": parsed.batch_tokens,
        "ceiling": ceiling(place, sides, parsed.repeats),
        "cases": {},
    }
    for name in models:
        case = Case(length=64 if parsed.quick else parsed.length, tokens=tokens, **MODELS[name])
        results["cases"][name] = measure(case, place, parsed.repeats)
        if parsed.out:
            write_text(parsed.out, table(results))
            write_json(parsed.out.with_suffix(".json"), results)
    print(table(results), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Tokens a second, beside the device's ceiling.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["pythia-160m", "pythia-1b"])
    parser.add_argument("--device", help="cuda, cuda:1 or cpu (a GPU, if there is one)")
    parser.add_argument("--dtype", choices=TYPES, default="bfloat16")
    parser.add_argument("--length", type=int, default=1024, help="tokens a block")
    parser.add_argument("--tokens", type=int, default=65536, help="of the corpus")
    parser.add_argument("--batch_tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to check meaning")
    return parser


if __name__ == "__main__":
    sys.exit(main())
