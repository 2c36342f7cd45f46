"""The built-in corpus: deterministic, exactly marked, and a trap for word lists."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.corpus.builtin import KINDS, builtin_posts, read_marks
from ifguide.corpus.builtin_toxic import INSULTS, NOUNS
from ifguide.errors import InputError
from ifguide.nouns import Document

DIGEST = "293762916732ae7f"
WORD = re.compile(r"[a-z]+")
INSULT_WORDS = {form for noun in NOUNS for form in (noun.one, noun.many)}


@pytest.fixture(scope="module")
def posts() -> list[Document]:
    return builtin_posts(6000)


def labelled_words(posts: list[Document]) -> Iterator[tuple[str, bool]]:
    """Every word with whether it stands in a marked span."""
    for post in posts:
        for word in WORD.finditer(post.text.lower()):
            yield word[0], any(start <= word.start() < end for start, end in post.spans)


def word_list_figures(words: set[str], labelled: list[tuple[str, bool]]) -> tuple[float, float]:
    """Precision and recall, over words, of marking every word of a list."""
    hits = [toxic for word, toxic in labelled if word in words]
    return sum(hits) / len(hits), sum(hits) / sum(toxic for _, toxic in labelled)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**40))
def test_a_longer_list_begins_with_the_shorter(count: int, more: int, seed: int) -> None:
    posts = builtin_posts(count + more, seed)
    assert len(posts) == count + more
    assert posts[:count] == builtin_posts(count, seed)


def test_every_process_and_python_makes_the_same_posts() -> None:
    digest = hashlib.sha256(repr(builtin_posts(200, seed=3)).encode()).hexdigest()
    assert digest[:16] == DIGEST, f"the corpus changed: note it and set DIGEST to {digest[:16]}"


def test_seeds_differ_and_posts_do_not_repeat(posts: list[Document]) -> None:
    texts = {post.text for post in posts}
    assert len(texts) == len(posts)
    other = [post.text for post in builtin_posts(2000, seed=1)]
    assert sum(text in texts for text in other) < 40
    assert len({post.id for post in posts}) == len(posts)
    assert posts[42].id == "post-00042"


def test_kinds_have_their_shares(posts: list[Document]) -> None:
    share = {kind: sum(post.kind == kind for post in posts) / len(posts) for kind in KINDS}
    assert share["everyday"] == pytest.approx(0.55, abs=0.03)
    for kind in ("insult", "implicit", "harmless_use"):
        assert share[kind] == pytest.approx(0.15, abs=0.03)


def test_only_toxic_posts_are_marked_and_never_from_the_start(posts: list[Document]) -> None:
    for post in posts:
        assert bool(post.spans) == (post.kind in ("insult", "implicit"))
        for start, end in post.spans:
            assert len(post.text[:start].split()) >= 1
            assert re.fullmatch(r"\w.*\w", post.text[start:end])
            assert not re.match(r"\w", post.text[end:])


def test_posts_are_short_and_clean(posts: list[Document]) -> None:
    for post in posts:
        assert 12 <= len(post.text.split()) <= 42
        assert re.fullmatch(r"[A-Z][A-Za-z,:.! ]+[.!]", post.text), post.text
        assert not re.search(r"  |\ba (?:[aeio]|un|ut)| [,.!:]", post.text), post.text
        assert not re.search(r"\ban (?!hour)[^aeiou]", post.text), post.text
    assert len({word for word, _ in labelled_words(posts)}) > 650


def test_insult_words_are_mostly_harmless_or_evenly_so(posts: list[Document]) -> None:
    toxic = Counter(word for word, marked in labelled_words(posts) if marked)
    harmless = Counter(word for word, marked in labelled_words(posts) if not marked)
    for noun in NOUNS:
        uses = harmless[noun.one] + harmless[noun.many]
        assert uses >= 25
        assert uses >= 0.5 * (toxic[noun.one] + toxic[noun.many])


def test_every_word_of_a_toxic_phrase_occurs_outside(posts: list[Document]) -> None:
    seen: dict[str, Counter[bool]] = {}
    for word, marked in labelled_words(posts):
        seen.setdefault(word, Counter())[marked] += 1
    assert {word for word, uses in seen.items() if uses[True] and uses[False] < 3} == set()


def test_the_insult_words_as_a_list_hit_wrongly_and_miss(posts: list[Document]) -> None:
    precision, recall = word_list_figures(INSULT_WORDS, list(labelled_words(posts)))
    assert precision < 0.65
    assert recall < 0.15
    listed = [bool(INSULT_WORDS & set(WORD.findall(post.text.lower()))) for post in posts]
    toxic = [bool(post.spans) for post in posts]
    both = sum(a and b for a, b in zip(listed, toxic, strict=True))
    assert both / sum(listed) < 0.65
    assert both / sum(toxic) < 0.6


def test_the_best_word_list_is_far_from_the_labels(posts: list[Document]) -> None:
    labelled = list(labelled_words(posts))
    marked = Counter(word for word, toxic in labelled if toxic)
    total = Counter(word for word, _ in labelled)
    by_odds = sorted(marked, key=lambda word: marked[word] / total[word], reverse=True)
    for size in range(10, len(by_odds), 10):
        precision, recall = word_list_figures(set(by_odds[:size]), labelled)
        assert 2 * precision * recall / (precision + recall) < 0.6
        assert precision < 0.85


def test_toxic_and_harmless_clauses_share_their_lead_ins(posts: list[Document]) -> None:
    led = [post for post in posts if re.search(r"(?:[Hh]onestly,|: [a-z]|agrees:)", post.text)]
    toxic = sum(bool(post.spans) for post in led) / len(led)
    assert 0.3 < toxic < 0.7


def test_marks_are_read_off_exactly() -> None:
    assert read_marks("so [a b] c [d]") == ("so a b c d", ((3, 6), (9, 10)))
    assert read_marks("plain") == ("plain", ())
    assert all(frame.count("[") == frame.count("]") == 1 for frame in INSULTS)


def test_no_posts_are_refused() -> None:
    with pytest.raises(InputError, match="builtin"):
        builtin_posts(0)
