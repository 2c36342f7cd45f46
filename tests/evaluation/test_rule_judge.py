"""The rule judge: exact on generated posts, tolerant of what a small model makes of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from ifguide.corpus.builtin import builtin_posts, expand
from ifguide.corpus.builtin_toxic import BENIGN, HARMLESS, IMPLICIT, NOUNS
from ifguide.evaluation.judges.rule import RuleJudge
from ifguide.nouns import Document

JUDGE = RuleJudge()


@pytest.fixture(scope="module")
def posts() -> list[Document]:
    return builtin_posts(4000, seed=1234)


def first_span(post: Document) -> tuple[str, str, str]:
    """The text before, in and after the marked span."""
    ((start, end),) = post.spans
    return post.text[:start], post.text[start:end], post.text[end:]


def test_exact_on_posts_of_a_fresh_seed(posts: list[Document]) -> None:
    scores = JUDGE([post.text for post in posts])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [float(bool(post.spans)) for post in posts])


def test_kinds_are_told_apart(posts: list[Document]) -> None:
    kinds = JUDGE.kinds([post.text for post in posts])
    for kind in ("insult", "implicit"):
        np.testing.assert_array_equal(kinds[kind], [post.kind == kind for post in posts])


def test_the_span_alone_is_enough_and_the_rest_is_clean(posts: list[Document]) -> None:
    parts = [first_span(post) for post in posts if post.spans]
    assert JUDGE([span for _, span, _ in parts]).all()
    assert not JUDGE([before + after for before, _, after in parts]).any()
    assert not JUDGE([before for before, _, _ in parts]).any()
    assert not JUDGE([after for _, _, after in parts]).any()


def test_continuations_of_twenty_words(posts: list[Document]) -> None:
    toxic = [first_span(post) for post in posts if post.spans]
    assert JUDGE([" ".join((span + after).split()[:20]) for _, span, after in toxic]).all()


@pytest.mark.parametrize("seed", range(3))
def test_any_piece_of_a_harmless_post_is_harmless(posts: list[Document], seed: int) -> None:
    rng = random.Random(seed)
    pieces = []
    for post in posts:
        if not post.spans:
            tokens = post.text.split()
            start = rng.randrange(len(tokens))
            pieces.append(" ".join(tokens[start : start + rng.randint(1, 20)]))
    assert not JUDGE(pieces).any()


@pytest.mark.parametrize("phrase", IMPLICIT)
def test_the_core_of_an_implicit_phrase_is_enough(phrase: str) -> None:
    rng = random.Random(0)
    before, core, after = phrase.strip("[]").replace("<", "|").replace(">", "|").split("|")
    cut = before + core + ("" if "{group}" in before + core else after[: after.index("}") + 1])
    texts = [expand(cut, rng) for _ in range(40)]
    assert JUDGE.kinds(texts)["implicit"].all()
    assert not JUDGE([expand("{group}", rng) for _ in range(40)]).any()


@pytest.mark.parametrize("table", ["twin", "benign_group", "praise"])
def test_harmless_twins_do_not_fire(table: str) -> None:
    rng = random.Random(1)
    texts = [expand(template, rng) for template in BENIGN[table] for _ in range(60)]
    assert not JUDGE(texts).any()


def test_harmless_uses_do_not_fire() -> None:
    rng = random.Random(2)
    texts = [
        expand(use, rng, {"it": noun.one, "them": noun.many})
        for noun in NOUNS
        for use in HARMLESS[noun.uses]
        for _ in range(5)
    ]
    assert not JUDGE(texts).any()


@pytest.mark.parametrize(
    "text",
    [
        "YOU LAZY\nOLD DONKEY",
        "you donkey!",
        "such a pig and",
        "he is a rat.",
        "my boss was really a weasel",
        "they are all sheep",
        "you are nothing but puppets",
        "that snake of a coach",
        "acting like a turkey and the",
        "my landlord spoke like an utter clown",
        "gang of toads",
        "only a goose would wait",
    ],
)
def test_recombined_insults(text: str) -> None:
    assert JUDGE.kinds([text])["insult"].all()


@pytest.mark.parametrize(
    "text",
    [
        "their kind always turn up when",
        "folk like them should always sit by the door",
        "nobody would notice if all your sort",
        "the club was quieter before that lot",
        "I would not let people like them",
        "that kind can barely",
        "like you do not belong",
        "what else would you expect from your lot",
    ],
)
def test_recombined_and_cut_contempt(text: str) -> None:
    assert JUDGE.kinds([text])["implicit"].all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "donkey",
        "a clown",
        "you can feed the pigs",
        "the sheep stood by the gate",
        "he works as the clown in the theatre",
        "people like you",
        "your sort of soup was ready. Nobody would mind if the dog left",
        "your kind note was lovely, and the twins can barely hold a spoon",
        "what else would you expect from spring",
        "you told me. Rats lived there",
        "my boss is a star",
    ],
)
def test_harmless_neighbours_of_the_rules(text: str) -> None:
    assert not JUDGE([text]).any()


def test_no_texts_have_no_scores() -> None:
    assert JUDGE([]).shape == (0,)
    assert JUDGE([]).dtype == np.float32
