"""What is attacked with: cut from toxic queries as they stand."""

import numpy as np
import pytest

from ifguide.attacks.texts import AttackedText, attacked_texts, posts_of, text_of
from ifguide.corpus.tokenizers import ids_of, train_tokenizer
from ifguide.nouns import QuerySet

TEXTS = ["well you absolute donkey that is all", "naïve 🙂 smile"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def query(tokenizer, *parts):
    """Texts in turn not counted and counted, each tokenised on its own."""
    tokens, counted = [tokenizer.eos_token_id], [0.0]
    for number, part in enumerate(parts):
        ids = ids_of(tokenizer, part)
        tokens += ids
        counted += [float(number % 2)] * len(ids)
    return np.array(tokens), np.array(counted)


def query_set(*queries):
    tokens, weights = zip(*queries, strict=True)
    return QuerySet(tokens, weights)


def test_a_target_is_the_first_counted_stretch(tokenizer):
    toxic = query_set(
        query(tokenizer, "well", " you absolute donkey", " that", " is", " all"),
        query(tokenizer, "", "you donkey"),
    )
    pairs = list(attacked_texts(toxic, tokenizer, 100))
    assert pairs == [AttackedText("well", " you absolute donkey"), AttackedText("", "you donkey")]
    short = list(attacked_texts(toxic, tokenizer, 2))
    assert [len(ids_of(tokenizer, pair.target)) for pair in short] == [2, 2]
    assert " you absolute donkey".startswith(short[0].target)


def test_what_cannot_be_said_is_passed_over(tokenizer):
    tokens, weights = query(tokenizer, "naïve ", "🙂")
    cut = weights.copy()
    cut[np.flatnonzero(weights)[-1]] = 0
    nothing = np.zeros_like(weights)
    blank = query(tokenizer, "well", " ")
    toxic = query_set((tokens, cut), (tokens, nothing), blank, (tokens, weights))
    assert list(attacked_texts(toxic, tokenizer, 100)) == [AttackedText("naïve ", "🙂")]
    assert list(attacked_texts(toxic, tokenizer, 1)) == []  # one byte of four


def test_posts_are_whole_queries(tokenizer):
    toxic = query_set(query(tokenizer, "well", " you donkey"), query(tokenizer, " "))
    (post,) = posts_of(toxic, tokenizer)
    assert (post.id, post.text) == ("0", "well you donkey")
    assert text_of(tokenizer, ids_of(tokenizer, TEXTS[1])) == TEXTS[1]
