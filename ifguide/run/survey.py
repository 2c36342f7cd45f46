"""How much of everything a run will go through, told in seconds from its settings and sources.

What is small (queries, prompts, held-out texts) is read as the run will read it. Of the corpus a
part is cut into tokens, and where its sources are large only a part is read.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from ifguide.corpus.config import Source
from ifguide.corpus.documents import is_held_out, read_documents
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.sides import difference_of
from ifguide.corpus.sources import files_of, read_records
from ifguide.corpus.starts import document_start, set_document_start
from ifguide.corpus.tokenizers import encode, load_tokenizer, train_tokenizer
from ifguide.evaluation.prompts import HeldOut, held_out_documents, lambada_texts, prompts_of
from ifguide.models.load import SpecialTokens
from ifguide.models.shape import architecture_of, shape_of
from ifguide.nouns import Contrast, Document
from ifguide.parts import tell
from ifguide.run.clock import undisturbed
from ifguide.run.effort import Sizes
from ifguide.run.given import QuerySettings
from ifguide.settings.config import Config

SECONDS = 5.0  # of reading a source; what is left then is told from how much of it there is
SAMPLE = 400_000  # characters of a source that are cut into tokens
KEPT = 100_000  # documents held out of a source that prompts and texts are taken from


@dataclass
class _Extent:
    """What a source was found to hold."""

    documents: float = 0.0
    characters: float = 0.0
    text_bytes: float = 0.0
    held_out_characters: float = 0.0
    marked: bool = False
    guessed: bool = False
    sample: list[str] = field(default_factory=list)
    held_out: list[Document] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The sizes of a run, and what was seen on the way that rates are measured with.

    Args:
        sizes: of everything.
        architecture: the model's config.
        tokenizer: the run's, or one trained on a part of the corpus.
        contrast: the queries.
        texts: some of the corpus.
        reading: seconds a character that reading, cutting and packing took.
    """

    sizes: Sizes
    architecture: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    contrast: Contrast
    texts: Sequence[str]
    reading: float


def survey(config: Config) -> Survey:
    """Return how much a run will go through.

    Raises:
        InputError: something given cannot be used; the line is that of the run.
    """
    data_dir = Path(config.data_dir)
    found = {s.name: _extent(s, data_dir, config.seed) for s in config.corpus.sources}
    tokenizer = _tokenizer_of(config, [text for one in found.values() for text in one.sample])
    tell("cutting a part of the corpus into tokens")
    started = undisturbed()
    density = {name: _density(tokenizer, one.sample) for name, one in found.items()}
    cut = sum(len(text) for one in found.values() for text in one.sample)
    cutting = (undisturbed() - started) / max(1, cut)
    seen = sum(one.characters + one.held_out_characters for one in found.values())
    added = 1 + len(document_start(tokenizer))
    tokens = sum(one.characters * density[n] + one.documents * added for n, one in found.items())
    tell("reading queries, prompts and texts")
    read = QuerySettings.of(config)
    contrast = load_contrast(read.queries, tokenizer, data_dir, seed_of_builtin=read.seed + 1)
    held = {s.name: found[s.name].held_out for s in config.corpus.sources if s.held_out}
    prompts = {
        name: prompts_of(asked, held, data_dir, config.seed, name)
        for name, asked in config.evaluation.prompt_sets.items()
    }
    texts = [prompt.text for of_set in prompts.values() for prompt in of_set]
    queries, padded, longest = _padded(contrast, config.direction.batch_size)
    architecture = architecture_of(config.model, SpecialTokens.of(tokenizer))
    sizes = Sizes(
        shape=shape_of(architecture, config.model.dtype),
        characters=sum(one.characters for one in found.values()),
        held_out=sum(one.held_out_characters for one in found.values()),
        text_bytes=sum(one.text_bytes for one in found.values()),
        blocks=max(1, math.ceil(tokens / config.corpus.block_length)),
        block_length=config.corpus.block_length,
        marked=any(one.marked for one in found.values()),
        queries=queries,
        query_tokens=padded,
        longest_query=longest,
        prompts={name: len(of_set) for name, of_set in prompts.items()},
        prompt_tokens=_tokens(tokenizer, texts) / max(1, len(texts)),
        perplexity_tokens=_perplexity_tokens(config, tokenizer, held),
        lambada_tokens=float(_tokens(tokenizer, lambada_texts(config.evaluation, data_dir) or [])),
        trains_tokenizer=config.tokenizer.vocab_size is not None,
        guessed=tuple(name for name, one in found.items() if one.guessed),
    )
    return Survey(
        sizes=sizes,
        architecture=architecture,
        tokenizer=tokenizer,
        contrast=contrast,
        texts=[text for one in found.values() for text in one.sample],
        reading=sum(one.seconds for one in found.values()) / max(1.0, seen) + cutting,
    )


