"""K-FAC factors and EK-FAC eigenvalues from sampled labels.

Notation: a_t is a weight's input at position t, δ_t the gradient of its output, both of the loss
summed over the block with labels drawn from the model, so that the factors are of the true
Fisher rather than of the empirical one. All moments are per predicted token: cross terms between
tokens of a block vanish in expectation, because the score of a drawn label has mean zero given
its past, so the second moment of a block's gradient is the sum of its tokens'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.influence.curvature.gram import add_lower_gram, mirror_lower
from ifguide.influence.curvature.kronecker import KroneckerEigenbasis, eigenbasis
from ifguide.influence.curvature.operators import Kronecker
from ifguide.models.hooks import Consume, observed
from ifguide.models.losses import device_of
from ifguide.models.readout import readout_of
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight
from ifguide.nouns import Corpus
from ifguide.parts import doing

Moments = dict[str, Tensor]  # [rows, columns] by weight name
Rows = Int[np.ndarray, " _"]


@dataclass(frozen=True, eq=False)
class Sample:
    """The blocks a curvature is fitted on and the seed of their labels."""

    corpus: Corpus
    rows: Int[np.ndarray, " n"]
    seed: int

    @property
    def predicted_tokens(self) -> int:
        """Number of tokens with a loss."""
        return int(self.corpus.has_loss[self.rows].sum())


def fit_kronecker(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    *,
    corrected: bool,
    batch_size: int,
    progress: Callable[[int], None],
    rotation: torch.dtype | None = None,
) -> Kronecker:
    """Fit one Kronecker eigenbasis a weight; ``corrected`` gives EK-FAC's eigenvalues."""
    doing("covariances")
    outputs, inputs = covariances(model, tracked, sample, batch_size, progress)
    decomposed = {}
    for number, w in enumerate(tracked, 1):
        doing(f"decomposing {w.name} ({number} of {len(tracked)})")
        decomposed[w.name] = eigenbasis(outputs[w.name]), eigenbasis(inputs[w.name])
    bases = {
        name: KroneckerEigenbasis(Q_S, Q_A, torch.outer(output_values, input_values))
        for name, ((output_values, Q_S), (input_values, Q_A)) in decomposed.items()
    }
    if not corrected:
        return Kronecker(bases, "kfac")
    doing("corrected eigenvalues")
    moments = corrected_eigenvalues(model, tracked, sample, bases, batch_size, progress, rotation)
    bases = {
        name: KroneckerEigenbasis(basis.output_basis, basis.input_basis, moments[name])
        for name, basis in bases.items()
    }
    return Kronecker(bases, "ekfac")


def covariances(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    batch_size: int,
    progress: Callable[[int], None],
) -> tuple[Moments, Moments]:
    """Return ``S = E[δ δᵀ]`` and ``A = E[a aᵀ]`` a weight, over the predicting positions."""
    outputs = {w.name: _zeros(w, w.matrix.shape[0], w.matrix.shape[0]) for w in tracked}
    inputs = {w.name: _zeros(w, w.matrix.shape[1], w.matrix.shape[1]) for w in tracked}
    for predicting, backward in _sampled_backwards(model, tracked, sample, batch_size, progress):
        positions = predicting.flatten().nonzero().squeeze(-1)

        def accumulate(
            weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor, positions: Tensor = positions
        ) -> None:
            for total, x_BTn in ((inputs[weight.name], a_BTI), (outputs[weight.name], d_BTO)):
                add_lower_gram(
                    total, x_BTn.flatten(0, 1).index_select(0, positions).to(total.dtype)
                )

        backward(accumulate)
    for total in (*outputs.values(), *inputs.values()):
        mirror_lower(total)
    return _reduced(outputs, sample, "output"), _reduced(inputs, sample, "input")


