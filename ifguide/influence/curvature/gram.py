"""Second moments ``XᵀX`` of a stream of rows, at half the price of a general product."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PANELS = 8


def add_lower_gram(total: Float[Tensor, "n n"], rows: Float[Tensor, "r n"]) -> None:
    """Add the lower triangle of ``rowsᵀ rows`` to ``total``, in place.

    It is done panel by panel, each an eighth of the rows of ``total`` up to its last diagonal
    element. What lies above the diagonal means nothing until ``mirror_lower`` has set it.
    """
    width = -(-len(total) // PANELS)
    for start in range(0, len(total), width):
        stop = start + width
        total[start:stop, :stop].addmm_(rows[:, start:stop].T, rows[:, :stop])


def mirror_lower(total: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Make ``total`` symmetric, in place, by what lies below its diagonal; return it."""
    width = -(-len(total) // PANELS)
    for start in range(0, len(total), width):
        stop = start + width
        diagonal = total[start:stop, start:stop]
        diagonal.copy_(diagonal.tril() + diagonal.tril(-1).T)
        total[start:stop, stop:] = total[stop:, start:stop].T
    return total
