"""A tokenizer cuts texts as its tokenizer.json says, whatever class its config names."""

import json
import logging

import pytest
from cutters import byte_level, with_byte_fallback
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

from ifguide.corpus import tokenizer_class
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.tokenizers import encode, ids_of, load_tokenizer, open_tokenizer
from ifguide.errors import InputError

from .conftest import SAMPLE

TEXTS = [
    *SAMPLE,
    "A ﬁne ½ Day,  two  spaces\nand a line 12345",
    "e\u0301 é ñ हिन्दी 👩‍👩‍👧 ☎️",
    " The river",
]
CLASSES = [
    "CohereTokenizerFast",
    "GPT2TokenizerFast",
    "GPTNeoXTokenizerFast",
    "GemmaTokenizerFast",
    "LlamaTokenizerFast",
    "PreTrainedTokenizerFast",
    "Qwen2TokenizerFast",
]


def lowered(rules):
    rules.normalizer = normalizers.Lowercase()


def composed(rules):
    rules.normalizer = normalizers.NFKC()


def by_digits(rules):
    digits = pre_tokenizers.Digits(individual_digits=True)
    rules.pre_tokenizer = pre_tokenizers.Sequence([digits, rules.pre_tokenizer])


def as_it_is(rules):
    pass


def saved(folder, tokenizer, change, name):
    """Write a tokenizer with one rule changed, and a class that does not know of it."""
    change(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.update(tokenizer_class=name, backend=None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("make", [byte_level, with_byte_fallback], ids=lambda make: make.__name__)
@pytest.mark.parametrize("change", [as_it_is, lowered, composed, by_digits])
@pytest.mark.parametrize("name", CLASSES)
def test_texts_are_cut_as_the_file_says(make, change, name, tmp_path):
    rules = saved(tmp_path / "given", make(), change, name)
    loaded = load_tokenizer(TokenizerConfig(path=str(tmp_path / "given")))
    loaded.save_pretrained(tmp_path / "kept")
    for tokenizer in (
        loaded,
        open_tokenizer(tmp_path / "given"),
        open_tokenizer(tmp_path / "kept"),
    ):
        for text, cut in zip(TEXTS, encode(tokenizer, TEXTS), strict=True):
            wanted = rules.encode(text, add_special_tokens=False)
            assert cut.tokens.tolist() == wanted.ids
            assert tokenizer.decode(wanted.ids) == rules.decode(wanted.ids, False)
        assert tokenizer.eos_token == make().eos_token
        assert len(tokenizer) == rules.get_vocab_size()


def test_it_is_said_once_and_only_where_something_is_changed(tmp_path, caplog):
    tokenizer_class._tell.cache_clear()
    with caplog.at_level(logging.WARNING, logger=tokenizer_class.__name__):
        saved(tmp_path / "sound", byte_level(), as_it_is, "GPT2TokenizerFast")
        open_tokenizer(tmp_path / "sound")
        assert not caplog.records
        saved(tmp_path / "other", byte_level(), composed, "GPT2TokenizerFast")
        for _ in range(2):
            open_tokenizer(tmp_path / "other")
    (record,) = caplog.records
    said = "its class GPT2Tokenizer cuts texts otherwise than its tokenizer.json says"
    assert said in record.getMessage()


def test_a_class_that_cannot_read_its_file_is_refused_in_one_line(tmp_path):
    saved(tmp_path, byte_level(), as_it_is, "T5TokenizerFast")
    with pytest.raises(InputError, match=r"^tokenizer.path: '.*': cannot be loaded .*$"):
        load_tokenizer(TokenizerConfig(path=str(tmp_path)))


def test_a_text_that_comes_out_otherwise_is_seen_too(tmp_path):
    def fused(rules):
        rules.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("o", "0")])

    rules = saved(tmp_path, byte_level(), fused, "GPT2TokenizerFast")
    found = open_tokenizer(tmp_path)
    assert found.decode(ids_of(found, "fox")) == rules.decode(rules.encode("fox").ids) == "f0x"