def corrected_eigenvalues(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    bases: dict[str, KroneckerEigenbasis],
    batch_size: int,
    progress: Callable[[int], None],
    rotation: torch.dtype | None = None,
) -> Moments:
    """Return ``Λ = E[(Q_Sᵀ ∇W Q_A)²]`` a weight, by one gradient a block.

    ``rotation`` is the type of the products, None is that of the sums.
    """
    moments = {w.name: _zeros(w, *w.matrix.shape) for w in tracked}
    vectors = {
        w.name: tuple(
            basis.to(rotation or moments[w.name].dtype)
            for basis in (bases[w.name].output_basis, bases[w.name].input_basis)
        )
        for w in tracked
    }

    def accumulate(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
        moment, (Q_S, Q_A) = moments[weight.name], vectors[weight.name]
        for rotated in _rotated_gradients(a_BTI.to(Q_A.dtype), d_BTO.to(Q_S.dtype), Q_S, Q_A):
            gradient = rotated.to(moment.dtype)
            moment.addcmul_(gradient, gradient)

    for _, backward in _sampled_backwards(model, tracked, sample, batch_size, progress):
        backward(accumulate)
    return _reduced(moments, sample, "eigenvalue")


def _rotated_gradients(
    a_BTI: Float[Tensor, "B T in"],
    d_BTO: Float[Tensor, "B T out"],
    Q_S: Float[Tensor, "out out"],
    Q_A: Float[Tensor, "in in"],
) -> Iterator[Float[Tensor, "out in"]]:
    """Yield each block's ``Q_Sᵀ (Σ_t δ_t a_tᵀ) Q_A``, with each rotation where it costs less.

    Rotating δ costs T out² a block before the sum and in out² after it; a likewise.
    """
    outputs_first, inputs_first = (d_BTO.shape[1] <= n for n in (a_BTI.shape[2], d_BTO.shape[2]))
    d_BTO = d_BTO @ Q_S if outputs_first else d_BTO
    a_BTI = a_BTI @ Q_A if inputs_first else a_BTI
    for d_TO, a_TI in zip(d_BTO, a_BTI, strict=True):
        gradient = d_TO.T @ a_TI
        gradient = gradient if outputs_first else Q_S.T @ gradient
        yield gradient if inputs_first else gradient @ Q_A


def _sampled_backwards(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    batch_size: int,
    progress: Callable[[int], None],
) -> Iterator[tuple[Bool[Tensor, "B T"], Callable[[Consume], None]]]:
    """Yield, a batch, the predicting positions and a function that runs forward and backward."""
    device, readout = device_of(model), readout_of(model)
    batches = [sample.rows[i : i + batch_size] for i in range(0, len(sample.rows), batch_size)]
    for rows, counted in _in_step(batches) if is_sharded(model) else _all_counted(batches):
        tokens = torch.as_tensor(np.asarray(sample.corpus.tokens[rows]), device=device).long()
        has_loss = torch.as_tensor(sample.corpus.has_loss[rows], device=device) & counted
        predicting = F.pad(has_loss[:, 1:], (0, 1))
        uniform = uniform_draws(rows, tokens.shape[1], sample.seed).to(device).flatten()

        def backward(
            consume: Consume,
            tokens: Tensor = tokens,
            predicting: Tensor = predicting,
            uniform: Tensor = uniform,
        ) -> None:
            with observed(model, tracked, consume), torch.enable_grad():
                states = readout.states(tokens)
                gradients = readout.gradients(
                    states.detach(), lambda chunk, p: inverse_transform(p, uniform[chunk])
                )
                states.backward(gradients * predicting[..., None])

        yield predicting, backward
        progress(tokens.numel())


def _all_counted(batches: list[Rows]) -> Iterator[tuple[Rows, bool]]:
    return ((rows, True) for rows in ranks.mine(batches))


def _in_step(batches: list[Rows]) -> Iterator[tuple[Rows, bool]]:
    """Yield as many batches on every rank; one that is there only for its pass is not counted."""
    yield from _all_counted(batches)
    if ranks.rank() >= len(batches) % ranks.world_size() > 0:
        yield batches[-1], False


def uniform_draws(rows: Int[np.ndarray, " B"], length: int, seed: int) -> Float[Tensor, "B T"]:
    """Return a number in [0, 1) a position, from ``(seed, block number)`` alone.

    A block's draws thus do not depend on the batch, the rank or the padding.
    """
    draws = [np.random.default_rng((seed, int(row))).random(length) for row in rows]
    return torch.from_numpy(np.stack(draws))


def inverse_transform(
    p_RV: Float[Tensor, "R V"], uniform_R: Float[Tensor, " R"]
) -> Int[Tensor, " R"]:
    """Draw from each row's distribution by inverse transform sampling."""
    cumulative = p_RV.cumsum(-1)
    drawn = uniform_R.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn).squeeze(-1).clamp_(max=p_RV.shape[-1] - 1)


def _zeros(weight: TrackedWeight, rows: int, columns: int) -> Tensor:
    """A float32 accumulator (float64 for a float64 model) where the weight lies."""
    parameter = weight.parameter
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return torch.zeros(rows, columns, dtype=dtype, device=parameter.device)


def _reduced(moments: Moments, sample: Sample, part: str) -> Moments:
    for name, moment in moments.items():
        ranks.sum_over_ranks(moment).div_(sample.predicted_tokens)
        if not torch.stack(moment.aminmax()).isfinite().all():  # one pass; NaN is carried along
            raise InputError(
                f"curvature: the {part} factor of weight '{name}' is not finite; the checkpoint or "
                "its activations hold NaN or infinity: check the model, or use dtype float32"
            )
    return moments
