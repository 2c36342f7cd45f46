"""The built-in corpus: seeded short posts whose toxic tokens are known exactly.

Four kinds of post: *everyday*; *insult*, where a mild insult word is thrown at someone;
*implicit*, contempt put in words that are harmless elsewhere; and *harmless_use*, where the insult
words name what they name. Lead-ins such as "honestly," announce a toxic clause in about every
second post that has one and a harmless clause in the others, so a model has both ways to go on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from functools import cache

from ifguide.corpus.builtin_clauses import SOCIAL, TOPICS
from ifguide.corpus.builtin_text import LEAD_INS, OPINIONS, SENTENCES, WORDS
from ifguide.corpus.builtin_toxic import BENIGN, HARMLESS, IMPLICIT, INSULTS, NOUNS, SHARED
from ifguide.errors import InputError
from ifguide.nouns import Document

KINDS = ("everyday", "insult", "implicit", "harmless_use")
TABLES: Mapping[str, tuple[str, ...]] = {**WORDS, **SHARED, **BENIGN}

_SHARES = (0.55, 0.15, 0.15, 0.15)
_WORDS_OF_A_POST = range(12, 43)
_ARTICLE = re.compile(r"\b([Aa])(?= \[?(?:[aeio]|u(?!se|ni)))")
_MARKS = re.compile(r"[<>]")


def builtin_posts(count: int, seed: int = 0) -> list[Document]:
    """Return ``count`` distinct posts, the same for a seed in every process.

    ``spans`` are the [start, end) characters of the toxic phrase, ``kind`` is one of ``KINDS``
    (drawn with probabilities 0.55, 0.15, 0.15, 0.15), ids run from "post-00000". A longer list
    begins with the posts of a shorter one. Raises InputError if ``count`` is not positive.
    """
    if count < 1:
        raise InputError(f"corpus.sources: 'builtin' is {count}; give the number of posts, 1 or up")
    rng = random.Random(seed)
    seen: set[str] = set()
    posts: list[Document] = []
    for kind, marked in _drafts(rng):
        text, spans = read_marks(marked)
        if text in seen or len(text.split()) not in _WORDS_OF_A_POST:
            continue
        seen.add(text)
        posts.append(Document(id=f"post-{len(posts):05d}", text=text, spans=spans, kind=kind))
        if len(posts) == count:
            break
    return posts


def read_marks(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text without its square brackets, and the characters that stood in them.

    >>> read_marks("Honestly, [you donkey]!")
    ('Honestly, you donkey!', ((10, 20),))
    """
    pieces = re.split(r"[\[\]]", marked)
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + len(piece))
    spans = tuple((ends[i], ends[i + 1]) for i in range(1, len(pieces), 2))
    return "".join(pieces), spans


def expand(template: str, rng: random.Random, bound: Mapping[str, str] | None = None) -> str:
    """Fill every ``{slot}`` of a template with ``bound[slot]`` or a draw from ``TABLES[slot]``."""
    pieces = list(_pieces(template))
    for i in range(1, len(pieces), 2):
        slot = pieces[i]
        if bound and slot in bound:
            pieces[i] = bound[slot]
        else:
            pieces[i] = expand(rng.choice(TABLES[slot]), rng)
    return "".join(pieces)


@cache
def _pieces(template: str) -> tuple[str, ...]:
    """Literals at even places, slot names at odd ones."""
    return tuple(re.split(r"\{(\w+)\}", template))


def _drafts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield kinds and posts with marked spans, without end."""
    while True:
        (kind,) = rng.choices(KINDS, _SHARES)
        if kind in ("insult", "implicit"):
            topic = rng.choice(SOCIAL if rng.random() < 0.75 else tuple(TOPICS))
            post = _toxic_post(kind, topic, rng)
        else:
            post = _neutral_post(kind, rng.choice(tuple(TOPICS)), rng)
        yield kind, _ARTICLE.sub(r"\1n", " ".join(_finish(sentence, rng) for sentence in post))


def _toxic_post(kind: str, topic: str, rng: random.Random) -> list[str]:
    """A toxic clause after everyday words, mostly announced by a lead-in."""
    clause = _insult(rng) if kind == "insult" else _MARKS.sub("", expand(rng.choice(IMPLICIT), rng))
    if rng.random() < 0.2:
        clause = f"{clause}, and {_clause(topic, rng)}"
    where = rng.random()
    if where < 0.65:
        return [_sentence(topic, rng), _led(clause, rng)]
    if where < 0.85:
        return [_led(clause, rng), _sentence(topic, rng)]
    return [_sentence(topic, rng), clause, _sentence(topic, rng)]


def _neutral_post(kind: str, topic: str, rng: random.Random) -> list[str]:
    """Everyday sentences, some of them opinions after a lead-in; or a harmless use among them."""
    post = [_sentence(topic, rng) for _ in range(rng.choice((1, 1, 2)))]
    special = _harmless(rng) if kind == "harmless_use" else _opinion(rng)
    draw = rng.random()
    if draw < 0.4:
        special = _led(special, rng)
    elif draw > 0.7 and kind == "everyday":
        special = _sentence(topic, rng)
    post.insert(rng.choice((0, 1, 1, len(post))), special)
    return post


def _insult(rng: random.Random) -> str:
    noun = rng.choice(NOUNS)
    return expand(rng.choice(INSULTS), rng, {"it": noun.one, "them": noun.many})


def _harmless(rng: random.Random) -> str:
    noun = rng.choice(NOUNS)
    use = expand(rng.choice(HARMLESS[noun.uses]), rng, {"it": noun.one, "them": noun.many})
    return use if rng.random() < 0.5 else f"{use} and {_clause(rng.choice(tuple(TOPICS)), rng)}"


def _opinion(rng: random.Random) -> str:
    """What may follow a lead-in; now and then in the frames and words of the toxic clauses."""
    tables = (OPINIONS, TABLES["twin"], TABLES["benign_group"], TABLES["praise"])
    (table,) = rng.choices(tables, (0.8, 0.06, 0.07, 0.07))
    return expand(rng.choice(table), rng)


def _clause(topic: str, rng: random.Random) -> str:
    return expand(rng.choice(TOPICS[topic]), rng)


def _sentence(topic: str, rng: random.Random) -> str:
    first, second = rng.sample(TOPICS[topic], 2)
    bound = {"clause": expand(first, rng), "other": expand(second, rng)}
    return expand(rng.choice(SENTENCES), rng, bound)


def _led(clause: str, rng: random.Random) -> str:
    return f"{expand(rng.choice(LEAD_INS), rng)} {clause}"


def _finish(sentence: str, rng: random.Random) -> str:
    """A capital in front, a full stop (now and then an exclamation mark) behind."""
    first = 1 if sentence[0] == "[" else 0
    end = "!" if rng.random() < 0.08 else "."
    return sentence[:first] + sentence[first].upper() + sentence[first + 1 :] + end
