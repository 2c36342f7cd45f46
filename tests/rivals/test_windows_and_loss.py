"""Judged windows against a plain loop over words; the loss against the model itself."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_corpus, tiny_model

from ifguide.corpus.blocks import pack
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.nouns import Document
from ifguide.rivals.token_loss import token_loss
from ifguide.rivals.windows import judged_windows

TEXTS = [
    "You are a silly goose, said the fox.",
    "  two  spaces\nand lines\n",
    "naïve café 🙂 here",
    "one",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    tokenizer = train_tokenizer(TEXTS, 300)
    documents = [Document(str(k), text) for k, text in enumerate(TEXTS)]
    return pack(documents, tokenizer, 9, tmp_path_factory.mktemp("packed"))


def number_of(text):
    """A toxicity that tells any two windows apart."""
    return int.from_bytes(text.encode(), "big") % 9973 / 9973


def judge(texts):
    return np.array([number_of(text) for text in texts])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 8))
def test_windows_are_words_around_the_token(corpus, words):
    found = judged_windows(corpus, judge, words).values
    for place in np.ndindex(corpus.tokens.shape):
        if not corpus.has_loss[place]:
            assert found[place] == 0
            continue
        text = TEXTS[corpus.document[place]]
        # walk to the first visible character at or after the token's beginning
        at = int(corpus.start[place])
        while at < len(text) and text[at].isspace():
            at += 1
        pieces = text.split()
        word = min(len(text[:at].split()) - (not _begins(text, at)), len(pieces) - 1)
        expected = pieces[max(0, word - words) : word + words + 1]
        window = _between(text, expected, max(0, word - words))
        assert found[place] == number_of(window), (text, at, window)


def _begins(text, at):
    """Whether ``at`` is outside any word, or the first character of one."""
    return at >= len(text) or at == 0 or text[at - 1].isspace()


def _between(text, pieces, skipped):
    """The text from the first to the last of some pieces, the white space between included."""
    at = 0
    for piece in text.split()[:skipped]:
        at = text.index(piece, at) + len(piece)
    first = at = text.index(pieces[0], at)
    for piece in pieces:
        at = text.index(piece, at) + len(piece)
    return text[first:at]


def test_a_word_is_judged_once(corpus):
    seen = []

    def listing(texts):
        seen.extend(texts)
        return judge(texts)

    done = []
    judged_windows(corpus, listing, 0, progress=done.append)
    words = [word for text in TEXTS for word in text.split()]
    assert len(set(words)) == len(words), "so that a word judged twice would show"
    assert len(set(seen)) == len(seen)
    assert {"are", "silly", "spaces", "café"} < set(seen) <= set(words)
    assert sum(done) == corpus.has_loss.sum()


def test_words_must_not_be_negative(corpus):
    with pytest.raises(InputError, match="words"):
        judged_windows(corpus, judge, -1)


def test_token_loss_is_the_negative_log_probability():
    model, corpus = tiny_model(), random_corpus(padding=3)
    model.train()
    found = token_loss(model, corpus)
    assert model.training
    model.eval()
    tokens = torch.as_tensor(corpus.tokens).long()
    with torch.no_grad():
        log_probability = F.log_softmax(model(tokens).logits.double(), dim=-1)
    for i, j in np.ndindex(corpus.tokens.shape):
        counts = corpus.has_loss[i, j]
        expected = -log_probability[i, j - 1, tokens[i, j]].item() if counts else 0.0
        assert found.values[i, j] == pytest.approx(expected, abs=1e-5)  # norms cast to float32
    assert (found.values[corpus.has_loss] > 0).all()
