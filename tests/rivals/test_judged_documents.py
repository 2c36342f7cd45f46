"""Whole documents by a judge, listed words by their characters; selections above a score."""

import unicodedata

import numpy as np
import pytest

from ifguide.corpus.blocks import pack
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.judges.words import WordListJudge
from ifguide.nouns import Document, TokenScores
from ifguide.rivals.judged_documents import judged_documents, listed_words
from ifguide.selection.documents import select_above, select_documents

TEXTS = [
    "You are a silly goose, said the fox.",
    "Nothing here at all, good people.",
    "A GOOSE and a Goose; geese",
    "un ho\u0302tel caché",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    tokenizer = train_tokenizer(TEXTS, 300)
    documents = [Document(f"d{k}", text) for k, text in enumerate(TEXTS)]
    return pack(documents, tokenizer, 9, tmp_path_factory.mktemp("packed"))


def test_every_token_has_the_toxicity_of_its_document(corpus):
    toxicity = {text: k / 10 for k, text in enumerate(TEXTS, 1)}
    asked = []

    def judge(texts, ids):
        asked.extend(ids)
        return np.array([toxicity[text] for text in texts])

    done = []
    found = judged_documents(corpus, judge, progress=done.append).values
    assert asked == ["d0", "d1", "d2", "d3"]
    assert sum(done) == corpus.token_count
    for place in np.ndindex(corpus.tokens.shape):
        expected = toxicity[TEXTS[corpus.document[place]]] if corpus.has_loss[place] else 0
        assert found[place] == expected


def test_spans_are_the_characters_of_listed_words():
    judge = WordListJudge("words", ["goose", "silly goose", "hôtel", "café"])
    for form in ("NFC", "NFD"):
        for text in TEXTS:
            written = unicodedata.normalize(form, text)
            found = [written[start:end] for start, end in judge.spans(written)]
            whole = judge([written])[0] == 1
            assert bool(found) == whole
            for word in found:
                assert unicodedata.normalize("NFC", word).lower() in judge_words
    assert judge.spans("Goose, silly  goose: goose") == [(0, 5), (14, 19), (21, 26)]
    assert judge.spans(TEXTS[3]) == [(3, 9)]


judge_words = {"goose", "silly goose", "hôtel", "café"}


def test_tokens_of_listed_words_are_1_and_all_others_0(corpus):
    judge = WordListJudge("words", ["goose", "hôtel"])
    found = listed_words(corpus, judge.spans).values
    hit = 0
    for place in np.ndindex(corpus.tokens.shape):
        text = TEXTS[corpus.document[place]]
        start, end = int(corpus.start[place]), int(corpus.end[place])
        inside = any(start < b and a < end and start < end for a, b in judge.spans(text))
        assert found[place] == (inside and corpus.has_loss[place])
        hit += found[place]
    assert hit > 5


def test_a_filter_drops_no_document_that_has_no_listed_word(corpus):
    found = listed_words(corpus, WordListJudge("words", ["goose"]).spans)
    every = select_documents(found, 0.9, "mean", above=0.0)
    dropped = {int(n) for n in np.unique(np.asarray(corpus.document)[every.suppress])}
    assert dropped == {0, 2}
    assert not (every.suppress & ~corpus.has_loss).any()
    without = select_documents(found, 0.9, "mean")
    assert {int(n) for n in np.unique(np.asarray(corpus.document)[without.suppress])} > dropped


def test_all_tokens_above_a_score_are_selected(corpus):
    places = np.arange(corpus.tokens.size, dtype=np.float32).reshape(corpus.tokens.shape)
    values = np.where(corpus.has_loss, places, np.float32(0))
    found = select_above(TokenScores(values, corpus), 20.0)
    np.testing.assert_array_equal(found.suppress, (values > 20) & corpus.has_loss)
    assert found.budget == found.suppress.sum()
    counts = np.bincount(np.asarray(corpus.document)[found.suppress], minlength=len(TEXTS))
    assert counts[found.ranking].tolist() == sorted(counts[counts > 0].tolist(), reverse=True)
    for threshold in (-1.0, 1e9):
        with pytest.raises(InputError, match="token's score is above"):
            select_above(TokenScores(values, corpus), threshold)
