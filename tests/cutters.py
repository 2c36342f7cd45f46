"""Small tokenizers of different families, trained on a few sentences."""

import json

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


def unigram():
    """As SentencePiece's: NFKC, spaces as a letter, pieces by likelihood, bytes for the rest."""
    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.NFKC()
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    pieces.train_from_iterator([text for text in SAMPLE if text.isascii()], trainer)
    rules = json.loads(pieces.to_str())
    rules["model"]["byte_fallback"] = True
    pieces = Tokenizer.from_str(json.dumps(rules))
    return PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="</s>", unk_token="<unk>")


def word_piece():
    """As BERT's: lower case, no accents, no spaces, words in pieces."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=["[UNK]", "[SEP]"], show_progress=False
    )
    pieces.train_from_iterator(SAMPLE, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="[SEP]", unk_token="[UNK]")


def with_added_tokens():
    """Byte-level, with words of more than a token that were added later."""
    tokenizer = train_tokenizer(SAMPLE, 320)
    tokenizer.add_tokens(["fool! Nobody", "日本語", "lazy"])
    return tokenizer


MAKERS = {maker.__name__: maker for maker in (byte_level, composing, with_byte_fallback, of_words)}
MORE = {
    **MAKERS,
    **{maker.__name__: maker for maker in (unigram, word_piece, with_added_tokens)},
}
