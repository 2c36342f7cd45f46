"""``(G + μ)⁻¹ g`` by conjugate gradients, with G the Gauss-Newton matrix of a sample of blocks."""

from __future__ import annotations

import numpy as np
import torch
from scorers import Run
from torch import Tensor
from torch.func import functional_call, jvp

from ifguide import Curvature, Direction, InputError
from ifguide.influence.curvature.fit import sample_rows
from ifguide.influence.curvature.operators import Kronecker
from ifguide.models.tracked import find_tracked

Vector = dict[str, Tensor]  # [out, in] by weight name
SAMPLE_BLOCKS = 32
ITERATIONS = 8
BATCH = 4


def refined(run: Run, goal: Vector) -> Direction:
    """Refine the run's direction: start at it, precondition by its curvature, keep its damping.

    ``G = mean over tokens of Jᵀ (diag(p) - p pᵀ) J`` with labels in expectation, over all tracked
    weights at once, so that what the factored curvature leaves out between weights is in it.
    """
    tracked, damping = find_tracked(run.model), run.config.direction.damping
    mu = _damping(run.curvature, damping)
    rows = sample_rows(len(run.text.corpus.tokens), SAMPLE_BLOCKS, run.config.seed + 1)
    blocks = torch.as_tensor(np.asarray(run.text.corpus.tokens)[rows]).long()

    def product(v: Vector) -> Vector:
        return plus(gauss_newton(run.model, tracked, blocks, v), {n: mu[n] * v[n] for n in v})

    x = {n: w.clone() for n, w in run.direction.weights.items()}
    return Direction(solve(product, goal, x, lambda r: run.curvature.solve(r, damping)))


def solve(product, goal: Vector, x: Vector, precondition, iterations: int = ITERATIONS) -> Vector:
    """Preconditioned conjugate gradients for ``product(x) = goal``, from x (Shewchuk 1994, B3)."""
    residual = plus(goal, product(x), -1.0)
    z = precondition(residual)
    step, size = z, _dot(residual, z)
    for _ in range(iterations):
        if size <= 0:
            break
        moved = product(step)
        length = size / _dot(step, moved)
        x, residual = plus(x, step, length), plus(residual, moved, -length)
        z = precondition(residual)
        last, size = size, _dot(residual, z)
        step = plus(z, step, size / last)
    return x


def gauss_newton(model, tracked, blocks: Tensor, v: Vector) -> Vector:
    """``G v``: forward mode to the logits, their softmax's covariance, and back."""
    names = {w.name: f"{w.name}.weight" for w in tracked}
    weights = {names[w.name]: w.parameter.detach().requires_grad_() for w in tracked}
    along = {names[w.name]: w.oriented(v[w.name]).contiguous() for w in tracked}
    total = {w.name: torch.zeros_like(v[w.name]) for w in tracked}
    for batch in blocks.split(BATCH):

        def logits_of(given, batch=batch):
            call = {"input_ids": batch, "use_cache": False}
            return functional_call(model, given, kwargs=call).logits[:, :-1]

        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            plain = {n: w.detach() for n, w in weights.items()}
            logits, moved = jvp(logits_of, (plain,), (along,))
            p = logits.softmax(-1)
            pulled = p * (moved - (p * moved).sum(-1, keepdim=True))
            found = torch.autograd.grad((logits_of(weights) * pulled).sum(), list(weights.values()))
        for w, g in zip(tracked, found, strict=True):
            total[w.name] += w.oriented(g)
    count = blocks.shape[0] * (blocks.shape[1] - 1)
    return {name: g / count for name, g in total.items()}


def plus(a: Vector, b: Vector, factor: float = 1.0) -> Vector:
    """``a + factor b``."""
    return {n: a[n] + factor * b[n] for n in a}


def _damping(curvature: Curvature, damping: float) -> dict[str, float]:
    """The curvature's own μ of each weight; without eigenvalues there is none."""
    if not isinstance(curvature, Kronecker):
        raise InputError("refine: conjugate gradients need a Kronecker curvature; use ekfac")
    return {n: damping * float(b.eigenvalues.mean()) for n, b in curvature.bases.items()}


def _dot(a: Vector, b: Vector) -> float:
    return sum(float((a[n].double() * b[n].double()).sum()) for n in a)
