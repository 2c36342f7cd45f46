"""Fit a curvature operator on a sample of the corpus, with labels drawn from the model itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.exact import fit_dense
from ifguide.influence.curvature.factors import Sample, fit_kronecker
from ifguide.influence.curvature.groups import FactorSink, groups_within, in_memory
from ifguide.influence.curvature.operators import Curvature, Identity, curvature_from
from ifguide.models.forward import evaluating
from ifguide.models.hooks import first_readers
from ifguide.models.sharded import is_sharded
from ifguide.models.tracked import TrackedWeight, find_tracked
from ifguide.nouns import Corpus
from ifguide.parts import tell


def fit(
    model: nn.Module,
    corpus: Corpus,
    config: CurvatureConfig | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
    keep: FactorSink = in_memory,
) -> Curvature:
    """Fit the curvature of the mean token loss on a sample of the corpus.

    Args:
        model: a causal language model; its tracked weights are found by walking it.
        corpus: the blocks to sample from.
        config: kind and size of the sample.
        seed: draws the sample and the labels; the draws of a block depend on its number alone.
        progress: called with the number of tokens just done.
        keep: where a group's factors go, if ``config.memory`` makes groups; by default they stay in
            the processor's memory.

    Raises:
        InputError: ``curvature.memory`` is less than one weight needs, no weight can be tracked, a
            factor is not finite (the weight is named), no token of the sample has a loss, or the
            corpus has too few blocks for ``eigenvalue_blocks: other``.
    """
    config = config or CurvatureConfig()
    tracked = find_tracked(model)
    if config.kind == "identity":
        return Identity()
    sample = Sample(corpus, sample_rows(len(corpus.tokens), config.sample_blocks, seed), seed)
    if not sample.predicted_tokens:
        raise InputError(
            f"curvature.sample_blocks: none of the {len(sample.rows)} blocks drawn has a token "
            "that is learnt; raise it"
        )
    with evaluating(model):
        if config.kind == "dense":
            if is_sharded(model):
                raise InputError("curvature.kind: dense is not for a sharded model; use ekfac")
            return fit_dense(model, tracked, sample)
        corrected_on = _others(corpus, config, seed) if config.eigenvalue_blocks else sample
        groups: list[Sequence[TrackedWeight]] = [tracked]
        if config.memory is not None:
            groups[:] = groups_within(tracked, first_readers(model, tracked), config)

        def fitted(group: Sequence[TrackedWeight]) -> Curvature:
            return fit_kronecker(
                model,
                group,
                sample,
                config,
                lambda tokens: progress(tokens // len(groups)),
                corrected_on=corrected_on,
            )

        if len(groups) == 1:
            return fitted(tracked)
        return _by_groups(fitted, groups, keep)


def _by_groups(
    fitted: Callable[[Sequence[TrackedWeight]], Curvature],
    groups: Sequence[Sequence[TrackedWeight]],
    keep: FactorSink,
) -> Curvature:
    """Fit a group after another, and put them together as they are kept."""
    kind = ""
    tensors: dict[str, Tensor] = {}
    for number, group in enumerate(groups, 1):
        tell(f"group {number} of {len(groups)}")
        part = fitted(group)
        kind, held = part.kind, part.tensors()
        del part
        tensors |= keep(kind, held)
        del held
    return curvature_from(kind, tensors)


def _others(corpus: Corpus, config: CurvatureConfig, seed: int) -> Sample:
    """Draw as many blocks as the sample has, none of which is in it."""
    blocks, wanted = len(corpus.tokens), config.sample_blocks
    if 2 * wanted > blocks:
        raise InputError(
            f"curvature.eigenvalue_blocks: other needs twice curvature.sample_blocks ({wanted}), "
            f"the corpus has {blocks}; lower curvature.sample_blocks to {blocks // 2} or fewer"
        )
    both, own = (sample_rows(blocks, n, seed) for n in (2 * wanted, wanted))
    return Sample(corpus, np.setdiff1d(both, own), seed)


def sample_rows(blocks: int, wanted: int, seed: int) -> Int[np.ndarray, " n"]:
    """Draw ``wanted`` of ``blocks`` block numbers without repetition, in ascending order."""
    draw = np.random.default_rng(seed).permutation(blocks)[:wanted]
    return np.sort(draw)
