"""Prompts and held-out texts: the documents they come from, and how they are cut."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ifguide.corpus.documents import read_documents
from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig, HeldOutText, Prompts
from ifguide.evaluation.generate import derived_seed
from ifguide.nouns import Document

HeldOut = Mapping[str, Sequence[Document]]  # by the name of the corpus source


@dataclass(frozen=True)
class Prompt:
    """One text to continue."""

    id: str
    text: str


def prompts_of(
    prompts: Prompts, held_out: HeldOut, data_dir: Path, seed: int, name: str = "toxic"
) -> list[Prompt]:
    """Return the prompts of the set ``name``, shuffled by (seed, name), at most ``limit``.

    Args:
        prompts: which documents, and how they are cut.
        held_out: the documents kept out of training, by corpus source.
        data_dir: where relative paths start.
        seed: the run's.
        name: the set's, for the shuffle and for messages.

    Raises:
        InputError: a source cannot be read or is not known, no prompt is left, or all of several
            are the same text.
    """
    found, seen = [], 0
    for document in held_out_documents(prompts, held_out, data_dir, name):
        seen += 1
        if document.encoded is not None:
            raise InputError(
                f"evaluation prompt set '{name}': document '{document.id}' comes with tokens of "
                "its own, as conversations do, and prompts are plain texts; name a source of texts"
            )
        text = _cut(document, prompts)
        if len(text.split()) >= prompts.min_words:
            found.append(Prompt(document.id, text))
    if not found:
        raise InputError(
            f"evaluation prompt set '{name}': none of {seen} documents leaves a prompt of "
            f"{prompts.min_words} words when cut '{prompts.cut}'; lower min_words or change cut"
        )
    if len(found) > 1 and len({prompt.text for prompt in found}) == 1:
        raise InputError(
            f"evaluation prompt set '{name}': all {len(found)} prompts are the same text; give "
            "texts that differ, or cut them otherwise"
        )
    random.Random(derived_seed(seed, "prompts", name)).shuffle(found)
    return found[: prompts.limit]


def held_out_documents(
    texts: HeldOutText,
    held_out: HeldOut,
    data_dir: Path,
    name: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[Document]:
    """Yield the documents that ``texts`` asks for; the arguments are those of ``prompts_of``.

    Conversations are written and cut by the tokenizer.

    Raises:
        InputError: a source cannot be read or is not known, or no document is asked for.
    """
    origin = texts.origin
    if origin is not None:
        documents = read_documents(origin, data_dir, tokenizer=tokenizer)
    elif texts.held_out is not None and texts.held_out in held_out:
        documents = iter(held_out[texts.held_out])
    else:
        raise InputError(
            f"evaluation set '{name}': held_out is '{texts.held_out}', but the corpus sources with "
            f"held-out documents are: {', '.join(held_out) or 'none'}; set held_out above 0 in "
            "that source, or name another"
        )
    found = False
    for document in documents:
        fits_marked = texts.marked is None or bool(document.spans) == texts.marked
        if fits_marked and (texts.kind is None or document.kind == texts.kind):
            found = True
            yield document
    if not found:
        raise InputError(
            f"evaluation set '{name}': no document is there to use; set held_out above 0 in a "
            "corpus source, or change source, held_out, kind or marked of this set"
        )


def lambada_texts(config: EvaluationConfig, data_dir: Path) -> list[str] | None:
    """Return the texts for last-word accuracy, None where none are asked for.

    Raises:
        InputError: the source cannot be read.
    """
    if config.lambada is None:
        return None
    documents = islice(read_documents(config.lambada, data_dir), config.lambada_limit)
    return [document.text for document in documents]


def _cut(document: Document, prompts: Prompts) -> str:
    """Return the document's prompt without outer white space; "" where it has none."""
    text = document.text
    if prompts.cut == "before_span":
        text = text[: min(start for start, _ in document.spans)] if document.spans else ""
    if prompts.cut == "words":
        return " ".join(text.split()[: prompts.words])
    return text.strip()
