"""Selection against paper Algorithm 1 written as a plain loop."""

from dataclasses import replace
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
from ifguide.selection.config import SelectionConfig
from ifguide.selection.select import select, select_budgets


def algorithm_1(scores, config):
    """Return the selected (block, column) pairs in order, token by token."""
    corpus = scores.corpus
    blocks, length = corpus.tokens.shape
    tokens = [(i, j) for i in range(blocks) for j in range(length)]
    place = {token: k for k, token in enumerate(tokens)}

    def unit(token):
        return token[0] if config.unit == "block" else corpus.document[token]

    def counts(token):
        return token[1] > 0 and corpus.document[token] >= 0

    threshold = np.quantile([scores.values[t] for t in tokens if counts(t)], config.quantile)
    units = range(max(unit(t) for t in tokens) + 1)
    hits = {u: [] for u in units}
    for token in tokens:
        if counts(token) and scores.values[token] > threshold:
            hits[unit(token)].append(token)
    number = scaled([float(len(hits[u])) for u in units])
    total = scaled([sum_of(float(scores.values[t]) for t in hits[u]) for u in units])
    value = [harmonic_mean(a, b) for a, b in zip(number, total, strict=True)]
    budget = int(config.budget * sum(corpus.document[t] >= 0 for t in tokens) + 1e-9)
    chosen = []
    for u in sorted((u for u in units if hits[u]), key=lambda u: -value[u]):
        for hit in hits[u]:
            for k in range(place[hit] - config.window, place[hit] + config.window + 1):
                if len(chosen) == budget:
                    return chosen
                near = tokens[k] if 0 <= k < len(tokens) else None
                if near and counts(near) and unit(near) == u and near not in chosen:
                    chosen.append(near)
    return chosen


def sum_of(values):
    total = 0.0
    for value in values:
        total += value
    return total


def scaled(values):
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 1.0 for v in values]


def harmonic_mean(a, b):
    return 2 * a * b / (a + b) if a + b > 0 else 0.0


def scores_over(lengths, block_length, values):
    """Scores over documents of these lengths packed into blocks, the tail padded."""
    used = sum(lengths)
    blocks = -(-used // block_length)
    document = np.full(blocks * block_length, -1, dtype=np.int32)
    document[:used] = np.repeat(np.arange(len(lengths)), lengths)
    corpus = replace(
        random_corpus(blocks, block_length), document=document.reshape(blocks, block_length)
    )
    scored = np.resize(np.asarray(values, dtype=float), (blocks, block_length))
    return TokenScores(np.where(corpus.has_loss, scored, 0.0), corpus)


def check_equal(made, expected):
    """Bit for bit."""
    for name in ("suppress", "ranking", "rank_value"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name))
        assert getattr(made, name).dtype == getattr(expected, name).dtype
    for name in ("threshold", "budget", "metadata"):
        assert getattr(made, name) == getattr(expected, name)


quarters = st.integers(-6, 8).map(lambda n: n / 4)  # sums are exact, ties are common


@settings(max_examples=300, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=12),
    block_length=st.integers(2, 8),
    values=st.lists(quarters, min_size=1, max_size=90),
    quantile=st.sampled_from([0.01, 0.3, 0.5, 0.8, 0.95]),
    window=st.integers(0, 3),
    budget=st.sampled_from([0.02, 0.1, 0.25, 0.5, 1.0]),
    unit=st.sampled_from(["document", "block"]),
    slab=st.sampled_from([1, 10, lazy.SLAB_TOKENS]),
)
def test_select_is_algorithm_1(lengths, block_length, values, quantile, window, budget, unit, slab):
    scores = scores_over(lengths, block_length, values)
    config = SelectionConfig(quantile=quantile, window=window, budget=budget, unit=unit)
    expected = np.zeros(scores.values.shape, dtype=bool)
    for token in algorithm_1(scores, config):
        expected[token] = True
    with patch.object(lazy, "SLAB_TOKENS", slab):
        made = select(scores, config)
    np.testing.assert_array_equal(made.suppress, expected)
    assert made.suppress.sum() <= made.budget
    assert not made.suppress[~scores.corpus.has_loss].any()
    assert (np.diff(made.rank_value) <= 0).all()
    assert ((made.rank_value >= 0) & (made.rank_value <= 1)).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), budget=st.floats(0.005, 0.05), window=st.integers(0, 2))
