"""From sources to what every later stage reads: tokenizer, packed corpus, held-out documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.config import CorpusConfig, Source, TokenizerConfig
from ifguide.corpus.documents import Documents, is_held_out, read_documents
from ifguide.corpus.sources import source_fingerprint
from ifguide.corpus.tokenizers import load_tokenizer, train_tokenizer
from ifguide.nouns import Corpus, Document


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """The packed corpus, its tokenizer, and the documents kept out, by the source's name."""

    corpus: Corpus
    tokenizer: PreTrainedTokenizerBase
    held_out: dict[str, Documents]


def prepare(
    config: CorpusConfig, tokenizer_config: TokenizerConfig, data_dir: Path, seed: int, folder: Path
) -> PreparedCorpus:
    """Read, split, tokenise and pack the sources into ``folder``, and open the result.

    Raises:
        InputError: a source cannot be used, or nothing is left to train on.
    """
    if tokenizer_config.vocab_size is None:
        tokenizer = load_tokenizer(tokenizer_config)
    else:
        texts = (d.text for d in _documents(config, data_dir, seed, held_out=False))
        tokenizer = train_tokenizer(texts, tokenizer_config.vocab_size)
    tokenizer.save_pretrained(folder / "tokenizer")
    training = _documents(config, data_dir, seed, held_out=False)
    pack(training, tokenizer, config.block_length, folder / "blocks")
    (folder / "held_out").mkdir(exist_ok=True)
    for source in config.sources:
        kept_out = _split(source, data_dir, seed, held_out=True)
        if source.held_out:
            Documents.write(folder / "held_out" / f"{source.name}.arrow", kept_out)
    return open_prepared(folder)


def open_prepared(folder: Path) -> PreparedCorpus:
    """Open what ``prepare`` wrote."""
    held_out = {
        file.stem: Documents.open(file) for file in sorted((folder / "held_out").glob("*.arrow"))
    }
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return PreparedCorpus(open_corpus(folder / "blocks"), tokenizer, held_out)


def sources_fingerprint(sources: Iterable[Source], data_dir: Path) -> str:
    """Return a sha256 of the sources' contents."""
    parts = "\n".join(source_fingerprint(source, data_dir) for source in sources)
    return hashlib.sha256(parts.encode()).hexdigest()


def _documents(
    config: CorpusConfig, data_dir: Path, seed: int, *, held_out: bool
) -> Iterator[Document]:
    for source in config.sources:
        yield from _split(source, data_dir, seed, held_out=held_out)


def _split(source: Source, data_dir: Path, seed: int, *, held_out: bool) -> Iterator[Document]:
    for document in read_documents(source, data_dir, seed):
        if is_held_out(document, source.held_out, seed) == held_out:
            yield document
