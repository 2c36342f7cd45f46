"""Eigenvectors of many symmetric factors, those of one size together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from ifguide.parts import told

ERROR = 2e-5  # of eigenvectors that are kept, as a share of the largest eigenvalue, and of 1
TOGETHER = 2**24  # elements of the factors that are decomposed in one call

Decomposed = tuple[Tensor, Tensor]  # values [n], vectors [n, n]


def eigenbases(factors: Sequence[Tensor]) -> list[Decomposed]:
    """Return each factor's eigenvalues (ascending, clipped at 0) and eigenvectors.

    They are computed in the factors' own type, and where the result's residual or its departure
    from orthogonality is above ``ERROR``, or there is none, again in float64.

    On a CPU each call keeps to one thread, and there are as many calls at a time as torch has
    threads: LAPACK's own threads wait for one another, and on busy cores take several times the
    processor time of one.

    Args:
        factors: [n, n], symmetric, of any sizes, float32 or float64.
    """
    chunks = list(_alike(factors))

    def work(chunk: list[int]) -> Decomposed:
        return _decomposed(torch.stack([factors[k] for k in chunk]))

    found: list[Decomposed | None] = [None] * len(factors)
    with _workers(factors) as pool:
        results = pool.map(work, chunks) if pool else map(work, chunks)
        part = f"eigendecompositions of {len(factors):,} factors, part"
        for chunk, (values, vectors) in zip(chunks, told(results, part), strict=True):
            for k, one, basis in zip(chunk, values, vectors, strict=True):
                found[k] = one, basis
    return [pair for pair in found if pair is not None]


def eigenbasis(factor: Float[Tensor, "n n"]) -> Decomposed:
    """Return the same of one factor."""
    return eigenbases([factor])[0]


def _alike(factors: Sequence[Tensor]) -> Iterator[list[int]]:
    """Yield the numbers of factors of one size, type and device, a few at a time."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for k, factor in enumerate(factors):
        groups.setdefault((len(factor), factor.dtype, factor.device), []).append(k)
    for (size, *_), numbers in groups.items():
        assert isinstance(size, int)
        count = max(1, TOGETHER // max(1, size * size))
        yield from (numbers[i : i + count] for i in range(0, len(numbers), count))


def _decomposed(
    factors: Float[Tensor, "k n n"],
) -> tuple[Float[Tensor, "k n"], Float[Tensor, "k n n"]]:
    symmetric = (factors + factors.mT) / 2
    try:
        values, vectors = torch.linalg.eigh(symmetric)
        poor = ~_is_sound(symmetric, values, vectors)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # one did not converge
        values, vectors = torch.empty_like(symmetric[..., 0]), torch.empty_like(symmetric)
        poor = torch.ones(len(symmetric), dtype=torch.bool)
    if factors.dtype != torch.float64 and poor.any():
        for k in poor.nonzero().flatten().tolist():
            wide_values, wide_vectors = torch.linalg.eigh(symmetric[k].double())
            values[k], vectors[k] = wide_values.to(values.dtype), wide_vectors.to(vectors.dtype)
    return values.clamp(min=0), vectors.contiguous()  # as they are read back, to the same bits


def _is_sound(
    factors: Float[Tensor, "k n n"], values: Float[Tensor, "k n"], vectors: Float[Tensor, "k n n"]
) -> Tensor:
    """Whether ``F Q = Q Λ`` and ``Qᵀ Q = I`` hold to ``ERROR``; NaN never does."""
    residual = (factors @ vectors - vectors * values[:, None]).abs().amax((1, 2))
    identity = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    skew = (vectors.mT @ vectors - identity).abs().amax((1, 2))
    return (residual <= ERROR * values.abs().amax(1)) & (skew <= ERROR)


@contextmanager
def _workers(factors: Sequence[Tensor]) -> Iterator[ThreadPoolExecutor | None]:
    """Yield threads that compute with one thread each; None where there is a GPU, or one thread."""
    threads = torch.get_num_threads()
    if threads == 1 or not factors or factors[0].device.type != "cpu":
        yield None
        return
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
