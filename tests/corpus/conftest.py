"""Small tokenizers of different families, and files of records."""

import gzip
import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ifguide.corpus.tokenizers import train_tokenizer

SAMPLE = [
    "The quick brown fox, a lazy dog and the old river.",
    "You stupid fool! Nobody asked you; go away now.",
    "Ein schöner Tag, 日本語のテキスト und 👩‍👩‍👧 dazu.",
    "The river was calm and the dog was asleep near the fox.",
] * 3


def byte_level():
    return train_tokenizer(SAMPLE, 320)


def composing():
    """Byte-level like GPT-NeoX, after NFC: characters of the text can merge before the cut."""
    tokenizer = train_tokenizer(SAMPLE, 300)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def with_byte_fallback():
    """As Llama's: spaces become a letter of their own, unknown characters fall to bytes."""
    bpe = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bpe.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, show_progress=False)
    bpe.train_from_iterator([text for text in SAMPLE if text.isascii()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="</s>", unk_token="<unk>")


def of_words():
    """Words only: characters that are no word of the vocabulary become one unknown token."""
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1, "dog": 2, "river": 3}, "<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")


MAKERS = {maker.__name__: maker for maker in (byte_level, composing, with_byte_fallback, of_words)}


@pytest.fixture(scope="session")
def tokenizer():
    return byte_level()


@pytest.fixture(scope="session", params=sorted(MAKERS))
def any_tokenizer(request):
    return MAKERS[request.param]()


@pytest.fixture
def write_lines(tmp_path):
    """Write records as JSON Lines under the data folder; strings go in as they are."""

    def write(name, records):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
        raw = "".join(f"{line}\n" for line in lines).encode()
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return file

    return write
