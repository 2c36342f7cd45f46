"""What the parts of a curvature fit cost, weights apart and with what they read shared.

    python benchmarks/fit.py [--widths 256 576] [--blocks 16] [--repeats 3] [--out FILE.md]
    python benchmarks/fit.py --quick

A Llama of random weights with grouped heads, so that of a layer's seven input factors four differ.
Apart: a factor and a rotation for every weight, one eigendecomposition after the other in float64.
Shared: what reads one tensor has one factor, decomposed in float32, and its input is rotated once.
Each part is timed between two plain forward passes over the same tokens, all in turn; a figure is
the median of the ratios, in passes. Times are this process's processor time, with one thread.
Directions are compared on one random gradient.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cases import Case, plain_losses, random_direction
from speed import timed
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.files import write_json, write_text
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature import factors
from ifguide.influence.curvature.eigen import eigenbases
from ifguide.influence.curvature.factors import Sample, corrected_eigenvalues, covariances
from ifguide.influence.curvature.kronecker import DampedFactors, KroneckerEigenbasis
from ifguide.influence.curvature.operators import Curvature, Factored, Kronecker
from ifguide.models.tracked import find_tracked

Moments = Mapping[str, torch.Tensor]
PARTS = {
    "passes": "forward and backward alone",
    "covariances": "both factors, the pass included",
    "decompositions": "eigenvectors of all factors",
    "eigenvalues": "the second pass, the pass included",
    "whole fit": "the last three",
}
BATCH = 8  # blocks


class Fit:
    """The parts of a fit on one model, apart or shared."""

    def __init__(self, model: nn.Module, sample: Sample, *, shared: bool) -> None:
        self.model, self.sample, self.shared = model, sample, shared
        self.tracked = find_tracked(model)
        self.config = CurvatureConfig(batch_size=BATCH)

    def passes(self) -> None:
        """Forward and backward over the sample, with nothing done at the weights."""
        given = (self.model, self.tracked, self.sample, BATCH, _nothing)
        for _, backward in factors.sampled_backwards(*given):
            backward(lambda weight, a, d: None)

    def covariances(self) -> tuple[Moments, Moments]:
        """The outputs' and the inputs' factors by weight name."""
        given = (self.model, self.tracked, self.sample, BATCH, _nothing)
        if self.shared:
            return covariances(*given)
        alone = {weight.name: weight.name for weight in self.tracked}
        with patch.object(factors, "first_readers", lambda model, tracked: alone):
            return covariances(*given)

    def decompositions(self, found: tuple[Moments, Moments]) -> dict[str, KroneckerEigenbasis]:
        """The bases of all factors."""
        distinct = {id(f): f for side in found for f in side.values()}
        make = eigenbases if self.shared else _in_float64
        decomposed = dict(zip(distinct, make([*distinct.values()]), strict=True))
        bases = {}
        for w in self.tracked:
            (s, Q_S), (a, Q_A) = (decomposed[id(side[w.name])] for side in found)
            bases[w.name] = KroneckerEigenbasis(Q_S, Q_A, torch.outer(s, a))
        return bases

    def eigenvalues(
        self, bases: Mapping[str, KroneckerEigenbasis], config: CurvatureConfig | None = None
    ) -> Kronecker:
        """EK-FAC of the bases."""
        given = (self.model, self.tracked, self.sample)
        moments = corrected_eigenvalues(*given, bases, config or self.config, _nothing)
        return Kronecker({n: replace(b, eigenvalues=moments[n]) for n, b in bases.items()})


def measure(width: int, parsed: argparse.Namespace) -> dict[str, Any]:
    """Time every part, apart and shared, in turn, and compare the directions."""
    model, case = llama(width), Case(width, parsed.length, parsed.blocks * parsed.length)
    corpus = case.corpus()
    sample = Sample(corpus, np.arange(len(corpus.tokens)), 0)
    fits = {"apart": Fit(model, sample, shared=False), "shared": Fit(model, sample, shared=True)}
    found = {name: fit.covariances() for name, fit in fits.items()}
    bases = {name: fit.decompositions(found[name]) for name, fit in fits.items()}
    by_token = CurvatureConfig(batch_size=BATCH, eigenvalues="token")
    damped = Factored({w.name: _damped(found["shared"], w.name) for w in find_tracked(model)})
    gradient = dict(random_direction(model).weights)
    tasks: dict[str, Callable[[], Any]] = {"passes": fits["shared"].passes}
    for name, fit in fits.items():
        tasks[f"covariances, {name}"] = fit.covariances
        tasks[f"decompositions, {name}"] = lambda f=fit, n=name: f.decompositions(found[n])
        tasks[f"eigenvalues, {name}"] = lambda f=fit, n=name: f.eigenvalues(bases[n])
    shared = fits["shared"]
    tasks["eigenvalues by token, shared"] = lambda: shared.eigenvalues(bases["shared"], by_token)
    tasks["factored damping, solve"] = lambda: damped.solve(gradient, 0.1)
    turns = in_passes(tasks, lambda: plain_losses(model, corpus, 2048), parsed.repeats)
    for name in fits:
        parts = ("covariances", "decompositions", "eigenvalues")
        sums = zip(*(turns[f"{part}, {name}"] for part in parts), strict=True)
        turns[f"whole fit, {name}"] = [sum(turn) for turn in sums]
    curvatures: dict[str, Curvature] = {n: f.eigenvalues(bases[n]) for n, f in fits.items()}
    curvatures["by token"] = shared.eigenvalues(bases["shared"], by_token)
    curvatures["kfac, factored damping"] = damped
    return {
        "width": width,
        "tokens": corpus.tokens.size,
        "factors": {n: len({id(f) for side in found[n] for f in side.values()}) for n in fits},
        "passes": {
            n: {"median": median(t), "least": min(t), "most": max(t)} for n, t in turns.items()
        },
        "cosine": {n: cosine(c, curvatures["apart"], gradient) for n, c in curvatures.items()},
    }


def in_passes(
    tasks: Mapping[str, Callable[[], Any]], plain: Callable[[], Any], repeats: int
) -> dict[str, list[float]]:
    """Time each task between two plain passes, turn by turn, as a ratio to their mean."""
    turns: dict[str, list[float]] = {}
    plain()
    for _ in range(repeats):
        before = timed(plain)
        for name, task in tasks.items():
            taken, after = timed(task), timed(plain)
            turns.setdefault(name, []).append(2 * taken / (before + after))
            before = after
    return turns


def cosine(one: Curvature, other: Curvature, gradient: Mapping[str, torch.Tensor]) -> float:
    """The cosine of the two directions that a gradient gives."""
    a, b = (
        torch.cat([d.flatten().double() for d in c.solve(gradient, 0.1).values()])
        for c in (one, other)
    )
    return float(a @ b / (a.norm() * b.norm()))


def llama(width: int) -> nn.Module:
    """A Llama of random float32 weights, with fewer heads for keys and values."""
    torch.manual_seed(0)
    heads = max(3, width // 64)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=4096,
        hidden_size=width,
        num_hidden_layers=4,
        num_attention_heads=heads,
        num_key_value_heads=heads // (2 if heads % 3 else 3),
        head_dim=width // heads,
        intermediate_size=width * 8 // 3,
        max_position_embeddings=2048,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def table(results: Mapping[str, Any]) -> str:
    """The Markdown page."""
    lines = [
        "# The parts of a curvature fit",
        "",
        f"`{results['command']}`, {results['date']}, {results['machine']}.",
        "",
        __doc__.split("\n\n")[2].replace("\n", " "),
        "",
        "| width | part | apart | shared | apart / shared |",
        "|---|---|---|---|---|",
    ]
    for case in results["cases"]:
        lines += [_row(case, part) for part in PARTS]
        lines += [
            f"| {case['width']} | {name} | - | {_shown(case['passes'][name])} | - |"
            for name in ("eigenvalues by token, shared", "factored damping, solve")
        ]
    lines += ["", *(f"- {part}: {what}" for part, what in PARTS.items()), ""]
    for case in results["cases"]:
        cosines = ", ".join(f"{name} {value:.6f}" for name, value in case["cosine"].items())
        counts = f"{case['factors']['apart']} factors apart, {case['factors']['shared']} shared"
        lines.append(f"Width {case['width']}: {case['tokens']} tokens, {counts}; cosine with the")
        lines.append(f"direction of EK-FAC apart: {cosines}.")
    return "\n".join(lines) + "\n"


def _row(case: Mapping[str, Any], part: str) -> str:
    if part == "passes":
        return f"| {case['width']} | passes | - | {_shown(case['passes']['passes'])} | - |"
    apart, shared = (case["passes"][f"{part}, {name}"] for name in ("apart", "shared"))
    ratio = apart["median"] / shared["median"]
    return f"| {case['width']} | {part} | {_shown(apart)} | {_shown(shared)} | {ratio:.2f} |"


def _shown(figure: Mapping[str, float]) -> str:
    return f"{figure['median']:.2f} [{figure['least']:.2f}, {figure['most']:.2f}]"


def _damped(found: tuple[Moments, Moments], name: str) -> DampedFactors:
    return DampedFactors(found[0][name], found[1][name])


def _in_float64(moments: Sequence[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pairs = (torch.linalg.eigh(m.double()) for m in moments)
    return [(values.clamp(min=0).float(), vectors.float()) for values, vectors in pairs]


def _nothing(tokens: int) -> None:
    """Hear of no progress."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each width, print the table, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    if parsed.quick:
        parsed.widths, parsed.blocks, parsed.length, parsed.repeats = [24], 4, 16, 1
    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/fit.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, one thread, torch {torch.__version__}",
        "cases": [],
    }
    for width in parsed.widths:
        results["cases"].append(measure(width, parsed))
        if parsed.out:
            write_text(parsed.out, table(results))
            write_json(parsed.out.with_suffix(".json"), results)
    print(table(results), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The parts of a curvature fit.")
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 576])
    parser.add_argument("--blocks", type=int, default=16, help="of the sample")
    parser.add_argument("--length", type=int, default=128, help="tokens a block")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="one tiny model, to check meaning")
    return parser


if __name__ == "__main__":
    sys.exit(main())
