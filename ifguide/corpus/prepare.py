"""From sources to what every later stage reads: tokenizer, packed corpus, held-out documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.config import CorpusConfig, Source, TokenizerConfig
from ifguide.corpus.documents import Documents, is_held_out, read_documents
from ifguide.corpus.sources import source_fingerprint
from ifguide.corpus.starts import set_document_start
from ifguide.corpus.tokenizers import load_tokenizer, open_tokenizer, train_tokenizer
from ifguide.files import read_json, write_json
from ifguide.nouns import Corpus, Document
from ifguide.parts import tell

HELD_OUT = "held_out"
NAMES = "names.json"  # of the sources with held-out documents, in the order of their files


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """The packed corpus, its tokenizer, and the documents kept out, by the name of their source."""

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
        texts = (d.text for d in _documents(config, data_dir, seed, None, held_out=False))
        tokenizer = train_tokenizer(texts, tokenizer_config.vocab_size)
    set_document_start(tokenizer, config.document_start)
    tokenizer.save_pretrained(folder / "tokenizer")
    training = _documents(config, data_dir, seed, tokenizer, held_out=False)
    pack(training, tokenizer, config.block_length, folder / "blocks")
    (folder / HELD_OUT).mkdir(exist_ok=True)
    split = [source for source in config.sources if source.held_out]
    for number, source in enumerate(split):
        tell(f"documents held out of {source.name}")
        kept_out = _split(source, data_dir, seed, tokenizer, held_out=True)
        Documents.write(_held_out_file(folder, number), kept_out)
    write_json(folder / HELD_OUT / NAMES, [source.name for source in split])
    return open_prepared(folder, trust_remote_code=tokenizer_config.trust_remote_code)


def open_prepared(folder: Path, *, trust_remote_code: bool = False) -> PreparedCorpus:
    """Open what ``prepare`` wrote.

    Args:
        folder: of the prepared corpus.
        trust_remote_code: run the code that the tokenizer came with.

    Raises:
        InputError: something is missing there, or cannot be read.
    """
    names = read_json(folder / HELD_OUT / NAMES)
    held_out = {
        name: Documents.open(_held_out_file(folder, number)) for number, name in enumerate(names)
    }
    tokenizer = open_tokenizer(folder / "tokenizer", trust_remote_code=trust_remote_code)
    return PreparedCorpus(open_corpus(folder / "blocks"), tokenizer, held_out)


def sources_fingerprint(sources: Iterable[Source], data_dir: Path) -> str:
    """Return a sha256 of the sources' contents."""
    parts = "\n".join(source_fingerprint(source, data_dir) for source in sources)
    return hashlib.sha256(parts.encode()).hexdigest()


def _held_out_file(folder: Path, number: int) -> Path:
    """Return where one source's held-out documents lie: names of sources are no names of files."""
    return folder / HELD_OUT / f"{number}.arrow"


def _documents(
    config: CorpusConfig,
    data_dir: Path,
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    held_out: bool,
) -> Iterator[Document]:
    for source in config.sources:
        yield from _split(source, data_dir, seed, tokenizer, held_out=held_out)


def _split(
    source: Source,
    data_dir: Path,
    seed: int,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    held_out: bool,
) -> Iterator[Document]:
    for document in read_documents(source, data_dir, seed, tokenizer):
        if is_held_out(document, source.held_out, seed) == held_out:
            yield document