def _extent(source: Source, data_dir: Path, seed: int) -> _Extent:
    """Read a source for some seconds."""
    tell(f"reading {source.shown}")
    found, drawn = _Extent(), random.Random(seed)
    started = undisturbed()
    sampled = 0
    for kept, document in enumerate(read_documents(source, data_dir, seed), 1):
        found.marked |= bool(document.spans)
        if is_held_out(document, source.held_out, seed):
            found.held_out_characters += len(document.text)
            if len(found.held_out) < KEPT:
                found.held_out.append(document)
        elif document.text.strip():
            found.documents += 1
            found.characters += len(document.text)
            found.text_bytes += len(document.text.encode("utf-8", "surrogatepass"))
            sampled += _sample(found.sample, sampled, document.text, int(found.documents), drawn)
        if undisturbed() - started > SECONDS:
            _guess_the_rest(found, source, data_dir, kept, started)
            break
    else:
        found.seconds = undisturbed() - started
    return found


def _sample(held: list[str], size: int, text: str, number: int, drawn: random.Random) -> int:
    """Keep a text in an even sample of those seen so far; return how its characters grew.

    Once there is room for no more, the text takes the place of another one (Vitter's algorithm R).
    """
    if size < SAMPLE:
        held.append(text)
        return len(text)
    place = drawn.randrange(number)
    if place >= len(held):
        return 0
    grown = len(text) - len(held[place])
    held[place] = text
    return grown


def _guess_the_rest(
    found: _Extent, source: Source, data_dir: Path, kept: int, started: float
) -> None:
    """Go from what was read of a source to all of it, by its limit or the size of its files."""
    found.seconds = undisturbed() - started
    share = 1.0
    whole = sum(
        file.stat().st_size for file, name in files_of(source, data_dir) if name != "subset"
    )
    if whole:
        share = max(1.0, whole / _bytes_read(found, source, data_dir))
    if source.limit is not None:
        most = source.limit / kept
        share = min(share, most) if whole else most
    found.guessed = True
    for name in ("documents", "characters", "text_bytes", "held_out_characters", "seconds"):
        setattr(found, name, getattr(found, name) * share)


def _bytes_read(found: _Extent, source: Source, data_dir: Path) -> float:
    """Return the bytes of the files that were read, about: texts, and what records hold beside."""
    records = list(islice(read_records(source, data_dir, {}), 200))
    whole = sum(
        len(json.dumps(r.fields, default=str, ensure_ascii=False).encode()) for r in records
    )
    documents = islice(read_documents(source, data_dir), len(records))
    text = sum(len(document.text.encode("utf-8", "surrogatepass")) for document in documents)
    held = found.held_out_characters * found.text_bytes / max(1.0, found.characters)
    return (found.text_bytes + held) * whole / max(1, text)


def _tokenizer_of(config: Config, texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """Return the run's tokenizer, or one of its size trained on every other text."""
    size = config.tokenizer.vocab_size
    if size is None:
        tokenizer = load_tokenizer(config.tokenizer)
    else:
        tokenizer = train_tokenizer(texts[::2] or texts, size)
    set_document_start(tokenizer, config.corpus.document_start)
    return tokenizer


def _density(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Return tokens a character, of the texts that a tokenizer was not trained on."""
    chosen = texts[1::2] or texts
    return _tokens(tokenizer, chosen) / max(1, sum(map(len, chosen)))


def _tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> int:
    batches = (texts[i : i + 256] for i in range(0, len(texts), 256))
    return sum(len(cut.tokens) for batch in batches for cut in encode(tokenizer, batch))


def _padded(contrast: Contrast, batch_size: int) -> tuple[int, int, int]:
    """Return how many sequences are run, their tokens with padding, and those of the longest."""
    lengths = sorted(map(len, difference_of(contrast).tokens))
    batches = (lengths[i : i + batch_size] for i in range(0, len(lengths), batch_size))
    return len(lengths), sum(batch[-1] * len(batch) for batch in batches), lengths[-1]


def _perplexity_tokens(
    config: Config, tokenizer: PreTrainedTokenizerBase, held_out: HeldOut
) -> float:
    """Return the tokens of all held-out texts, from the first ones of each."""
    total, data_dir = 0.0, Path(config.data_dir)
    for name, asked in config.evaluation.perplexity.items():
        texts: Iterator[str] = (
            document.text for document in held_out_documents(asked, held_out, data_dir, name)
        )
        first = list(islice(texts, 200))
        rest = sum(len(text) for text in texts)
        characters = sum(map(len, first))
        total += _tokens(tokenizer, first) * (1 + rest / max(1, characters))
    return total
