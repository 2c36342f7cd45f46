"""Words, told apart by the vocabulary alone: runs of tokens that are written together.

A vocabulary cuts a rare word into pieces that mean little by themselves. A token goes on with the
word of the token before it where both sides of the joint are letters or digits and both lie in one
document. Marks belong to what they stand on, as in Unicode's text segmentation (UAX #29): combining
accents, vowel signs, points and joiners never begin a word, and what a reader sees as one character
is never cut in two. Words never cross blocks, as a model reads each block by itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import regex
from jaxtyping import Bool, Int, UInt8, UInt64
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.tokenizers import ids_of, special_ids, vocabulary_of

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no byte is lost modulo 2^64
PART = "\N{REPLACEMENT CHARACTER}"  # what a token that holds a part of a character decodes to
JOINER = "\N{ZERO WIDTH JOINER}"


class _Side(IntEnum):
    """What a token begins or ends with, as far as it decides whether two tokens are joined."""

    OTHER = 0
    LETTER = 1  # or digit
    PART = 2  # of a character's bytes, taken for a letter's
    MARK = 3  # at an end: the token holds nothing else
    SYMBOL = 4  # anything beyond ASCII that is neither a letter nor white space
    PICTURE = 5
    LINKED = 6  # an end alone: a picture that a joiner links to the next
    FLAG = 7  # half of one
    PREFIX = 8  # a mark that stands before its character
    JOINER = 9  # an end alone: the token holds marks, the last of which is a joiner


_MARK = regex.compile(r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]")
_OF_CHARACTER = (  # the first that fits
    (_Side.PREFIX, regex.compile(r"\p{GCB=Prepend}")),
    (_Side.MARK, _MARK),
    (_Side.FLAG, regex.compile(r"\p{GCB=Regional_Indicator}")),
    (_Side.PICTURE, regex.compile(r"[\p{Extended_Pictographic}--\p{ASCII}]", regex.VERSION1)),
    (_Side.SYMBOL, regex.compile(r"[^\s\p{ASCII}]")),
)


def _joints() -> Bool[np.ndarray, "ends starts"]:
    joins = np.zeros((len(_Side), len(_Side)), dtype=bool)
    joins[:, _Side.MARK] = True
    joins[_Side.PREFIX, :] = True
    of_words, beyond = [_Side.LETTER, _Side.PART], [_Side.SYMBOL, _Side.PICTURE, _Side.FLAG]
    joins[np.ix_(of_words, of_words)] = True
    joins[_Side.PART, beyond] = joins[[*beyond, _Side.LINKED], _Side.PART] = True
    joins[_Side.LINKED, _Side.PICTURE] = joins[_Side.FLAG, _Side.FLAG] = True
    return joins


_JOINS = _joints()


@dataclass(frozen=True, eq=False)
class Spelling:
    """How the V ids of a vocabulary are spelt, as far as words go.

    ``key`` is the polynomial hash, modulo 2^64, of an id's text in lower case without white space
    around it and with its accents apart (NFD), and ``shift`` what a hash is multiplied by when that
    text follows it.
    """

    starts: UInt8[np.ndarray, " V"]  # a ``_Side``: what its text begins with
    ends: UInt8[np.ndarray, " V"]  # and what it ends with
    key: UInt64[np.ndarray, " V"]
    shift: UInt64[np.ndarray, " V"]

    @classmethod
    def of(cls, texts: Sequence[str], names: Sequence[str] | None = None) -> Spelling:
        """Read the texts of all ids, each with the white space that it brings along.

        Args:
            texts: of the ids.
            names: what tells ids apart that hold a part of a character, whose texts are alike.
        """
        named = zip(texts, names or texts, strict=True)
        keys = [name if PART in text else text for text, name in named]
        hashed = [_hash(_folded(key)) for key in keys]
        return cls(
            starts=np.array([_start(text) for text in texts], dtype=np.uint8),
            ends=np.array([_end(text) for text in texts], dtype=np.uint8),
            key=np.array([key for key, _ in hashed], dtype=np.uint64),
            shift=np.array([shift for _, shift in hashed], dtype=np.uint64),
        )


def spelling(tokenizer: PreTrainedTokenizerBase) -> Spelling:
    """Return how a tokenizer's ids are spelt.

    Each id is decoded behind another, because some tokenizers drop the space of a leading one.
    """
    special = special_ids(tokenizer)
    front = ids_of(tokenizer, "a")
    before = len(tokenizer.decode(front))
    every = range(vocabulary_of(tokenizer))
    together = [[*front, number] for number in every]
    decoded = tokenizer.batch_decode(together, clean_up_tokenization_spaces=False)
    texts = ["" if i in special else text[before:] for i, text in enumerate(decoded)]
    names = [str(name).lstrip("Ġ▁") for name in tokenizer.convert_ids_to_tokens([*every])]
    return Spelling.of(texts, names)


def number_words(
    spelt: Spelling, tokens: Int[np.ndarray, "n T"], document: Int[np.ndarray, "n T"]
) -> Int[np.ndarray, "n T"]:
    """Number the words of n blocks from 0 in order; every token gets its word's number."""
    same, ends = document[:, :-1] == document[:, 1:], spelt.ends[tokens]
    goes_on = np.zeros(tokens.shape, dtype=bool)
    goes_on[:, 1:] = _JOINS[_on_bearers(ends, same)[:, :-1], spelt.starts[tokens[:, 1:]]] & same
    return np.cumsum(~goes_on.ravel()).reshape(tokens.shape) - 1


