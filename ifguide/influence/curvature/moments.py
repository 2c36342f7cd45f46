"""Second moments of gradients in a Kronecker eigenbasis, from activations and output gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ifguide.influence.curvature.kronecker import KroneckerEigenbasis


class Rotations:
    """Turns activations and output gradients into the weights' bases and adds up their squares.

    What several weights read is rotated once a batch: they hold one and the same input basis.

    Args:
        bases: by weight name.
        dtype: of the products; None is that of the sums.
    """

    def __init__(
        self, bases: Mapping[str, KroneckerEigenbasis], dtype: torch.dtype | None = None
    ) -> None:
        self._reader = {name: id(basis.input_basis) for name, basis in bases.items()}
        self._readers = Counter(self._reader.values())
        self._outputs = Counter[int]()  # rows of all the weights that read an input
        for name, basis in bases.items():
            self._outputs[self._reader[name]] += len(basis.output_basis)
        inputs = {
            id(basis.input_basis): basis.input_basis.to(dtype or basis.input_basis.dtype)
            for basis in bases.values()
        }
        self._bases = {
            name: (
                basis.output_basis.to(dtype or basis.output_basis.dtype),
                inputs[id(basis.input_basis)],
            )
            for name, basis in bases.items()
        }
        self._held: dict[int, tuple[Tensor, int]] = {}  # a rotated input, and who is to read it

    def forget(self) -> None:
        """Let go of what is held of the batch; a weight that no token reaches reads nothing."""
        self._held.clear()

    def add_by_token(
        self,
        moment: Float[Tensor, "out in"],
        name: str,
        a_BTI: Float[Tensor, "B T in"],
        d_BTO: Float[Tensor, "B T out"],
    ) -> None:
        """Add ``sum_t (Q_Sᵀ δ_t)² ⊗ (Q_Aᵀ a_t)²`` to a weight's moment, by one product."""
        Q_S, _ = self._bases[name]
        d, a = d_BTO.to(Q_S.dtype) @ Q_S, self._rotated(name, a_BTI)
        squares = (x.flatten(0, 1).to(moment.dtype).square() for x in (d, a))
        d_RO, a_RI = squares
        moment.addmm_(d_RO.T, a_RI)

    def add_by_block(
        self,
        moment: Float[Tensor, "out in"],
        name: str,
        a_BTI: Float[Tensor, "B T in"],
        d_BTO: Float[Tensor, "B T out"],
    ) -> None:
        """Add each block's ``(Q_Sᵀ (sum_t δ_t a_tᵀ) Q_A)²`` to a weight's moment."""
        for rotated in self._gradients(name, a_BTI, d_BTO):
            gradient = rotated.to(moment.dtype)
            moment.addcmul_(gradient, gradient)

    def _gradients(
        self, name: str, a_BTI: Float[Tensor, "B T in"], d_BTO: Float[Tensor, "B T out"]
    ) -> Iterator[Float[Tensor, "out in"]]:
        """Yield each block's ``Q_Sᵀ (sum_t δ_t a_tᵀ) Q_A``, with each rotation where it costs less.

        Rotating δ costs T out² a block before the sum and in out² after it; a costs T in² before
        it, once for all its readers, and out in² after it for each of them.
        """
        Q_S, Q_A = self._bases[name]
        length = d_BTO.shape[1]
        outputs_first = length <= a_BTI.shape[2]
        inputs_first = length <= self._outputs[self._reader[name]]
        d_BTO, a_BTI = d_BTO.to(Q_S.dtype), a_BTI.to(Q_A.dtype)
        d_BTO = d_BTO @ Q_S if outputs_first else d_BTO
        a_BTI = self._rotated(name, a_BTI) if inputs_first else a_BTI
        for d_TO, a_TI in zip(d_BTO, a_BTI, strict=True):
            gradient = d_TO.T @ a_TI
            gradient = gradient if outputs_first else Q_S.T @ gradient
            yield gradient if inputs_first else gradient @ Q_A

    def _rotated(self, name: str, a_BTI: Float[Tensor, "B T in"]) -> Float[Tensor, "B T in"]:
        """Return ``a Q_A``, computed for the first of its readers and dropped after the last."""
        Q_A, key = self._bases[name][1], self._reader[name]
        rotated, left = self._held.pop(key, (None, self._readers[key]))
        rotated = a_BTI.to(Q_A.dtype) @ Q_A if rotated is None else rotated
        if left > 1:
            self._held[key] = rotated, left - 1
        return rotated
