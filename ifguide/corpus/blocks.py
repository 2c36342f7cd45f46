"""Documents tokenised and packed into blocks, written as they come and opened as memory maps."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import final

import numpy as np
from transformers import PreTrainedTokenizerBase

from ifguide.arrays import read_rows, slabs
from ifguide.corpus.documents import Documents, batched
from ifguide.corpus.packed_files import COLUMN_NAMES, DESCRIPTION, DOCUMENTS, LEARNT
from ifguide.corpus.spans import overlaps
from ifguide.corpus.starts import document_start
from ifguide.corpus.tokenizers import encoded_documents, end_of_text
from ifguide.errors import InputError
from ifguide.nouns import Corpus, Document, Encoded
from ifguide.parts import tell

logger = logging.getLogger(__name__)

TYPES = ("<i4", "<i4", "<i4", "<i4", "?")
COLUMNS: Mapping[str, np.dtype] = dict(zip(COLUMN_NAMES, map(np.dtype, TYPES), strict=True))
FLAGS = np.dtype("?")
BATCH_CHARACTERS = 1 << 20  # text tokenised at once; the result does not depend on it

Columns = dict[str, np.ndarray]


def pack(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    block_length: int,
    folder: Path,
    batch_characters: int = BATCH_CHARACTERS,
    *,
    setting: str = "corpus.sources",
) -> Corpus:
    """Tokenise documents in order and cut the stream into blocks of ``block_length`` tokens.

    Each document is followed by end-of-text, which belongs to it and has the empty span at its
    end. What the tokenizer puts before a text precedes it, as part of no document (-1): no token is
    taught to predict it. Where that is end-of-text itself, the one of the document before serves. A
    document may cross blocks; the last block is filled with end-of-text of document -1.
    A document that comes with tokens of its own is put as it is, with nothing before or behind it.
    Documents that hold nothing but white space, or no token that training learns, are left out and
    counted in a warning, so that ``document`` counts the others. Memory does not grow with the
    corpus.

    Args:
        documents: what to pack; read once, as a stream.
        tokenizer: a fast tokenizer with an end-of-text token.
        block_length: tokens a block, T, at least 2.
        folder: where the arrays and documents go; it is made.
        batch_characters: text to tokenise at once.
        setting: which names the documents, for messages.

    Raises:
        InputError: no document with text, no token of a text that is predicted, or a block too
            short to predict anything.
    """
    corpus = pack_part(documents, tokenizer, block_length, folder, batch_characters)
    if corpus is None:
        raise InputError(f"{setting}: no document has any text; name a source that has some")
    if not any(_predicts_text(corpus, rows) for rows in slabs(corpus.tokens.shape)):
        raise InputError(f"{setting}: no token of its text is predicted; give longer texts")
    return corpus


def pack_part(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    block_length: int,
    folder: Path,
    batch_characters: int = BATCH_CHARACTERS,
) -> Corpus | None:
    """Pack some of a corpus's documents as ``pack`` does; None where none of them has text.

    Raises:
        InputError: a block is too short to predict anything.
    """
    if block_length < 2:
        raise InputError(f"corpus.block_length: {block_length} is too short; give 2 or more")
    closing, start = end_of_text(tokenizer), document_start(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    stored = Documents.write(folder / DOCUMENTS, _with_text(documents))
    if len(stored) == 0:
        return None
    with ExitStack() as stack:
        writer = _ColumnWriter(stack, folder)
        first = 0
        for batch in batched(stored, batch_characters):
            tell(f"cutting into tokens, document {first:,} of {len(stored):,}")
            for number, (document, cut) in enumerate(encoded_documents(tokenizer, batch), first):
                if document.encoded is None and (writer.last != closing or start != (closing,)):
                    writer.append(_of_no_document(start))
                writer.append(_document_columns(number, document, cut, closing))
            first += len(batch)
        writer.append(_of_no_document([closing] * (-writer.length % block_length)))
        description = {
            "blocks": writer.length // block_length,
            "block_length": block_length,
            "end_of_text": closing,
            "fingerprint": writer.fingerprint(block_length),
        }
    if writer.all_learnt:
        (folder / f"{LEARNT}.bin").unlink()
    else:
        description["learnt"] = True
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")
    return open_corpus(folder)


def open_corpus(folder: Path) -> Corpus:
    """Open what :func:`pack` left in ``folder``, as read-only memory maps.

    Raises:
        InputError: a file is missing, or its size is not that of the description.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        shape = (int(description["blocks"]), int(description["block_length"]))
        closing, fingerprint = int(description["end_of_text"]), str(description["fingerprint"])
        columns = {**COLUMNS, LEARNT: FLAGS} if description.get(LEARNT) else COLUMNS
    except FileNotFoundError as error:
        raise InputError(f"{folder}: holds no packed corpus; pack the documents again") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / DESCRIPTION}: cannot be read; pack the documents again"
        ) from error
    arrays = {}
    for name, dtype in columns.items():
        file = folder / f"{name}.bin"
        if not file.is_file() or file.stat().st_size != shape[0] * shape[1] * dtype.itemsize:
            raise InputError(f"{file}: missing or not of its size; pack the documents again")
        arrays[name] = np.memmap(file, dtype=dtype, mode="r", shape=shape)
    documents = Documents.open(folder / DOCUMENTS)
    return Corpus(**arrays, documents=documents, end_of_text=closing, fingerprint=fingerprint)


