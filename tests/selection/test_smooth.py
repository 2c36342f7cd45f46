"""Smoothing against a plain loop over tokens."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_corpus

from ifguide import arrays as lazy
from ifguide.arrays import LazyArray
from ifguide.corpus.words import Spelling
from ifguide.errors import InputError
from ifguide.nouns import TokenScores
from ifguide.selection.config import SmoothingConfig
from ifguide.selection.smooth import smooth


def random_scores(seed, blocks=4, length=9):
    corpus = random_corpus(blocks, length, seed=seed)
    values = np.random.default_rng(seed).normal(size=corpus.tokens.shape)
    return TokenScores(np.where(corpus.has_loss, values, 0.0), corpus)


# ids 1, 4, 7, ... start a word and 2, 5, 8, ... go on with one; the others stand alone
TEXTS = [("!", " Ab" if i % 2 else " aB", "c" * (i % 4 + 1))[i % 3] for i in range(61)]
SPELT = Spelling.of(TEXTS)
UNITS = st.sampled_from(["token", "word"])


def words_by_hand(corpus):
    """Each token's word as (first place, letters), by a plain loop over the blocks."""
    words = []
    for tokens, document in zip(corpus.tokens, corpus.document, strict=True):
        for j, token in enumerate(tokens):
            text = TEXTS[token].strip().lower()
            left = TEXTS[tokens[j - 1]] if j and document[j - 1] == document[j] else "!"
            if text.isalpha() and TEXTS[token][0] != " " and left != "!":
                words[-1][1] += text
                words.append(words[-1])
            else:
                words.append([len(words), text])
    return words


def by_hand(scores, neighbours, type_share, unit="token"):
    corpus = scores.corpus
    document, has_loss = corpus.document.ravel(), corpus.has_loss.ravel()
    values, kind = scores.values.ravel(), corpus.tokens.ravel()
    if unit == "word":
        place, kind = (np.array(column) for column in zip(*words_by_hand(corpus), strict=True))
        inside = [has_loss & (place == p) for p in place]
        values = np.array([values[own].mean() if own.any() else 0.0 for own in inside])
    expected = np.zeros(len(values))
    for j in np.flatnonzero(has_loss):
        near = [
            k
            for k in np.flatnonzero(has_loss & (document == document[j]))
            if abs(k - j) <= neighbours
        ]
        weight = [1 - abs(k - j) / (neighbours + 1) for k in near]
        of_type = values[has_loss & (kind == kind[j])].mean()
        around = np.average(values[near], weights=weight)
        expected[j] = (1 - type_share) * around + type_share * of_type
    return expected.reshape(corpus.tokens.shape)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 12), st.sampled_from([0.0, 0.3, 1.0]), UNITS)
def test_smoothing_is_what_it_says(seed, neighbours, type_share, unit):
    scores = random_scores(seed)
    config = SmoothingConfig(neighbours=neighbours, type_share=type_share, unit=unit)
    expected = by_hand(scores, neighbours, type_share, unit)
    np.testing.assert_allclose(smooth(scores, config, SPELT).values, expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(0, 20),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(1, 50),
    UNITS,
)
def test_slabs_change_nothing(seed, neighbours, type_share, slab, unit):
    scores = random_scores(seed, blocks=7, length=5)
    config = SmoothingConfig(neighbours=neighbours, type_share=type_share, unit=unit)
    expected = smooth(scores, config, SPELT).values
    assert isinstance(expected, np.ndarray)
    stored = LazyArray(scores.values.shape, scores.values.dtype, scores.values.__getitem__)
    with patch.object(lazy, "SLAB_TOKENS", slab):
        made = smooth(TokenScores(stored, scores.corpus), config, SPELT).values
        np.testing.assert_array_equal(np.asarray(smooth(scores, config, SPELT).values), expected)
    if config == SmoothingConfig():
        assert made is stored
        return
    assert made.shape == expected.shape
    assert made.dtype == expected.dtype == np.float32
    for rows in (slice(0, 7), slice(2, 3), slice(6, 7), slice(0, 4)):
        np.testing.assert_array_equal(made[rows], expected[rows])


def test_what_is_read_as_asked_for_is_smoothed_as_asked_for():
    scores, asked = random_scores(0, blocks=30, length=9), []

    def read(rows):
        asked.append(rows)
        return scores.values[rows]

    stored = TokenScores(LazyArray(scores.values.shape, scores.values.dtype, read), scores.corpus)
    made = smooth(stored, SmoothingConfig(neighbours=10)).values
    assert asked == []
    np.testing.assert_array_equal(
        made[12:14], smooth(scores, SmoothingConfig(neighbours=10)).values[12:14]
    )
    assert asked == [slice(10, 16)]


def test_off_changes_nothing():
    scores = random_scores(0)
    assert smooth(scores) is scores


def test_the_means_are_of_the_corpus_as_a_whole():
    scores = random_scores(1)
    of_types = smooth(scores, SmoothingConfig(type_share=1.0))
    for token in np.unique(scores.corpus.tokens[scores.corpus.has_loss]):
        at = scores.corpus.has_loss & (scores.corpus.tokens == token)
        np.testing.assert_allclose(of_types.values[at], scores.values[at].mean(), atol=1e-6)
    assert of_types.metadata["smoothing"] == {
        "neighbours": 0,
        "type_share": 1.0,
        "unit": "token",
    }


def test_words_need_the_vocabulary():
    with pytest.raises(InputError, match=r"smoothing\.unit"):
        smooth(random_scores(0), SmoothingConfig(unit="word"))
