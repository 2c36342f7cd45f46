"""Only the library places special tokens: a text that spells one is cut as the text it is."""

import ast
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import ifguide
from ifguide.corpus.tokenizers import encode, ids_of, special_ids, vocabulary_of

from .conftest import MAKERS

PACKAGE = Path(ifguide.__file__).parent
OWN = {
    "masks/axolotl.py",  # as axolotl does, to count what that cuts otherwise
    "corpus/chat_tokens.py",
    "corpus/tokenizers.py",
    "corpus/tokenizer_class.py",
    "corpus/starts.py",
}
CUTS = {"encode", "encode_plus", "batch_encode_plus", "encode_batch", "tokenize"}


def sentence_pieces():
    """As T5's: the special tokens are pieces of the vocabulary, the likeliest ones at that."""
    ends = [("<unk>", 0.0), ("</s>", -1.0), ("<s>", -1.0), ("▁", -2.0)]
    letters = [(letter, -5.0) for letter in "</s>abcdefghijklmnopqrtuvwxyz"]
    pieces = Tokenizer(models.Unigram([*ends, *letters], 0))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    names = {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **names)


def split_words():
    """Words between white space: a special token that stands alone is a word."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1, "dog": 2, "<": 3}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")


def with_more_special_tokens():
    tokenizer = MAKERS["byte_level"]()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


KINDS = {**MAKERS, **{m.__name__: m for m in (sentence_pieces, split_words)}}
KINDS["with_more_special_tokens"] = with_more_special_tokens


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_spelt_token_becomes_one(kind):
    tokenizer = KINDS[kind]()
    special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    for number in special:
        name = tokenizer.convert_ids_to_tokens(number)
        for text in (name, f"dog {name} dog", f"dog{name}", f"{name} {name}", name.upper()):
            (cut,) = encode(tokenizer, [text])
            assert special.isdisjoint(cut.tokens.tolist()), (kind, text)
            assert (cut.start <= cut.end).all()
            assert (cut.end <= len(text)).all()


def test_the_text_around_a_spelt_token_is_cut_as_ever():
    tokenizer = sentence_pieces()
    (cut,) = encode(tokenizer, ["dog </s> dog"])
    letters = [tokenizer.convert_ids_to_tokens(int(token)) for token in cut.tokens]
    assert letters == [*"▁dog▁</s>▁dog"]
    (cut,) = encode(with_more_special_tokens(), ["a <|im_end|> b"])
    assert special_ids(with_more_special_tokens()).isdisjoint(cut.tokens.tolist())


def test_a_character_without_a_token_is_still_unknown():
    words = Tokenizer(models.WordLevel({"<e>": 0, "a": 1}, unk_token="<e>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<e>")
    assert ids_of(tokenizer, "a aaa a") == [1, 0, 1]


def test_ids_with_a_gap_are_counted_to_the_largest():
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 9, "dog": 4}, "<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>")
    assert len(tokenizer) == 3
    assert vocabulary_of(tokenizer) == 10


def raw_cuts(source: str) -> list[int]:
    """Lines that call a tokenizer, or one of its methods that cuts a text, themselves."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).lower()
            of, _, name = called.rpartition(".")
            if name.endswith("tokenizer") and not name.startswith(("load", "open", "train", "_re")):
                found.append(node.lineno)
            if name in CUTS and "tokenizer" in of:
                found.append(node.lineno)
    return found


def test_nothing_else_cuts_a_text():
    judges = PACKAGE / "evaluation" / "judges"  # which have tokenizers of their own
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if name not in OWN and not file.is_relative_to(judges):
            assert not raw_cuts(file.read_text("utf-8")), name


@pytest.mark.parametrize(
    "line",
    [
        "tokenizer(text)",
        "self.tokenizer(text, add_special_tokens=False)",
        "reward.tokenizer.encode(text)",
        "text.tokenizer.backend_tokenizer.encode(text)",
    ],
)
def test_a_raw_cut_is_seen(line):
    assert raw_cuts(line) == [1]