@final
class _ColumnWriter:
    """Flat arrays that grow on disk, and a digest of each."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.length = 0
        self.last: int | None = None  # token
        self.all_learnt = True  # of the tokens of documents
        self._columns = {**COLUMNS, LEARNT: FLAGS}
        self._files = {
            name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in self._columns
        }
        self._digests = {name: hashlib.sha256() for name in self._columns}

    def append(self, columns: Columns) -> None:
        self.all_learnt &= bool((columns[LEARNT] | (columns["document"] < 0)).all())
        for name, dtype in self._columns.items():
            raw = columns[name].astype(dtype).tobytes()
            self._files[name].write(raw)
            self._digests[name].update(raw)
        self.length += len(columns["tokens"])
        self.last = int(columns["tokens"][-1]) if len(columns["tokens"]) else self.last

    def fingerprint(self, block_length: int) -> str:
        counted = COLUMNS if self.all_learnt else self._columns
        parts = [f"{name} {self._digests[name].hexdigest()}" for name in counted]
        return hashlib.sha256("\n".join([f"T {block_length}", *parts]).encode()).hexdigest()


def _document_columns(number: int, document: Document, cut: Encoded, closing: int) -> Columns:
    if document.encoded is None:
        length = [len(document.text)]
        cut = Encoded(
            *map(np.append, (cut.tokens, cut.start, cut.end), ([closing], length, length))
        )
    count = len(cut.tokens)
    return {
        "tokens": cut.tokens,
        "document": np.full(count, number),
        "start": cut.start,
        "end": cut.end,
        "marked": overlaps(cut.start, cut.end, document.spans),
        LEARNT: np.ones(count, dtype=np.bool_) if cut.learnt is None else cut.learnt,
    }


def _of_no_document(tokens: Sequence[int]) -> Columns:
    nothing = np.zeros(len(tokens), dtype=np.int32)
    return {
        "tokens": np.array(tokens, dtype=np.int32),
        "document": np.full(len(tokens), -1),
        "start": nothing,
        "end": nothing,
        "marked": nothing.astype(np.bool_),
        LEARNT: nothing.astype(np.bool_),
    }


def _with_text(documents: Iterable[Document]) -> Iterator[Document]:
    empty, unlearnt = 0, 0
    for document in documents:
        own = document.encoded
        if own is not None and own.learnt is not None and not own.learnt.any():
            unlearnt += 1
        elif document.text.strip() or (own is not None and len(own.tokens)):
            yield document
        else:
            empty += 1
    if empty:
        logger.warning("left out %d documents that hold nothing but white space", empty)
    if unlearnt:
        logger.warning("left out %d documents without a token that training learns", unlearnt)


def _predicts_text(corpus: Corpus, rows: slice) -> bool:
    """Whether a token that stands for characters of a text has a loss."""
    start, end = read_rows(corpus.start, rows), read_rows(corpus.end, rows)
    return bool((corpus.has_loss_in(rows) & (end > start)).any())