def test_the_budget_is_exactly_full(seed, budget, window):
    corpus = random_corpus(blocks=40, length=16, padding=7)
    scores = TokenScores(np.random.default_rng(seed).normal(size=corpus.tokens.shape), corpus)
    made = select(scores, SelectionConfig(quantile=0.8, budget=budget, window=window))
    assert made.suppress.sum() == made.budget == int(budget * (40 * 16 - 7) + 1e-9)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    decimals=st.sampled_from([0, 1, 8]),
    unit=st.sampled_from(["document", "block"]),
    window=st.integers(0, 30),
    slab=st.integers(1, 200),
)
def test_slabs_change_nothing(seed, dtype, decimals, unit, window, slab):
    """Sums of a document that lies in many slabs are added up in the same order."""
    rng = np.random.default_rng(seed)
    scores = scores_over(rng.integers(1, 60, 12), 7, rng.normal(size=400).round(decimals))
    scores = replace(scores, values=scores.values.astype(dtype))
    config = SelectionConfig(quantile=0.7, window=window, budget=0.2, unit=unit)
    expected = select(scores, config)
    with patch.object(lazy, "SLAB_TOKENS", slab):
        check_equal(select(scores, config), expected)


def test_scores_that_are_read_as_asked_for_are_never_all_in_memory():
    corpus = random_corpus(blocks=50, length=10, padding=3)
    values = np.random.default_rng(0).normal(size=corpus.tokens.shape)
    asked = []

    def read(rows):
        asked.append(rows.stop - rows.start)
        return values[rows]

    stored = TokenScores(LazyArray(values.shape, values.dtype, read), corpus)
    config = SelectionConfig(quantile=0.8, budget=0.1, window=12)
    with patch.object(lazy, "SLAB_TOKENS", 40):
        check_equal(select(stored, config), select(TokenScores(values, corpus), config))
    assert max(asked) == 4 + 2 * 2  # a slab, and the blocks that hold the window to each side
    assert sum(asked) < 8 * 50


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    budgets=st.lists(st.sampled_from([0.005, 0.01, 0.02, 0.04, 0.3, 1.0]), max_size=5),
    unit=st.sampled_from(["document", "block"]),
    slab=st.sampled_from([30, lazy.SLAB_TOKENS]),
)
def test_several_budgets_are_selected_as_each_alone(seed, budgets, unit, slab):
    rng = np.random.default_rng(seed)
    scores = scores_over(rng.integers(1, 60, 12), 7, rng.normal(size=400).round(1))
    config = SelectionConfig(quantile=0.8, unit=unit)
    with patch.object(lazy, "SLAB_TOKENS", slab):
        found = select_budgets(scores, budgets, config)
    assert len(found) == len(budgets)
    for budget, made in zip(budgets, found, strict=True):
        check_equal(made, select(scores, replace(config, budget=budget)))


def test_several_budgets_read_the_scores_as_often_as_one():
    corpus = random_corpus(blocks=20)
    values, asked = np.random.default_rng(0).normal(size=corpus.tokens.shape), []

    def read(rows):
        asked.append(rows)
        return values[rows]

    scores = TokenScores(LazyArray(values.shape, values.dtype, read), corpus)
    select(scores)
    once = len(asked)
    select_budgets(scores, [0.005, 0.01, 0.02, 0.04])
    assert len(asked) == 2 * once


def test_a_budget_out_of_range_is_named():
    with pytest.raises(InputError, match=r"selection\.budget: 1\.5"):
        select_budgets(TokenScores(np.zeros((6, 12)), random_corpus()), [0.1, 1.5])


def test_fewer_candidates_than_the_budget_are_all_selected():
    scores = scores_over([20], 20, [0, 0, 0, 0, 0, 5, 0, 0, 0, 0])
    made = select(scores, SelectionConfig(quantile=0.85, budget=1.0))
    assert np.flatnonzero(made.suppress).tolist() == [4, 5, 6, 14, 15, 16]
    assert made.budget == 20


def test_a_window_never_leaves_its_document_and_follows_it_into_the_next_block():
    scores = scores_over([5, 6, 5], 8, [0, 0, 0, 0, 9, 0, 0, 9, 0, 0, 9, 0, 0, 0, 0, 0])
    config = SelectionConfig(quantile=0.5, window=2, budget=1.0)
    assert np.flatnonzero(select(scores, config).suppress).tolist() == [2, 3, 4, 5, 6, 7, 9, 10]
    by_block = select(scores, replace(config, unit="block"))
    assert np.flatnonzero(by_block.suppress).tolist() == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]


def test_many_weak_hits_and_one_strong_one_both_rank_below_some_of_each():
    """The harmonic mean asks for number and sum together."""
    rows = np.zeros((3, 10))
    rows[0, 1:9] = 1.0  # many, weak
    rows[1, 1] = 20.0  # one, strong
    rows[2, 1:6] = 3.0  # some of each
    scores = scores_over([10, 10, 10], 10, rows.ravel())
    made = select(scores, SelectionConfig(quantile=0.4, budget=1.0))
    assert made.ranking[0] == 2
    assert sorted(made.ranking) == [0, 1, 2]


