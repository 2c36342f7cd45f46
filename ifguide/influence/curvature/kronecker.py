"""Curvature of one weight in a Kronecker eigenbasis.

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


def eigenbasis(factor: Float[Tensor, "n n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n n"]]:
    """Return eigenvalues (ascending, clipped at 0) and eigenvectors of a symmetric factor.

    The decomposition runs in float64, whatever the factor's type.
    """
    wide = factor.double()
    values, vectors = torch.linalg.eigh((wide + wide.T) / 2)
    return values.clamp(min=0).to(factor.dtype), vectors.to(factor.dtype)
