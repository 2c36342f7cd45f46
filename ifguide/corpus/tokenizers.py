"""Tokenizers: any fast one by path or hub name, or byte-level BPE trained on the corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ifguide.corpus.config import SMALLEST, TokenizerConfig
from ifguide.corpus.gguf_files import gguf_place
from ifguide.corpus.hub import commit_of
from ifguide.corpus.tokenizer_class import as_its_file_says
from ifguide.errors import InputError, reading
from ifguide.extras import import_extra
from ifguide.nouns import Document, Encoded
from ifguide.parts import tell

END_OF_TEXT = "<|endoftext|>"
LEARNT_WITHIN = 1000  # bytes; longer than any word


def load_tokenizer(config: TokenizerConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer at ``config.path``, or in the file ``config.gguf``.

    Where its class would cut texts otherwise than its ``tokenizer.json`` says, the file is taken.

    Raises:
        InputError: it cannot be loaded, has no fast version or no end-of-text token.
    """
    mend = "give a folder that holds one, or a name on the hub"
    options, path = {}, config.path
    if config.gguf is not None:
        mend = "give a GGUF file of a family that transformers can read from one"
        import_extra("gguf", "gguf", "gguf", "tokenizer.gguf")
        path, options["gguf_file"] = gguf_place(config.path, config.gguf)
    if path is None:
        raise InputError("tokenizer.path: it is not set; name a tokenizer, or train one")
    path = str(Path(path).expanduser()) if path.startswith("~") else path
    revision = commit_of(path, "main", config.gguf) or "main"
    with loading(config.named_by, mend, "set tokenizer.trust_remote_code"):
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            revision=revision,
            use_fast=True,
            trust_remote_code=config.trust_remote_code,
            **options,
        )
        if not tokenizer.is_fast:
            raise InputError(
                f"{config.named_by} has no fast version, which character spans need; choose a "
                "tokenizer that has a tokenizer.json"
            )
        if config.gguf is None:
            tokenizer = as_its_file_says(tokenizer, path, revision)
        end_of_text(tokenizer)
    return tokenizer


def open_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Open a tokenizer that ``save_pretrained`` wrote; the network is never asked.

    Raises:
        InputError: it cannot be opened, or only by running code that is not trusted.
    """
    with loading(f"{folder}: the tokenizer", "make it again", "give --trust-remote-code"):
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
        return as_its_file_says(tokenizer, folder)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE whose end-of-text token also stands for padding, start and unknown.

    Every text survives decoding, as the 256 bytes are always among the tokens. The result is the
    same whenever the texts are; on few texts it can have fewer than ``vocab_size`` tokens.

    What is learnt is learnt within stretches of LEARNT_WITHIN bytes without a space: the
    trainer takes time in the square of their length. What it learnt cuts words of any length.

    Raises:
        InputError: ``vocab_size`` leaves no room for the bytes and end-of-text.
    """
    if vocab_size < SMALLEST:
        raise InputError(
            f"tokenizer.vocab_size: {vocab_size} is too small for the 256 bytes and end-of-text; "
            f"give {SMALLEST} or more"
        )
    bpe = Tokenizer(models.BPE())
    by_words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    stretches = pre_tokenizers.FixedLength(LEARNT_WITHIN)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([by_words, stretches])
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tell("learning the tokenizer")
    bpe.train_from_iterator(texts, trainer)
    bpe.pre_tokenizer = by_words
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END_OF_TEXT,
        bos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[Encoded]:
    """Tokenise texts without adding tokens and without reading special tokens out of the text.

    A token's characters are what the tokenizer's offsets say: a byte-level token may count the
    space before its word, tokens that share the bytes of one character share its span, and one that
    normalises text (NFC) may leave a combining mark out. A text that spells ``<|endoftext|>`` is
    cut like any other text. Nothing else in the library turns people's texts into tokens, but for
    ``ChatTokens``, which keeps special tokens of a chat template apart from those in messages.
    """
    if not texts:
        return
    batch = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        verbose=False,
    )
    special = special_ids(tokenizer) - {tokenizer.unk_token_id}
    for text, ids, found in zip(texts, batch["input_ids"], batch.encodings, strict=True):
        # one by one: a list of all pairs takes four times as long, and 50 bytes a character
        places = (place for token in range(len(ids)) for place in found.token_to_chars(token))
        spans = np.fromiter(places, dtype=np.int32).reshape(-1, 2)
        cut = Encoded(np.array(ids, dtype=np.int32), spans[:, 0], spans[:, 1])
        yield cut if special.isdisjoint(ids) else _spelt_out(tokenizer, text, cut, special)


def encoded_documents(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[Document]
) -> Iterator[tuple[Document, Encoded]]:
    """Yield documents with their tokens: their own, or those that the tokenizer cuts them into."""
    texts = [document.text for document in documents if document.encoded is None]
    cut = encode(tokenizer, texts)
    for document in documents:
        yield document, next(cut) if document.encoded is None else document.encoded


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text as ``encode`` cuts it, none added."""
    (encoded,) = encode(tokenizer, [text])
    return encoded.tokens.tolist()


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids of all tokens that stand for no text: end-of-text, padding and the like."""
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(number for number, token in added if token.special)}


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the largest id + 1, which is more than ``len(tokenizer)`` where ids have gaps."""
    return 1 + max(tokenizer.get_vocab().values())


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the end-of-text token.

    Raises:
        InputError: the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"tokenizer.path: '{tokenizer.name_or_path}' has no end-of-text token (eos_token); "
            "set one and save the tokenizer again, or choose another"
        )
    return int(tokenizer.eos_token_id)


@contextmanager
def loading(what: str, mend: str, trust: str) -> Iterator[None]:
    """Turn whatever transformers raises at a checkpoint's folder or hub name into one line.

    Args:
        what, mend: as in ``reading``.
        trust: the mend where transformers would not run code that comes with it.

    Raises:
        InputError: anything was raised.
    """
    with reading(what, mend, fault="cannot be loaded", lines=1):
        try:
            yield
        except ValueError as error:
            if "trust_remote_code=True" in str(error):
                raise InputError(
                    f"{what} comes with code of its own; read it, and {trust} to run it"
                ) from error
            raise


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of all that decides how the tokenizer cuts text, and of its end-of-text token."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    rules = {key: rules[key] for key in rules if key not in ("truncation", "padding")}
    described = json.dumps([rules, tokenizer.eos_token], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def _spelt_out(
    tokenizer: PreTrainedTokenizerBase, text: str, cut: Encoded, special: set[int]
) -> Encoded:
    """Return the tokens with the special ones that the text spells cut into their characters.

    A vocabulary of words or of sentence pieces holds its special tokens as if they were text.
    """
    model = tokenizer.backend_tokenizer.model
    rows: list[tuple[int, int, int]] = []
    columns = (cut.tokens.tolist(), cut.start.tolist(), cut.end.tolist())
    for token, start, end in zip(*columns, strict=True):
        spelt = token in special and spells(text[start:end], tokenizer, token)
        places = range(start, end) if spelt else ()
        rows += [(part.id, k, k + 1) for k in places for part in model.tokenize(text[k])]
        rows += [] if spelt else [(token, start, end)]
    tokens, first, last = np.array(rows, dtype=np.int32).reshape(-1, 3).T
    return Encoded(tokens, first, last)


def spells(text: str, tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    """Whether a text of several characters spells a token, whatever the case."""
    name = str(tokenizer.convert_ids_to_tokens(token)).casefold()
    return len(name) > 1 and name in text.casefold()