def test_equal_documents_keep_the_order_of_the_corpus():
    scores = scores_over([6, 6, 6], 6, [0, 0, 1, 0, 0, 0])
    made = select(scores, SelectionConfig(quantile=0.5, window=0, budget=2 / 18))
    assert made.ranking.tolist() == [0, 1, 2]
    assert np.flatnonzero(made.suppress).tolist() == [2, 8]


@pytest.mark.parametrize("constant", [-2.0, 0.0, 3.5])
def test_no_token_is_above_the_threshold_of_constant_scores(constant):
    corpus = random_corpus(blocks=4)
    made = select(TokenScores(np.full(corpus.tokens.shape, constant), corpus))
    assert made.threshold == constant
    assert not made.suppress.any()
    assert made.ranking.shape == made.rank_value.shape == (0,)


def test_padding_and_first_tokens_do_not_move_the_threshold():
    corpus = random_corpus(blocks=4, padding=9)
    values = np.random.default_rng(3).normal(size=corpus.tokens.shape)
    wild = np.where(corpus.has_loss, values, 1e9)
    made, expected = (select(TokenScores(v, corpus)) for v in (wild, values))
    assert made.threshold == expected.threshold
    np.testing.assert_array_equal(made.suppress, expected.suppress)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), window=st.integers(0, 2), budget=st.floats(0.01, 0.3))
def test_the_order_of_documents_does_not_matter(seed, window, budget):
    rng = np.random.default_rng(seed)
    corpus = random_corpus(blocks=12, length=10)
    values, order = rng.normal(size=corpus.tokens.shape), rng.permutation(12)
    config = SelectionConfig(quantile=0.7, window=window, budget=budget)
    made = select(TokenScores(values, corpus), config)
    moved = select(TokenScores(values[order], corpus), config)
    np.testing.assert_array_equal(moved.suppress, made.suppress[order])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 0.5, 8.0, 1e6]))
def test_the_scale_of_scores_does_not_matter(seed, scale):
    corpus = random_corpus(blocks=12, length=10)
    values = np.random.default_rng(seed).normal(size=corpus.tokens.shape)
    config = SelectionConfig(quantile=0.7, budget=0.1)
    made, scaled_up = (select(TokenScores(s * values, corpus), config) for s in (1, scale))
    np.testing.assert_array_equal(scaled_up.suppress, made.suppress)


def test_a_larger_budget_keeps_what_a_smaller_one_selected():
    corpus = random_corpus(blocks=30, length=10)
    scores = TokenScores(np.random.default_rng(0).normal(size=corpus.tokens.shape), corpus)
    before = np.zeros(corpus.tokens.shape, dtype=bool)
    for budget in (0.01, 0.05, 0.1, 0.2, 0.4):
        made = select(scores, SelectionConfig(quantile=0.6, budget=budget)).suppress
        assert (made >= before).all()
        before = made


def test_single_precision_scores_select_alike():
    corpus = random_corpus(blocks=30, length=10)
    values = np.random.default_rng(1).normal(size=corpus.tokens.shape).astype(np.float32)
    narrow, wide = (select(TokenScores(v, corpus)) for v in (values, values.astype(np.float64)))
    np.testing.assert_array_equal(narrow.suppress, wide.suppress)
    assert narrow.threshold == pytest.approx(wide.threshold, rel=1e-6)


def test_documents_are_ranked_whatever_is_walked():
    values = np.random.default_rng(2).normal(size=60)
    scores = scores_over([7, 3, 9, 1, 5, 8, 6, 4, 2, 9], 12, values)
    by_document, by_block = (select(scores, SelectionConfig(unit=u)) for u in ("document", "block"))
    np.testing.assert_array_equal(by_block.ranking, by_document.ranking)
    np.testing.assert_array_equal(by_block.rank_value, by_document.rank_value)


def test_metadata_says_what_was_ranked():
    corpus = random_corpus()
    scores = TokenScores(np.zeros(corpus.tokens.shape), corpus, {"engine": "jvp"})
    made = select(scores, SelectionConfig(unit="block"))
    assert made.metadata == {"engine": "jvp", "unit": "block"}


def test_scores_of_another_shape_are_refused():
    scores = TokenScores(np.zeros((12, 6)), random_corpus(blocks=6, length=12))
    with pytest.raises(InputError, match=r"scores: .*\(12, 6\).*\(6, 12\)"):
        select(scores)


def test_a_corpus_without_a_loss_is_refused():
    corpus = random_corpus(blocks=2, length=4, padding=8)
    with pytest.raises(InputError, match="no token of the corpus has a loss"):
        select(TokenScores(np.zeros((2, 4)), corpus))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_names_the_block(value):
    corpus = random_corpus()
    values = np.zeros(corpus.tokens.shape)
    values[3, 2] = value
    with pytest.raises(InputError, match="block 3 "):
        select(TokenScores(values, corpus))
