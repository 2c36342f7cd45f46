"""A small corpus with a drawn mask and scores, a model that reads it, and what exports hold."""

import numpy as np
import pytest
from cutters import SAMPLE, byte_level
from tiny import tiny_model

from ifguide.corpus.blocks import pack
from ifguide.masks.format import MaskedCorpus
from ifguide.nouns import Document, Selection, TokenScores

LENGTH = 16
TEXTS = [f"{number}. {SAMPLE[number % 4]} It is day {number}." for number in range(24)]


def drawn_mask(corpus, tokenizer, seed=0, rate=0.15):
    """A mask over tokens with a loss, in stretches of two, with scores of both signs."""
    rng = np.random.default_rng(seed)
    hit = rng.random(corpus.tokens.shape) < rate / 2
    suppress = (hit | np.roll(hit, 1)) & corpus.has_loss
    values = np.where(corpus.has_loss, rng.normal(size=hit.shape), 0).astype(np.float32)
    selection = Selection(
        suppress, 0.25, int(suppress.sum()), np.arange(4), np.ones(4), corpus, {"engine": "jvp"}
    )
    return MaskedCorpus(selection, TokenScores(values, corpus, {"engine": "jvp"}), tokenizer)


@pytest.fixture(scope="session")
def masked(tmp_path_factory):
    tokenizer = byte_level()
    documents = [Document(f"t-{n}", text, source="posts") for n, text in enumerate(TEXTS)]
    corpus = pack(documents, tokenizer, LENGTH, tmp_path_factory.mktemp("packed"))
    return drawn_mask(corpus, tokenizer)


@pytest.fixture(scope="session")
def model(masked):
    """A small model in float64 that reads the corpus's tokens."""
    return tiny_model("llama", vocab_size=masked.vocabulary, max_position_embeddings=256)


def selected_characters(masked):
    """By document: the set of characters that selected tokens stand for."""
    found = [set() for _ in masked.corpus.documents]
    corpus = masked.corpus
    for place in zip(*np.nonzero(masked.selection.suppress), strict=True):
        span = range(corpus.start[place], corpus.end[place])
        found[corpus.document[place]].update(span)
    return found
