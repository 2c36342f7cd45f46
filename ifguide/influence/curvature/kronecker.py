"""Curvature of one weight as a Kronecker product, in its eigenbasis or by its two factors.

The curvature of a [out, in] weight is ``(Q_S ⊗ Q_A) diag(Λ) (Q_S ⊗ Q_A)ᵀ`` with orthogonal
``Q_S`` [out, out] and ``Q_A`` [in, in]. K-FAC takes Λ from the factors' own eigenvalues
(Martens & Grosse 2015); EK-FAC corrects them to the second moments of the gradient in that basis
(George et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class KroneckerEigenbasis:
    """Eigenvectors of the two factors and the [out, in] eigenvalues in their basis."""

    output_basis: Float[Tensor, "out out"]
    input_basis: Float[Tensor, "in in"]
    eigenvalues: Float[Tensor, "out in"]

    def solve(
        self, gradient: Float[Tensor, "out in"], damping: float, *, relative: bool = True
    ) -> Float[Tensor, "out in"]:
        """Return ``(H + μ)⁻¹ gradient`` with ``μ = damping * mean(Λ)`` (Grosse et al. 2023).

        Where it is not ``relative``, ``μ = damping``.
        """
        gradient = gradient.to(self.output_basis.device)
        rotated = self.output_basis.T @ gradient @ self.input_basis
        damped = self.eigenvalues + damping * (self.eigenvalues.mean() if relative else 1)
        return self.output_basis @ (rotated / damped) @ self.input_basis.T


@dataclass(frozen=True, eq=False)
class DampedFactors:
    """K-FAC's two factors themselves, damped one by one: there are no eigenvectors to compute."""

    output_factor: Float[Tensor, "out out"]
    input_factor: Float[Tensor, "in in"]

    def solve(
        self, gradient: Float[Tensor, "out in"], damping: float, *, relative: bool = True
    ) -> Float[Tensor, "out in"]:
        """Return ``(S + √μ/π)⁻¹ gradient (A + π√μ)⁻¹`` by Cholesky.

        ``π² = mean(diag A) / mean(diag S)`` (Martens & Grosse 2015, section 6.3) and ``μ = damping
        * mean(Λ)``, the product of the same two means: each factor is damped by ``√damping`` times
        the mean of its own eigenvalues. Where it is not ``relative``, ``μ = damping``.
        """
        means = [factor.diagonal().mean() for factor in (self.output_factor, self.input_factor)]
        share = (damping if relative else damping / (means[0] * means[1]).item()) ** 0.5
        gradient = gradient.to(self.output_factor)
        half = torch.cholesky_solve(gradient, _damped_cholesky(self.output_factor, share))
        other = torch.cholesky_solve(half.mT, _damped_cholesky(self.input_factor, share))
        return other.mT.contiguous()


def _damped_cholesky(factor: Float[Tensor, "n n"], share: float) -> Float[Tensor, "n n"]:
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.linalg.cholesky(factor + share * factor.diagonal().mean() * identity)
