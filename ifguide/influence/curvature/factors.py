"""K-FAC factors and EK-FAC eigenvalues from sampled labels.

Notation: a_t is a weight's input at position t, δ_t the gradient of its output, both of the loss
summed over the block with labels drawn from the model, so that the factors are of the true
Fisher rather than of the empirical one. All moments are per predicted token: cross terms between
tokens of a block vanish in expectation, because the score of a drawn label has mean zero given
its past, so the second moment of a block's gradient is the sum of its tokens'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.eigen import eigenbases
from ifguide.influence.curvature.gram import add_lower_gram, mirror_lower
from ifguide.influence.curvature.kronecker import DampedFactors, KroneckerEigenbasis
from ifguide.influence.curvature.moments import Rotations
from ifguide.influence.curvature.operators import Curvature, Factored, Kronecker
from ifguide.models.hooks import Consume, first_readers, observed
from ifguide.models.losses import device_of
from ifguide.models.readout import readout_of
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight
from ifguide.nouns import Corpus
from ifguide.parts import tell

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
    config: CurvatureConfig,
    progress: Callable[[int], None],
    *,
    corrected_on: Sample | None = None,
) -> Curvature:
    """Fit K-FAC or EK-FAC: one Kronecker product a weight.

    Weights that read the same input have one input factor, and one basis of it.

    Args:
        model: in evaluation mode.
        tracked: its tracked weights.
        sample: the blocks that the factors are of.
        config: ``kind`` kfac or ekfac, and how.
        progress: called with the number of tokens just done.
        corrected_on: the blocks that EK-FAC's eigenvalues are of; by default the sample's.
    """
    tell("covariances")
    factors = covariances(model, tracked, sample, config.batch_size, progress)
    if config.damping == "factored":
        outputs, inputs = factors
        return Factored({w.name: DampedFactors(outputs[w.name], inputs[w.name]) for w in tracked})
    bases = _decomposed(tracked, *factors)
    del factors  # as large as the bases
    if config.kind == "kfac":
        return Kronecker(bases, "kfac")
    tell("corrected eigenvalues")
    moments = corrected_eigenvalues(model, tracked, corrected_on or sample, bases, config, progress)
    bases = {
        name: KroneckerEigenbasis(basis.output_basis, basis.input_basis, moments[name])
        for name, basis in bases.items()
    }
    return Kronecker(bases, "ekfac")


def _decomposed(
    tracked: Sequence[TrackedWeight], outputs: Moments, inputs: Moments
) -> dict[str, KroneckerEigenbasis]:
    """Return each weight's eigenbasis, with its factors' own eigenvalues."""
    distinct = {id(factor): factor for factor in (*outputs.values(), *inputs.values())}
    decomposed = dict(zip(distinct, eigenbases([*distinct.values()]), strict=True))
    bases = {}
    for w in tracked:
        (output_values, Q_S), (input_values, Q_A) = (
            decomposed[id(factors[w.name])] for factors in (outputs, inputs)
        )
        bases[w.name] = KroneckerEigenbasis(Q_S, Q_A, torch.outer(output_values, input_values))
    return bases


def covariances(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    batch_size: int,
    progress: Callable[[int], None],
) -> tuple[Moments, Moments]:
    """Return ``S = E[δ δᵀ]`` and ``A = E[a aᵀ]`` a weight, over the predicting positions.

    Weights that read the same input have the same A, one tensor.
    """
    first = first_readers(model, tracked)
    outputs = {w.name: _zeros(w, w.matrix.shape[0], w.matrix.shape[0]) for w in tracked}
    inputs = {
        w.name: _zeros(w, w.matrix.shape[1], w.matrix.shape[1])
        for w in tracked
        if first[w.name] == w.name
    }
    read: dict[str, int] = {}  # where each input of the batch lies
    for predicting, backward in sampled_backwards(model, tracked, sample, batch_size, progress):
        positions = predicting.flatten().nonzero().squeeze(-1)

        def accumulate(
            weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor, positions: Tensor = positions
        ) -> None:
            if read.setdefault(first[weight.name], a_BTI.data_ptr()) != a_BTI.data_ptr():
                raise RuntimeError(f"weight '{weight.name}' does not read one input throughout")
            for totals, x_BTn in ((inputs, a_BTI), (outputs, d_BTO)):
                if weight.name in totals:
                    total = totals[weight.name]
                    rows = x_BTn.flatten(0, 1).index_select(0, positions).to(total.dtype)
                    add_lower_gram(total, rows)

        backward(accumulate)
        read.clear()
    for total in (*outputs.values(), *inputs.values()):
        mirror_lower(total)
    shared = _reduced(inputs, sample, "input")
    return _reduced(outputs, sample, "output"), {w.name: shared[first[w.name]] for w in tracked}


def corrected_eigenvalues(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    bases: Mapping[str, KroneckerEigenbasis],
    config: CurvatureConfig,
    progress: Callable[[int], None],
) -> Moments:
    """Return ``Λ`` a weight: ``E[(Q_Sᵀ ∇W Q_A)²]`` by one gradient a block, or token by token."""
    moments = {w.name: _zeros(w, *w.matrix.shape) for w in tracked}
    rotations = Rotations(bases, torch.bfloat16 if config.rotation == "bfloat16" else None)
    add = rotations.add_by_token if config.eigenvalues == "token" else rotations.add_by_block

    def accumulate(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
        add(moments[weight.name], weight.name, a_BTI, d_BTO)

    batches = sampled_backwards(model, tracked, sample, config.batch_size, progress)
    for _, backward in batches:
        backward(accumulate)
        rotations.forget()
    return _reduced(moments, sample, "eigenvalue")


def sampled_backwards(
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
