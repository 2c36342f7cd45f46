"""Blended scores against their formula."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_corpus

from ifguide import arrays as lazy
from ifguide.arrays import LazyArray
from ifguide.errors import InputError
from ifguide.nouns import TokenScores
from ifguide.selection.blend import blend
from ifguide.selection.config import LexiconConfig

CORPUS = random_corpus(7, 5, padding=3)


def scores_of(seed, scale=1.0, shift=0.0):
    values = shift + scale * np.random.default_rng(seed).normal(size=CORPUS.tokens.shape)
    return TokenScores(np.where(CORPUS.has_loss, values, 0.0), CORPUS, {"seed": seed})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 40))
def test_the_formula_whatever_the_units_and_slabs(seed, share, slab):
    first, second = scores_of(seed), scores_of(seed + 1, scale=2.0)
    counted = CORPUS.has_loss
    a, b = (
        (s.values - s.values[counted].mean()) / s.values[counted].std() for s in (first, second)
    )
    expected = np.where(counted, (1 - share) * a + share * b, 0.0)
    made = blend(first, second, share)
    np.testing.assert_allclose(made.values, expected, atol=1e-5)
    rescaled = blend(scores_of(seed, 1e-6, 3e-6), scores_of(seed + 1, 50.0, -7.0), share)
    np.testing.assert_allclose(rescaled.values, expected, atol=1e-5)
    stored = LazyArray(first.values.shape, first.values.dtype, first.values.__getitem__)
    with patch.object(lazy, "SLAB_TOKENS", slab):
        slowly = blend(TokenScores(stored, CORPUS), second, share).values
        assert isinstance(slowly, LazyArray)
        np.testing.assert_array_equal(slowly[2:6], made.values[2:6])
    assert made.metadata == {"seed": seed, "blended": {"share": share, "seed": seed + 1}}


def test_what_is_the_same_everywhere_is_refused_where_it_has_a_share():
    flat = TokenScores(np.full(CORPUS.tokens.shape, 0.1), CORPUS)
    with pytest.raises(InputError, match=r"^lexicon\.share: what is blended in is the same "):
        blend(scores_of(0), flat, 0.5)
    with pytest.raises(InputError, match=r"^scores: every token has the same score"):
        blend(flat, scores_of(0), 0.5)
    assert np.isfinite(blend(scores_of(0), flat, 0.0).values).all()
    assert np.isfinite(blend(flat, scores_of(0), 1.0).values).all()


def test_refusals():
    other = random_corpus(2, 5)
    with pytest.raises(InputError, match="blend"):
        blend(scores_of(0), TokenScores(np.zeros(other.tokens.shape), other), 0.5)
    for wrong in ({"share": 1.1}, {"share": -0.1}, {"pseudo_count": 0.0}):
        with pytest.raises(InputError, match=rf"lexicon\.{next(iter(wrong))}"):
            LexiconConfig(**wrong)
