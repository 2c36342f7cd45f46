"""Random models and corpora that are timed, and the work that is timed on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.factors import Sample, corrected_eigenvalues, covariances
from ifguide.influence.curvature.kronecker import KroneckerEigenbasis
from ifguide.models.losses import device_of
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Corpus, Direction, Document


@dataclass(frozen=True)
class Case:
    """A GPT-NeoX of random float32 weights and a corpus of random tokens."""

    width: int
    length: int
    tokens: int
    vocabulary: int = 4096
    layers: int = 4

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            "gpt_neox",
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=max(1, self.width // 64),
            intermediate_size=4 * self.width,
            max_position_embeddings=self.length,
            bos_token_id=0,
            eos_token_id=0,
        )
        return AutoModelForCausalLM.from_config(config).eval()

    def corpus(self) -> Corpus:
        shape = self.tokens // self.length, self.length
        nowhere = np.zeros(shape, dtype=np.int32)
        documents: Sequence[Document] = ()
        tokens = np.random.default_rng(0).integers(1, self.vocabulary, shape).astype(np.int32)
        unmarked = nowhere.astype(bool)
        return Corpus(tokens, nowhere, nowhere, nowhere, unmarked, documents, 0, "random")


def random_direction(model: nn.Module) -> Direction:
    generator = torch.Generator().manual_seed(1)
    return Direction(
        {w.name: torch.randn(w.matrix.shape, generator=generator) for w in find_tracked(model)}
    )


def plain_losses(model: nn.Module, corpus: Corpus, batch_tokens: int) -> Tensor:
    """The unit: the model's own logits and PyTorch's own loss, token by token."""
    losses, size = [], max(1, batch_tokens // corpus.tokens.shape[1])
    for tokens in torch.from_numpy(corpus.tokens).long().to(device_of(model)).split(size):
        with torch.inference_mode():
            logits = model(input_ids=tokens, use_cache=False).logits
            labels = tokens[:, 1:].flatten()
            losses.append(F.cross_entropy(logits[:, :-1].flatten(0, 1), labels, reduction="none"))
    return torch.cat(losses)


def curvature_passes(model: nn.Module, corpus: Corpus) -> dict[str, Callable[[], Any]]:
    """The two passes of an EK-FAC fit; the second rotates by bases of the right shapes."""
    tracked = find_tracked(model)
    sample, device = Sample(corpus, np.arange(len(corpus.tokens)), 0), device_of(model)

    def basis(size: int) -> Tensor:
        return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator()))[0].to(device)

    shapes = {w.name: w.matrix.shape for w in tracked}
    bases = {
        name: KroneckerEigenbasis(basis(out), basis(width), torch.ones(out, width, device=device))
        for name, (out, width) in shapes.items()
    }
    fit = model, tracked, sample
    return {
        "covariances": lambda: covariances(*fit, 8, lambda _: None),
        "eigenvalues": lambda: corrected_eigenvalues(
            *fit, bases, CurvatureConfig(), lambda _: None
        ),
        "in bfloat16": lambda: corrected_eigenvalues(
            *fit, bases, CurvatureConfig(rotation="bfloat16"), lambda _: None
        ),
    }


def add_fits(turns: dict[str, list[float]]) -> None:
    """Add what both passes of an EK-FAC fit come to, turn by turn, for each type of rotation."""
    for name, second in (("ekfac", "eigenvalues"), ("ekfac, bfloat16", "in bfloat16")):
        turns[name] = [sum(pair) for pair in zip(turns["covariances"], turns[second], strict=True)]
