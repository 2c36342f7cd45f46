"""The oracle is the task's own definition, with sets of character offsets, in a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.blocks import pack
from ifguide.errors import InputError
from ifguide.evaluation.character_f1 import character_f1, post_characters, top_tokens
from ifguide.nouns import Corpus, Document

TEXTS = [
    Document("a", "You are a silly goose, said the fox.", ((10, 21),), "posts"),
    Document("b", "the  lazy dog", (), "posts"),
    Document("c", "Numbers 123, naïve café, a smile 🙂 here.", ((8, 11), (13, 18)), "posts"),
    Document("d", "quick brown fox", (), "articles"),
    Document("e", "fox fox", ((0, 3), (2, 7)), "posts"),
    Document("f", "the silly goose ran over the hill " * 6, ((0, 90), (120, 180)), "posts"),
]


@pytest.fixture(scope="module")
def corpus(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return pack(TEXTS, tokenizer, 16, tmp_path_factory.mktemp("packed"))


def by_hand(selected: np.ndarray, corpus: Corpus, rows: np.ndarray | None = None) -> list[float]:
    """F1 of each post of the source "posts", from sets of offsets."""
    held = np.ones(len(corpus.tokens), bool) if rows is None else rows
    found = []
    for number, document in enumerate(corpus.documents):
        at = np.flatnonzero((corpus.document == number).ravel() & np.repeat(held, 16))
        if document.source != "posts" or not len(at):
            continue
        predicted, there, before = set(), set(), -2
        for place in at:
            start, end = int(corpus.start.ravel()[place]), int(corpus.end.ravel()[place])
            there |= set(range(start, end))
            if not selected.ravel()[place]:
                continue
            if before != place - 1:
                while start < end and document.text[start].isspace():
                    start += 1
            predicted |= set(range(start, end))
            before = place
        gold = {k for a, b in document.spans for k in range(a, b)} & there
        if not gold or not predicted:
            found.append(float(gold == predicted))
            continue
        precision, recall = (len(gold & predicted) / len(side) for side in (predicted, gold))
        found.append(2 * precision * recall / (precision + recall) if precision else 0.0)
    return found


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_agrees_with_sets_of_offsets(corpus: Corpus, seed: int, share: float) -> None:
    selected = np.random.default_rng(seed).random(corpus.tokens.shape) < share
    found = character_f1(selected, post_characters(corpus), resamples=20)
    assert found.value == pytest.approx(np.mean(by_hand(selected, corpus)))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_of_a_part_of_the_corpus_counts_what_is_there(corpus: Corpus, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random(len(corpus.tokens)) < 0.6
    part = _rows(corpus, rows)
    if not part.marked.any():
        return
    selected = rng.random(corpus.tokens.shape) < 0.3
    found = character_f1(selected[rows], post_characters(part), resamples=2)
    # the plain loop sees places in the whole: tokens of blocks apart are no neighbours
    assert found.value == pytest.approx(np.mean(by_hand(selected, corpus, rows)))


def _rows(corpus: Corpus, rows: np.ndarray) -> Corpus:
    columns = ("tokens", "document", "start", "end", "marked")
    arrays = {name: np.asarray(getattr(corpus, name))[rows] for name in columns}
    return Corpus(**arrays, documents=corpus.documents, end_of_text=0, fingerprint="part")


def test_the_marked_words_themselves(corpus: Corpus) -> None:
    """A token's leading space does not count against it; half a token that is marked does."""
    posts = post_characters(corpus)
    assert posts.posts == 5
    perfect = by_hand(corpus.marked, corpus)
    assert perfect[0] == perfect[1] == 1.0
    found = character_f1(corpus.marked, posts)
    assert found.value == pytest.approx(np.mean(perfect))
    assert found.low <= found.value <= found.high


def test_nothing_selected_is_right_where_nothing_is_marked(corpus: Corpus) -> None:
    nothing = np.zeros(corpus.tokens.shape, dtype=bool)
    found = character_f1(nothing, post_characters(corpus), resamples=500)
    assert found.value == 0.2
    assert (found.low, found.high) == (0.0, 0.6)  # of five posts, one is clean


def test_needs_a_mark(corpus: Corpus) -> None:
    unmarked = Corpus(
        corpus.tokens,
        corpus.document,
        corpus.start,
        corpus.end,
        np.zeros(corpus.tokens.shape, dtype=bool),
        corpus.documents,
        0,
        "unmarked",
    )
    with pytest.raises(InputError, match="no token is marked"):
        post_characters(unmarked)


@given(st.integers(0, 1000), st.sampled_from([0.001, 0.02, 0.3, 1.0]), st.sampled_from([2, 1000]))
@settings(max_examples=50)
def test_top_tokens(seed: int, share: float, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(5, 20)).astype(float)
    has_loss = rng.random((5, 20)) < 0.8
    selected = top_tokens(scores, has_loss, share, seed=seed)
    assert selected.sum() == max(1, int(share * has_loss.sum() + 1e-9))
    assert not selected[~has_loss].any()
    left = has_loss & ~selected
    if left.any():
        assert scores[selected].min() >= scores[left].max()


def test_ties_are_drawn_by_seed() -> None:
    scores, has_loss = np.zeros((20, 20)), np.ones((20, 20), dtype=bool)
    first, again = (top_tokens(scores, has_loss, 0.5, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != top_tokens(scores, has_loss, 0.5, seed=2)).any()
    assert 60 < first[:10].sum() < 140  # not the first ones of the corpus
