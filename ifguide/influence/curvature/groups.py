"""Which weights are fitted together, so that what they need at once stays within a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.models.tracked import TrackedWeight


@runtime_checkable
class FactorSink(Protocol):
    """Where a group's tensors go when it is fitted, so that the next has its memory."""

    def __call__(self, kind: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Keep the tensors of a group of the curvature ``kind``, and return them as kept."""
        ...


def in_memory(kind: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Keep a group's tensors in the memory of the processor, off any accelerator.

    What stands under several names stays one tensor.
    """
    moved = {id(tensor): tensor.cpu() for tensor in tensors.values()}
    return {name: moved[id(tensor)] for name, tensor in tensors.items()}


def groups_within(
    tracked: Sequence[TrackedWeight], first: Mapping[str, str], config: CurvatureConfig
) -> list[list[TrackedWeight]]:
    """Return the weights in groups, in their order, each within ``curvature.memory``.

    Weights that read one input are fitted together. Without a bound there is one group.

    Args:
        tracked: all weights.
        first: of each, the first weight that reads the same input.
        config: the kind, and the bound.

    Raises:
        InputError: weights that have to be fitted together need more than the bound.
    """
    if config.memory_bytes is None:
        return [list(tracked)]
    readers: dict[str, list[TrackedWeight]] = {}
    for weight in tracked:
        readers.setdefault(first[weight.name], []).append(weight)
    groups: list[list[TrackedWeight]] = []
    for together in readers.values():
        needed = _bytes_of(together, first, config)
        if needed > config.memory_bytes:
            raise InputError(
                f"curvature.memory: {config.memory} is too little for weight "
                f"'{together[0].name}' and what reads the same input, which need "
                f"{-(-needed // 2**20):,}MiB; give as much, or curvature.kind: identity"
            )
        if groups and _bytes_of([*groups[-1], *together], first, config) <= config.memory_bytes:
            groups[-1] += together
        else:
            groups.append(together)
    return groups


def _bytes_of(
    weights: Sequence[TrackedWeight], first: Mapping[str, str], config: CurvatureConfig
) -> int:
    """Return what fitting weights together holds at most.

    Of the two factors there are the sums and then the eigenvectors, which lie side by side while
    they are computed; after that, the eigenvectors and two [out, in] of eigenvalues.
    """
    bases, values, inputs = 0, 0, set()
    for weight in weights:
        rows, columns = weight.matrix.shape
        item = torch.promote_types(weight.parameter.dtype, torch.float32).itemsize
        bases += item * rows * rows
        if first[weight.name] not in inputs:
            inputs.add(first[weight.name])
            bases += item * columns * columns
        values += item * rows * columns
    if config.damping == "factored":
        return bases
    return max(2 * bases + values, bases + 2 * values)
