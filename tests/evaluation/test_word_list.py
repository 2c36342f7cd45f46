"""A word list hits whole words, as a reader of the language sees them."""

import unicodedata

import pytest

from ifguide.evaluation.judges.words import WordListJudge

WORDS = ["कम", "cafe", "naïve", "שלום", "two words", "c++", "ไทย", "می", "1½"]


def hit(text):
    return bool(WordListJudge("words", WORDS)([text])[0])


WHOLE = """
यह कम है|कम।|a CAFE here|(cafe)|NAÏVE|שלום|Two words.|c++ is
❤\ufe0fcafe|cafe\u200f.|👍🏽cafe👍🏽|1½ pint|—cafe—
"""
PARTS = """
यह कमीना है|कम्|cafes|cafe_1|cafe\u0301|café|cafe\u0323|שָׁלוֹם|שלום\u05b0
two  words|xc++|می\u200cخواهم|x1½|e\u0301cafe|caf\u00ade cafe1
"""


@pytest.mark.parametrize("text", WHOLE.strip().replace("\n", "|").split("|"))
def test_whole_words_are_hit(text):
    assert hit(text)


@pytest.mark.parametrize("text", PARTS.strip().replace("\n", "|").split("|"))
def test_parts_of_words_are_not(text):
    assert not hit(text)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_it_does_not_matter_how_accents_are_written(form, listed):
    judge = WordListJudge("words", [unicodedata.normalize(listed, "Hôtel")])
    texts = [unicodedata.normalize(form, text) for text in ("un hôtel", "hôtels", "un hotel")]
    assert judge(texts).tolist() == [1.0, 0.0, 0.0]
