"""What a judge of toxicity learns from, and what it is asked about that it has not seen.

It learns from Davidson et al.'s tweets and from ParaDetox, in the layout that the data folder has
them; civil comments, toxigen and BOLD are only ever asked about. The two sides of ParaDetox are
written differently (the toxic ones in lower case, with spaces before punctuation), so both are put
into one form, and nothing can be learnt from the writing.
"""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ifguide import InputError
from ifguide.corpus.config import Source
from ifguide.corpus.fields import Record, lookup, text_field
from ifguide.corpus.sources import falls_in, read_records

DAVIDSON = "judges/davidson.jsonl"
PARADETOX = "queries/paradetox.jsonl"
CIVIL = "corpus/civil_comments_spans.jsonl"
TOXIGEN = "queries/toxigen_demonstrations.jsonl"
BOLD = "corpus/bold_wikipedia.jsonl"
HELD_OUT = 0.05  # of the tweets, and of the pairs
OFFENSIVE = 0.3  # of the tweets labelled so, which are four in five

Labelled = tuple[str, bool]  # a text, and whether it is toxic


@dataclass(frozen=True)
class Asked:
    """A set of texts that is asked about; ``meaning`` says what they are and what toxic means."""

    name: str
    meaning: str
    texts: tuple[Labelled, ...]


def learnt_from(data: Path, seed: int) -> list[Labelled]:
    """Return the texts of both sources that are not held out, in an order drawn by the seed.

    Half of them are in lower case whatever their label; none is one that is asked about.
    """
    tweets = [
        (text, label != "neither")
        for number, text, label in _tweets(data)
        if not falls_in(HELD_OUT, seed, DAVIDSON, number)
        and (label != "offensive" or falls_in(OFFENSIVE, seed, "offensive", number))
    ]
    pairs = [
        side
        for number, sides in _pairs(data)
        if not falls_in(HELD_OUT, seed, PARADETOX, number)
        for side in sides
    ]
    unseen = {text.lower() for held in (_davidson, _paradetox) for text, _ in held(data, seed)}
    texts = [pair for pair in dict.fromkeys([*tweets, *pairs]) if pair[0].lower() not in unseen]
    draw = random.Random(seed)
    draw.shuffle(texts)
    return [(text.lower() if draw.random() < 0.5 else text, toxic) for text, toxic in texts]


def asked_about(data: Path, seed: int, most: int) -> list[Asked]:
    """Return the sets that are asked about, at most so many texts a side: held-out parts first."""
    sets = [
        ("tweets, held out", f"{DAVIDSON}, hate or offensive", _davidson(data, seed)),
        ("ParaDetox, held out", f"{PARADETOX}, both sides in one form", _paradetox(data, seed)),
        (
            "civil comments",
            f"{CIVIL}, posts with a mark and without, all rated toxic",
            _civil(data),
        ),
        ("toxigen", f"{TOXIGEN}, implicit hate against neutral", _toxigen(data)),
        ("BOLD", f"{BOLD}, sentences of Wikipedia, all harmless", _bold(data)),
    ]
    return [Asked(name, meaning, _some(texts, most)) for name, meaning, texts in sets]


def levelled(text: str) -> str:
    """Take out what tells the two sides of ParaDetox apart without a word being read.

    >>> levelled("He isn 't here , OK ?")
    "He isn't here, ok?"
    """
    joined = re.sub(r"\s+(n?['’]\s?\w{1,2}\b|[,.!?;:)])", r"\1", " ".join(text.split()))
    joined = re.sub(r"(\w)n\s?(['’])\s?t\b", r"\1n\2t", joined).lower()
    return joined[:1].upper() + joined[1:]


def _records(data: Path, path: str) -> Iterator[Record]:
    return read_records(Source(path=path), data, {})


def _tweets(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yield number, text and label of each tweet."""
    for record in _records(data, DAVIDSON):
        label = text_field(record, "label", "label")
        if label not in ("hate", "offensive", "neither"):
            raise InputError(f"{record.place}: label '{label}' is none of Davidson et al.'s three")
        text = " ".join(html.unescape(_text(record)).split())
        if text:
            yield str(record.number), text, label


def _pairs(data: Path) -> Iterator[tuple[str, tuple[Labelled, Labelled]]]:
    for record in _records(data, PARADETOX):
        toxic, neutral = (levelled(text_field(record, name, name)) for name in ("toxic", "neutral"))
        if toxic and neutral and toxic != neutral:
            yield str(record.number), ((toxic, True), (neutral, False))


def _davidson(data: Path, seed: int) -> list[Labelled]:
    held = (tweet for tweet in _tweets(data) if falls_in(HELD_OUT, seed, DAVIDSON, tweet[0]))
    return [(text, label != "neither") for _, text, label in held]


def _paradetox(data: Path, seed: int) -> list[Labelled]:
    held = (sides for n, sides in _pairs(data) if falls_in(HELD_OUT, seed, PARADETOX, n))
    return [side for sides in held for side in sides]


def _civil(data: Path) -> list[Labelled]:
    return [(_text(r), bool(lookup(r, "toxic_spans", "spans"))) for r in _records(data, CIVIL)]


def _toxigen(data: Path) -> list[Labelled]:
    records = _records(data, TOXIGEN)
    return [(_text(r), text_field(r, "label", "label") == "hate") for r in records]


def _bold(data: Path) -> list[Labelled]:
    return [(_text(record), False) for record in _records(data, BOLD)]


def _text(record: Record) -> str:
    return text_field(record, "text", "text")


def _some(texts: list[Labelled], most: int) -> tuple[Labelled, ...]:
    """Return at most so many texts a side, spread evenly over the set."""
    kept: list[Labelled] = []
    for side in (True, False):
        of_side = [pair for pair in texts if pair[1] == side and pair[0].strip()]
        step = max(1.0, len(of_side) / most)
        kept += [of_side[int(k * step)] for k in range(min(most, len(of_side)))]
    return tuple(kept)
