"""Words from the vocabulary against words read off the text's characters."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.blocks import pack
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.corpus.words import Spelling, number_words, spelling, word_keys
from ifguide.nouns import Document

POSTS = builtin_posts(60, seed=4)
TEXTS = [post.text for post in POSTS]
MORE = ["unbelievable STUPIDITY; stupidity, naïve 4chan-ers don't", "über-idiotisch!idiot 日本語"]


def metaspace_tokenizer():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], show_progress=False)
    bpe.train_from_iterator([*TEXTS, *MORE], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>")


@pytest.fixture(params=["byte-level", "metaspace"])
def packed(request, tmp_path):
    make = {"byte-level": lambda: train_tokenizer(TEXTS, 300), "metaspace": metaspace_tokenizer}
    tokenizer = make[request.param]()
    documents = [*POSTS, *(Document(f"more-{i}", text, ()) for i, text in enumerate(MORE))]
    return tokenizer, pack(documents, tokenizer, 32, tmp_path / "blocks")


def text_of(corpus, i, j):
    text = corpus.documents[int(corpus.document[i, j])].text
    return text[corpus.start[i, j] : corpus.end[i, j]]


def test_words_are_runs_of_letters_and_digits(packed):
    tokenizer, corpus = packed
    number = number_words(spelling(tokenizer), np.asarray(corpus.tokens), corpus.document)
    joined = 0
    for i, j in np.argwhere(corpus.document[:, 1:] >= 0):
        left, right = text_of(corpus, i, j), text_of(corpus, i, j + 1)
        same = corpus.document[i, j] == corpus.document[i, j + 1]
        overlap = same and corpus.start[i, j + 1] < corpus.end[i, j]
        if overlap or not (left.isascii() and right.isascii()):
            continue  # parts of one character, or a space that stands for none
        together = number[i, j] == number[i, j + 1]
        assert together == (same and left[-1:].isalnum() and right[:1].isalnum())
        joined += together
    assert joined > 100
    assert (np.diff(number.ravel()) <= 1).all()
    assert (np.diff(number[:, 0]) > 0).all(), "words never cross blocks"


def ends(number):
    """Where each word starts and ends in the stream of tokens."""
    start = np.unique(number, return_index=True)[1]
    return start.tolist(), [*start[1:].tolist(), number.size]


def test_keys_are_equal_where_the_letters_are(packed):
    tokenizer, corpus = packed
    spelt, tokens = spelling(tokenizer), np.asarray(corpus.tokens)
    number = number_words(spelt, tokens, np.asarray(corpus.document))
    keys = word_keys(spelt, tokens, number)
    known = {}
    for key, start, end in zip(keys.tolist(), *ends(number), strict=True):
        word = tokenizer.decode(tokens.ravel()[start:end], skip_special_tokens=True)
        if word.isascii():
            assert known.setdefault(word.strip().lower(), key) == key
    assert len(set(known.values())) == len(known) > 200


def test_by_hand():
    spelt = Spelling.of(["", " Stu", "pid", "stupid", "!", " ", "pi", "d"])
    tokens = np.array([[1, 2, 4, 3, 5], [0, 1, 6, 7, 2]])
    document = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 2]])
    number = number_words(spelt, tokens, document)
    np.testing.assert_array_equal(number, [[0, 0, 1, 2, 3], [4, 5, 5, 5, 6]])
    first, mark, second, space, nothing, third, other = word_keys(spelt, tokens, number)
    assert first == second == third
    assert len({first, mark, space, other}) == 4
    assert space == nothing == 0


def test_no_words():
    none = np.zeros((0, 4), dtype=np.int32)
    spelt = Spelling.of(["a"])
    assert word_keys(spelt, none, number_words(spelt, none, none)).shape == (0,)
