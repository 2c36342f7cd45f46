"""The lexicon against log-odds counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_corpus

from ifguide.arrays import LazyArray
from ifguide.corpus.words import Spelling
from ifguide.errors import InputError
from ifguide.nouns import Contrast, QuerySet
from ifguide.selection.config import SelectionConfig
from ifguide.selection.lexicon import lexicon, lexicon_log_odds
from ifguide.selection.select import select


def contrast_of(toxic, safe):
    """Sides from sequences of (token, counts) pairs."""

    def side(sequences):
        tokens = [np.array([t for t, _ in s], dtype=np.int32) for s in sequences]
        weights = [np.array([0.25 * c for _, c in s], dtype=np.float64) for s in sequences]
        return QuerySet(tokens, weights)

    return Contrast(side(toxic), side(safe), "made in a test")


def test_by_hand():
    # toxic: id 5 twice, id 6 once; safe: id 6 three times, id 7 five times; 0 carries no weight
    toxic = [[(0, 0), (5, 1), (6, 1)], [(0, 0), (5, 1), (7, 0)]]
    safe = [[(0, 0), (6, 1), (6, 1), (6, 1)], [(7, 1)] * 5]
    found = lexicon_log_odds(contrast_of(toxic, safe), 10, pseudo_count=2.0)
    rate = 3 / 11
    prior = math.log(rate / (1 - rate))
    expected = dict.fromkeys(range(10), 0.0)  # an id that the queries do not have
    expected[5] = math.log((2 + 2 * rate) / (0 + 2 * (1 - rate))) - prior
    expected[6] = math.log((1 + 2 * rate) / (3 + 2 * (1 - rate))) - prior
    expected[7] = math.log((0 + 2 * rate) / (5 + 2 * (1 - rate))) - prior
    assert found == pytest.approx(list(expected.values()))
    assert found[7] < found[6] < 0 < found[5]


ids = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=12)


@given(st.lists(ids, min_size=1, max_size=4), st.lists(ids, min_size=1, max_size=4))
def test_sides_swapped_change_the_sign(toxic, safe):
    if not any(c for s in toxic for _, c in s) or not any(c for s in safe for _, c in s):
        return
    found = lexicon_log_odds(contrast_of(toxic, safe), 9)
    assert found.shape == (9,)
    assert found == pytest.approx(-lexicon_log_odds(contrast_of(safe, toxic), 9))
    # larger ids than the vocabulary count in the totals: nothing moves when it grows
    assert found == pytest.approx(lexicon_log_odds(contrast_of(toxic, safe), 13)[:9])


def test_over_a_corpus_it_can_be_selected():
    corpus = random_corpus(blocks=8, padding=3)
    word = int(np.bincount(corpus.tokens[corpus.has_loss]).argmax())
    queries = contrast_of([[(word, 1)]], [[(t, 1) for t in range(61) if t != word]])
    scores = lexicon(corpus, queries)
    here = corpus.has_loss & (corpus.tokens == word)
    other = corpus.has_loss & ~here
    assert scores.values[here].min() > 0 > scores.values[other].max()
    assert not scores.values[~corpus.has_loss].any()
    budget = (here.sum() + 0.5) / corpus.token_count
    chosen = select(scores, SelectionConfig(quantile=0.9, window=0, budget=float(budget)))
    np.testing.assert_array_equal(chosen.suppress, here)


TEXTS = ["", " Fool", " foo", "l", "ish", "!", " kind"]


def test_words_are_counted_whole_and_in_either_case():
    # toxic: fool (1 token), fool (2 tokens), !; safe: kind, foolish (3 tokens), foo
    toxic = [[(0, 0), (1, 1), (5, 1), (6, 0)], [(0, 0), (2, 1), (3, 1)]]
    safe = [[(0, 0), (6, 1)], [(2, 1), (3, 1), (4, 1), (5, 0), (2, 1)]]
    corpus = replace(
        random_corpus(1, 9),
        tokens=np.array([[0, 2, 3, 5, 2, 3, 4, 2, 6]], dtype=np.int32),
        document=np.zeros((1, 9), dtype=np.int32),
    )
    queries = contrast_of(toxic, safe)
    found = lexicon(corpus, queries, 2.0, Spelling.of(TEXTS)).values[0]
    rate = 4 / 9
    odds = {
        word: math.log((n + 2 * rate) / (m + 2 * (1 - rate))) - math.log(rate / (1 - rate))
        for word, (n, m) in {
            "fool": (3, 0),
            "!": (1, 0),
            "foolish": (0, 3),
            "foo": (0, 1),
            "kind": (0, 1),
        }.items()
    }
    words = ["fool"] * 2 + ["!"] + ["foolish"] * 3 + ["foo", "kind"]
    assert found == pytest.approx([0.0, *(odds[word] for word in words)])


def test_a_word_that_no_query_has_is_at_zero():
    corpus = random_corpus(3)
    queries = contrast_of([[(1, 1)]], [[(6, 1)]])
    spelt = Spelling.of([*TEXTS, *(f" word{i}x" for i in range(len(TEXTS), 61))])
    found = lexicon(corpus, queries, 1.0, spelt).values
    assert not found[corpus.tokens >= len(TEXTS)].any()
    assert found[corpus.has_loss & (corpus.tokens == 1)].min(initial=1.0) > 0


def test_a_corpus_on_disk_is_scored_as_asked_for(tmp_path):
    corpus = random_corpus(6)
    np.save(tmp_path / "tokens.npy", corpus.tokens)
    mapped = replace(corpus, tokens=np.load(tmp_path / "tokens.npy", mmap_mode="r"))
    queries = contrast_of([[(1, 1), (2, 1)]], [[(2, 1), (6, 1)]])
    for spelt in (None, Spelling.of([*TEXTS, *(["."] * 54)])):
        stored = lexicon(mapped, queries, 1.0, spelt).values
        assert isinstance(stored, LazyArray)
        np.testing.assert_array_equal(stored, lexicon(corpus, queries, 1.0, spelt).values)


def test_refusals():
    queries = contrast_of([[(1, 1)]], [[(2, 1)]])
    with pytest.raises(InputError, match="pseudo_count"):
        lexicon_log_odds(queries, 5, pseudo_count=0.0)
    with pytest.raises(InputError, match="no token with weight"):
        lexicon_log_odds(contrast_of([[(1, 0)]], [[(2, 1)]]), 5)
