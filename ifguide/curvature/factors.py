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

from ifguide import distributed
from ifguide.errors import InputError
from ifguide.linalg.kronecker import KroneckerEigenbasis, eigenbasis
from ifguide.linalg.operators import Kronecker
from ifguide.models.hooks import Consume, observed
from ifguide.models.losses import device_of, forward_logits
from ifguide.models.tracked import TrackedWeight
from ifguide.nouns import Corpus

Moments = dict[str, Tensor]  # [rows, columns] by weight name


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
) -> Kronecker:
    """Fit one Kronecker eigenbasis a weight; ``corrected`` gives EK-FAC's eigenvalues."""
    outputs, inputs = _covariances(model, tracked, sample, batch_size, progress)
    decomposed = {
        w.name: (eigenbasis(outputs[w.name]), eigenbasis(inputs[w.name])) for w in tracked
    }
    bases = {
        name: KroneckerEigenbasis(Q_S, Q_A, torch.outer(output_values, input_values))
        for name, ((output_values, Q_S), (input_values, Q_A)) in decomposed.items()
    }
    if not corrected:
        return Kronecker(bases, "kfac")
    moments = _corrected_eigenvalues(model, tracked, sample, bases, batch_size, progress)
    bases = {
        name: KroneckerEigenbasis(basis.output_basis, basis.input_basis, moments[name])
        for name, basis in bases.items()
    }
    return Kronecker(bases, "ekfac")


def _covariances(
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

        def accumulate(
            weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor, kept: Tensor = predicting
        ) -> None:
            a, d = (x[kept].to(inputs[weight.name].dtype) for x in (a_BTI, d_BTO))
            inputs[weight.name].addmm_(a.T, a)
            outputs[weight.name].addmm_(d.T, d)

        backward(accumulate)
    return _reduced(outputs, sample, "output"), _reduced(inputs, sample, "input")


def _corrected_eigenvalues(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    bases: dict[str, KroneckerEigenbasis],
    batch_size: int,
    progress: Callable[[int], None],
) -> Moments:
    """Return ``Λ = E[(Q_Sᵀ ∇W Q_A)²]`` a weight, by one gradient a block."""
    moments = {w.name: _zeros(w, *w.matrix.shape) for w in tracked}

    def accumulate(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
        basis, moment = bases[weight.name], moments[weight.name]
        rotated_d = d_BTO.to(moment.dtype) @ basis.output_basis
        rotated_a = a_BTI.to(moment.dtype) @ basis.input_basis
        for d_TO, a_TI in zip(rotated_d, rotated_a, strict=True):
            moment.add_((d_TO.T @ a_TI).square_())

    for _, backward in _sampled_backwards(model, tracked, sample, batch_size, progress):
        backward(accumulate)
    return _reduced(moments, sample, "eigenvalue")


def _sampled_backwards(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    sample: Sample,
    batch_size: int,
    progress: Callable[[int], None],
) -> Iterator[tuple[Bool[Tensor, "B T"], Callable[[Consume], None]]]:
    """Yield, a batch, the predicting positions and a function that runs forward and backward."""
    device = device_of(model)
    batches = [sample.rows[i : i + batch_size] for i in range(0, len(sample.rows), batch_size)]
    for rows in distributed.mine(batches):
        tokens = torch.as_tensor(np.asarray(sample.corpus.tokens[rows]), device=device).long()
        has_loss = torch.as_tensor(sample.corpus.has_loss[rows], device=device)
        predicting = F.pad(has_loss[:, 1:], (0, 1))

        def backward(
            consume: Consume,
            tokens: Tensor = tokens,
            rows: np.ndarray = rows,
            predicting: Tensor = predicting,
        ) -> None:
            with observed(model, tracked, consume), torch.enable_grad():
                logits = forward_logits(model, tokens)
                labels = sample_labels(logits.detach(), rows, sample.seed)
                wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1)
                losses = F.cross_entropy(wide, labels.flatten(), reduction="none")
                (losses * predicting.flatten()).sum().backward()

        yield predicting, backward
        progress(tokens.numel())


def sample_labels(
    logits_BTV: Float[Tensor, "B T V"], rows: Int[np.ndarray, " B"], seed: int
) -> Int[Tensor, "B T"]:
    """Draw each position's next token from the model by inverse transform sampling.

    The uniform draws of a block come from ``(seed, block number)``, so they do not depend on the
    batch, the rank or the padding.
    """
    labels = []
    for row, logits_TV in zip(rows, logits_BTV, strict=True):
        uniform = np.random.default_rng((seed, int(row))).random(len(logits_TV))
        cumulative = logits_TV.double().softmax(-1).cumsum(-1)
        drawn = torch.as_tensor(uniform, device=logits_TV.device)[:, None] * cumulative[:, -1:]
        labels.append(torch.searchsorted(cumulative, drawn).squeeze(-1))
    return torch.stack(labels).clamp_(max=logits_BTV.shape[-1] - 1)


def _zeros(weight: TrackedWeight, rows: int, columns: int) -> Tensor:
    """A float32 accumulator (float64 for a float64 model) where the weight lies."""
    parameter = weight.parameter
    dtype = torch.promote_types(parameter.dtype, torch.float32)
    return torch.zeros(rows, columns, dtype=dtype, device=parameter.device)


def _reduced(moments: Moments, sample: Sample, part: str) -> Moments:
    for name, moment in moments.items():
        distributed.sum_over_ranks(moment).div_(sample.predicted_tokens)
        if not torch.isfinite(moment).all():
            raise InputError(
                f"curvature: the {part} factor of weight '{name}' is not finite; the checkpoint or "
                "its activations hold NaN or infinity: check the model, or use dtype float32"
            )
    return moments
