"""The interchangeable curvature operators; the dense one is the others' oracle.

Each inverts ``H + μ`` weight by weight, with ``μ = damping * mean eigenvalue of that weight``, or
with ``μ = damping`` where it is not ``relative``; K-FAC with factored damping damps the two factors
instead.
Where a weight's curvature is 0 throughout, so is ``μ``: a gradient there has no solution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ifguide.errors import InputError
from ifguide.influence.curvature.kronecker import DampedFactors, KroneckerEigenbasis

Gradients = Mapping[str, Tensor]  # [out, in] by weight name


@runtime_checkable
class Curvature(Protocol):
    """An operator on gradients: a mapping from weight name to a [out, in] tensor."""

    @property
    def kind(self) -> str:
        """The name of the kind: identity, kfac, kfac-factored, ekfac or dense."""
        ...

    def solve(
        self, gradients: Gradients, damping: float, *, relative: bool = True
    ) -> dict[str, Tensor]:
        """Return ``(H + μ)⁻¹ gradients``.

        Raises:
            InputError: a weight was not fitted, or has no curvature although it has a gradient.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return everything the operator is made of, for storing."""
        ...


@dataclass(frozen=True, eq=False)
class Identity:
    """No curvature: ``solve`` returns the gradients as they are."""

    kind: str = "identity"

    def solve(
        self, gradients: Gradients, damping: float, *, relative: bool = True
    ) -> dict[str, Tensor]:
        """Return the gradients unchanged; damping only scales an identity."""
        return dict(gradients)

    def tensors(self) -> dict[str, Tensor]:
        """Return nothing: an identity has no tensors."""
        return {}


@dataclass(frozen=True, eq=False)
class Kronecker:
    """K-FAC or EK-FAC: one Kronecker eigenbasis a weight."""

    bases: Mapping[str, KroneckerEigenbasis]
    kind: str = "ekfac"

    def solve(
        self, gradients: Gradients, damping: float, *, relative: bool = True
    ) -> dict[str, Tensor]:
        """Return ``(H + μ)⁻¹ gradients`` in each weight's eigenbasis."""
        eigenvalues = {name: basis.eigenvalues for name, basis in self.bases.items()}
        return {
            name: self.bases[name].solve(g, damping, relative=relative)
            for name, g in _known(gradients, eigenvalues)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the bases and eigenvalues, named ``<weight>/<part>``."""
        return {
            f"{name}/{part}": getattr(basis, part)
            for name, basis in self.bases.items()
            for part in ("output_basis", "input_basis", "eigenvalues")
        }


@dataclass(frozen=True, eq=False)
class Factored:
    """K-FAC with factored damping (Martens & Grosse 2015): two factors a weight."""

    factors: Mapping[str, DampedFactors]
    kind: str = "kfac-factored"

    def solve(
        self, gradients: Gradients, damping: float, *, relative: bool = True
    ) -> dict[str, Tensor]:
        """Return ``(S + √μ/π)⁻¹ gradient (A + π√μ)⁻¹`` weight by weight."""
        known = {
            name: torch.stack([f.output_factor.any(), f.input_factor.any()]).all()
            for name, f in self.factors.items()
        }
        return {
            name: self.factors[name].solve(g, damping, relative=relative)
            for name, g in _known(gradients, known)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the factors, named ``<weight>/<part>``."""
        return {
            f"{name}/{part}": getattr(factors, part)
            for name, factors in self.factors.items()
            for part in ("output_factor", "input_factor")
        }


@dataclass(frozen=True, eq=False)
class Dense:
    """The exact Fisher of each weight as a [out·in, out·in] matrix, for tiny models."""

    matrices: Mapping[str, Tensor]  # [out·in, out·in] by weight name
    kind: str = "dense"

    def solve(
        self, gradients: Gradients, damping: float, *, relative: bool = True
    ) -> dict[str, Tensor]:
        """Return ``(F + μ)⁻¹ gradients`` by a direct solve."""
        solved = {}
        for name, gradient in _known(gradients, self.matrices):
            fisher = self.matrices[name]
            unit = fisher.diagonal().mean() if relative else 1
            damped = fisher + damping * unit * torch.eye(
                len(fisher), dtype=fisher.dtype, device=fisher.device
            )
            flat = torch.linalg.solve(damped, gradient.flatten().to(damped))
            solved[name] = flat.view_as(gradient).to(gradient.dtype)
        return solved

    def tensors(self) -> dict[str, Tensor]:
        """Return the matrices by weight name."""
        return dict(self.matrices)


def curvature_from(kind: str, tensors: Mapping[str, Tensor]) -> Curvature:
    """Rebuild an operator from its ``kind`` and ``tensors()``."""
    if kind == "identity":
        return Identity()
    if kind == "dense":
        return Dense(dict(tensors))
    names = {key.rpartition("/")[0] for key in tensors}
    if kind == "kfac-factored":
        parts = ("output_factor", "input_factor")
        return Factored(
            {n: DampedFactors(*(tensors[f"{n}/{part}"] for part in parts)) for n in sorted(names)}
        )
    bases = {
        name: KroneckerEigenbasis(
            tensors[f"{name}/output_basis"],
            tensors[f"{name}/input_basis"],
            tensors[f"{name}/eigenvalues"],
        )
        for name in sorted(names)
    }
    return Kronecker(bases, kind)


def _known(gradients: Gradients, fitted: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the gradients of weights whose curvature is not 0, by name."""
    for name, gradient in gradients.items():
        if name not in fitted:
            raise InputError(
                f"curvature: it was not fitted for weight '{name}'; fit it on this model"
            )
        if not fitted[name].any():
            raise InputError(
                f"curvature: no token of the sample gives weight '{name}' a gradient, the queries "
                "do; raise curvature.sample_blocks"
            )
        yield name, gradient
