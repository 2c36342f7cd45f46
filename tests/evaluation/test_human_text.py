"""What a judge's false alarms alone come to, against the closed form and a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.human_text import drawn_probability, passages_of
from ifguide.nouns import Corpus, Document


def corpus_of(texts: list[str], length: int) -> Corpus:
    """A corpus whose tokens are characters, packed end to end and padded."""
    flat = [(number, place) for number, text in enumerate(texts) for place in range(len(text))]
    blocks = -(-len(flat) // length)
    document, start = np.full((blocks, length), -1), np.zeros((blocks, length), dtype=int)
    for at, (number, place) in enumerate(flat):
        document.flat[at], start.flat[at] = number, place
    documents = [Document(id=f"d{k}", text=text) for k, text in enumerate(texts)]
    zeros = np.zeros((blocks, length), dtype=int)
    return Corpus(zeros, document, start, start + 1, zeros > 0, documents, 0, "made")


def test_pieces_are_whole_and_of_one_document() -> None:
    texts = ["abcdefg", "hijklmnopqrs", "tu"]
    found = passages_of(corpus_of(texts, 8), 2, 100, seed=0)
    assert found == {
        "d0[0:2]": "ab", "d0[2:4]": "cd", "d0[4:6]": "ef",
        "d1[1:3]": "ij", "d1[3:5]": "kl", "d1[5:7]": "mn", "d1[7:9]": "op", "d1[9:11]": "qr",
    }  # fmt: skip
    for piece, text in found.items():
        name, _, place = piece.partition("[")
        start, end = map(int, place[:-1].split(":"))
        assert texts[int(name[1:])][start:end] == text


def test_pieces_are_drawn_by_the_seed() -> None:
    corpus = corpus_of(["x" * 500], 50)
    few, other = (passages_of(corpus, 5, 20, seed=seed) for seed in (0, 1))
    assert len(few) == len(other) == 20
    assert few != other
    assert few == passages_of(corpus, 5, 20, seed=0)
    assert passages_of(corpus, 51, 20, seed=0) == {}


def test_the_drawn_probability_is_how_often_one_of_n_is_called_toxic() -> None:
    rng = np.random.default_rng(0)
    scores = rng.beta(0.3, 4.0, size=3000)
    for threshold in (0.5, 0.8):
        drawn = rng.choice(scores, size=(20000, 25)).max(axis=1) >= threshold
        found = drawn_probability(scores, threshold, 25)
        assert found.value == pytest.approx(drawn.mean(), abs=0.015)
        assert found.low < found.value < found.high
    assert drawn_probability(scores, 0.5, 1).value == pytest.approx((scores >= 0.5).mean())


def test_a_judge_without_false_alarms_has_a_drawn_probability_of_zero() -> None:
    found = drawn_probability(np.full(100, 0.2), 0.5, 25)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("scores", [[], [0.1, np.nan]])
def test_what_is_not_judged_has_no_drawn_probability(scores: list[float]) -> None:
    with pytest.raises(InputError, match="human text: give the finite toxicity"):
        drawn_probability(np.array(scores), 0.5, 25)
