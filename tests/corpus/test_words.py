"""Words from the vocabulary against words read off the text's characters."""

from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.blocks import pack
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import encode, ids_of, train_tokenizer
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


LANGUAGES = {
    "Devanagari": "यह हिन्दी है और कमीना नहीं",
    "Hebrew": "שָׁלוֹם לָכֶם",
    "Arabic": "اَلسَّلَامُ عَلَيْكُم",
    "Thai": "ผู้หญิงที่นั่น",
    "Tamil": "தமிழ் கொடு",
    "decomposed": "cafe\u0301 nai\u0308ve q\u0303u",
    "Hangul": "\u1112\u1161\u11ab\u1100\u1173\u11af a",
    "emoji": "ok 👩‍👩‍👧 👍🏽☎️ 🇩🇪🇫🇷!",
    "number sign": "\u0600\u0661\u0662 a",
    "joined": "می\u200cخواهم",
}


def of_characters(text):
    """A token for each character, whatever it is."""
    known = {character: number for number, character in enumerate(sorted({*text, "a", "\n"}))}
    rules = Tokenizer(models.WordLevel({**known, "</s>": len(known)}, "\n"))
    rules.pre_tokenizer = pre_tokenizers.Split(Regex(r"."), "isolated")
    rules.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="</s>")


def words_of(tokenizer, text):
    """The text in its words, as the vocabulary tells them apart."""
    (cut,) = encode(tokenizer, [text])
    tokens = cut.tokens[None]
    number = number_words(spelling(tokenizer), tokens, np.zeros_like(tokens))[0]
    first = np.flatnonzero(np.diff(number, prepend=-1))
    bounds = [*cut.start[first].tolist(), len(text)]
    return [text[a:b] for a, b in pairwise(bounds) if b > a]


def graphemes_whole(text, parts):
    """Whether every part begins where a character that a reader sees does."""
    begins = {found.start() for found in regex.finditer(r"\X", text)}
    places = np.cumsum([0, *(len(part) for part in parts[:-1])]).tolist()
    return begins >= {*places}


@pytest.mark.parametrize("text", LANGUAGES.values(), ids=LANGUAGES)
def test_no_character_that_a_reader_sees_is_cut(text):
    for tokenizer in (of_characters(text), train_tokenizer([text], 257), train_tokenizer([], 257)):
        assert graphemes_whole(text, words_of(tokenizer, text))


@given(
    st.lists(
        st.sampled_from([*"".join(LANGUAGES.values()), *"ab 1!é’—\t"]), min_size=1, max_size=12
    )
)
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_them_is_cut(characters):
    text = "".join(characters)
    # a virama links two letters (UAX #29, GB9c); ``regex`` also lets a bare one link
    text = regex.sub(r"(?<![\u0904-\u0939])\u094d", "", text) or "a"
    assert graphemes_whole(text, words_of(of_characters(text), text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("यह हिन्दी है", ["यह", " ", "हिन्दी", " ", "है"]),
        ("שָׁלוֹם לָכֶם", ["שָׁלוֹם", " ", "לָכֶם"]),
        ("cafe\u0301s naive", ["cafe\u0301s", " ", "naive"]),
        ("می\u200cخواهم ab", ["می\u200cخواهم", " ", "ab"]),
        ("☎\ufe0fab", ["☎\ufe0f", "ab"]),
        ("don't stop", ["don", "'", "t", " ", "stop"]),
    ],
)
def test_marks_belong_to_the_word_that_they_stand_in(text, words):
    assert words_of(of_characters(text), text) == words


def test_composed_and_decomposed_words_have_one_key():
    whole = Spelling.of([" café", "caf", "e\u0301", "É", "\u0301", "CAFE"])
    keys = []
    for tokens in ([0], [1, 2], [1, 3], [5, 4]):
        block = np.array([tokens])
        number = number_words(whole, block, np.zeros_like(block))
        assert not number.any()
        keys += word_keys(whole, block, number).tolist()
    assert len({*keys}) == 1


def test_words_that_are_cut_into_bytes_have_keys_of_their_own():
    tokenizer = train_tokenizer([], 257)
    spelt, keys = spelling(tokenizer), set()
    for word in ("कम", "मक", "कल"):
        tokens = np.array([ids_of(tokenizer, word)])
        number = number_words(spelt, tokens, np.zeros_like(tokens))
        keys |= {*word_keys(spelt, tokens, number).tolist()}
    assert len(keys) == 3
