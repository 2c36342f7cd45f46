"""A small byte-level tokenizer, and tiny random models and corpora for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.documents import Documents
from ifguide.nouns import Corpus, Document

TEXTS = (
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "You are a silly goose, said the fox, and ran away over the hill.",
    "Numbers 123, naïve café, “quotes” and a smile 🙂 make odd bytes.",
)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def build_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., nn.Module]:
    """Return ``build(family, dtype)``: random weights, large for varied predictions."""

    def build(family: str = "gpt2", dtype: torch.dtype = torch.float64) -> nn.Module:
        end = tokenizer.eos_token_id
        ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
        positions = {"n_positions" if family == "gpt2" else "max_position_embeddings": 64}
        varied = {"initializer_range": 0.4, "tie_word_embeddings": False}
        return tiny_model(
            family, dtype, seed=3, vocab_size=len(tokenizer), **ids, **positions, **varied
        )

    return build


@pytest.fixture
def build_corpus(tmp_path: Path) -> Callable[..., Corpus]:
    """Return ``build(tokens, document)``: a corpus around given arrays."""

    def build(
        tokens: Sequence[Sequence[int]] | np.ndarray, document: Sequence[Sequence[int]] | np.ndarray
    ) -> Corpus:
        blocks, owner = np.asarray(tokens), np.asarray(document)
        zeros = np.zeros_like(blocks)
        texts = [Document(str(k), "x") for k in range(int(owner.max()) + 1)]
        documents = Documents.write(tmp_path / "documents.arrow", texts)
        return Corpus(
            blocks, owner, zeros, zeros, zeros.astype(bool), documents, 0, "made in a test"
        )

    return build