def word_keys(
    spelt: Spelling, tokens: Int[np.ndarray, "n T"], number: Int[np.ndarray, "n T"]
) -> UInt64[np.ndarray, " words"]:
    """Return a key for each numbered word: equal for the same letters in either case.

    It hashes the pieces' texts one after the other, so that it does not matter how a word is cut.
    """
    flat, word = tokens.ravel(), number.ravel()
    start = np.flatnonzero(np.diff(word, prepend=-1))
    length = np.diff(start, append=len(flat))
    keys = np.zeros(len(start), dtype=np.uint64)
    for piece in range(int(length.max(initial=0))):
        has = length > piece
        token = flat[start[has] + piece]
        keys[has] = keys[has] * spelt.shift[token] + spelt.key[token]
    return keys


def _on_bearers(
    ends: UInt8[np.ndarray, "n T"], same: Bool[np.ndarray, "n before"]
) -> UInt8[np.ndarray, "n T"]:
    """Return what tokens end with; what holds marks alone ends as the token that bears them."""
    marks = (ends == _Side.MARK) | (ends == _Side.JOINER)
    if not marks.any():
        return ends
    marks[:, 1:] &= same
    bearer = np.where(marks, 0, np.arange(ends.shape[1]))
    found = np.take_along_axis(ends, np.maximum.accumulate(bearer, axis=1), axis=1)
    picture = marks & ((found == _Side.PICTURE) | (found == _Side.LINKED))
    linked = np.where(ends == _Side.JOINER, np.uint8(_Side.LINKED), np.uint8(_Side.PICTURE))
    return np.where(picture, linked, found)


def _start(text: str) -> _Side:
    return _side(text[0]) if text else _Side.OTHER


def _end(text: str) -> _Side:
    bare = text
    while bare and _MARK.match(bare[-1]):
        bare = bare[:-1]
    joined = text.endswith(JOINER)
    if not bare:
        alone = _Side.JOINER if joined else _Side.MARK
        return alone if text else _Side.OTHER
    side = _side(bare[-1])
    return _Side.LINKED if joined and side == _Side.PICTURE else side


def _side(character: str) -> _Side:
    if character == PART:
        return _Side.PART
    if character.isalnum():
        return _Side.LETTER
    return next((side for side, kind in _OF_CHARACTER if kind.match(character)), _Side.OTHER)


def _folded(text: str) -> bytes:
    """Return the bytes of a text in lower case; pieces of a word come to the word's, joined."""
    return unicodedata.normalize("NFD", text.strip().lower()).encode()


def _hash(text: bytes) -> tuple[int, int]:
    key, shift = 0, 1
    for byte in text:
        key = (key * int(BASE) + byte + 1) % 2**64
        shift = shift * int(BASE) % 2**64
    return key, shift
