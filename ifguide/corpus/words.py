"""Words, told apart by the vocabulary alone: runs of tokens that are written together.

A vocabulary cuts a rare word into pieces that mean little by themselves. A token goes on with the
word of the token before it where both sides of the joint are letters or digits and both lie in one
document. Words never cross blocks, as a model reads each block by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt64
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.tokenizers import ids_of, special_ids, vocabulary_of

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no byte is lost modulo 2^64


@dataclass(frozen=True, eq=False)
class Spelling:
    """How the V ids of a vocabulary are spelt, as far as words go.

    ``key`` is the polynomial hash, modulo 2^64, of an id's text in lower case without white space
    around it, and ``shift`` what a hash is multiplied by when that text follows it.
    """

    starts_open: Bool[np.ndarray, " V"]  # its first character is a letter or a digit
    ends_open: Bool[np.ndarray, " V"]  # so is its last
    key: UInt64[np.ndarray, " V"]
    shift: UInt64[np.ndarray, " V"]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Spelling:
        """Read the texts of all ids, each with the white space that it brings along."""
        hashed = [_hash(text.strip().lower().encode()) for text in texts]
        return cls(
            starts_open=np.array([_in_word(text[:1]) for text in texts]),
            ends_open=np.array([_in_word(text[-1:]) for text in texts]),
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
    together = [[*front, number] for number in range(vocabulary_of(tokenizer))]
    decoded = tokenizer.batch_decode(together, clean_up_tokenization_spaces=False)
    texts = ["" if i in special else text[before:] for i, text in enumerate(decoded)]
    return Spelling.of(texts)


def number_words(
    spelt: Spelling, tokens: Int[np.ndarray, "n T"], document: Int[np.ndarray, "n T"]
) -> Int[np.ndarray, "n T"]:
    """Number the words of n blocks from 0 in order; every token gets its word's number."""
    goes_on = np.zeros(tokens.shape, dtype=bool)
    goes_on[:, 1:] = (
        spelt.ends_open[tokens[:, :-1]]
        & spelt.starts_open[tokens[:, 1:]]
        & (document[:, :-1] == document[:, 1:])
    )
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


def _in_word(character: str) -> bool:
    """A letter or a digit; so is what stands for a part of a character's bytes."""
    return character.isalnum() or character == "\N{REPLACEMENT CHARACTER}"


def _hash(text: bytes) -> tuple[int, int]:
    key, shift = 0, 1
    for byte in text:
        key = (key * int(BASE) + byte + 1) % 2**64
        shift = shift * int(BASE) % 2**64
    return key, shift
