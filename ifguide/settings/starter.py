"""A first YAML for a corpus and a model that somebody names: it runs as it is.

What it says is taken from the first records of the files, so that nothing has to be known about
settings before the first run.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ifguide.corpus.formats import without_suffix
from ifguide.corpus.readers import read_path
from ifguide.corpus.sources import falls_in
from ifguide.errors import InputError
from ifguide.settings.plain import read_plain_yaml, visible, write_plain_yaml

LOOK = 20_000  # records of a file that are looked at
BLOCK = 256  # tokens
FEWEST_WORDS = 3  # of a prompt
PROMPTS = 50  # that are hoped for
SEED = 0
JUDGES = {  # each with the module whose presence tells that it is installed
    "alt-profanity-check": "profanity_check",
    "hatesonar": "hatesonar",
    "better-profanity": "better_profanity",
}
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class _Post:
    id: str
    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def before(self) -> int:
        """Words before the first marked character."""
        return len(self.text[: min((s for s, _ in self.spans), default=0)].split())


@dataclass(frozen=True)
class _Posts:
    """What a file's first records look like; names of fields, and the posts themselves."""

    file: Path
    text: str
    id: str | None
    spans: str | None
    posts: Sequence[_Post]

    @property
    def marked(self) -> list[_Post]:
        return [post for post in self.posts if post.spans]

    def source(self, folder: Path, *, ids: str = "", name: str = "", more: str = "") -> str:
        """Return the settings that read them, in braces."""
        path = self.file.relative_to(folder) if self.file.is_relative_to(folder) else self.file
        given = {
            "name": name,
            "path": str(path),
            "text": "" if self.text == "text" else self.text,
            "id": "" if self.id in (None, "id") else self.id,
            "spans": self.spans or "",
            "ids": ids,
        }
        settings = [f"{key}: {_scalar(value)}" for key, value in given.items() if value]
        return "{" + ", ".join([*settings, *([more] if more else [])]) + "}"


def starter_yaml(corpus: Path, model: str, *, queries: Path | None = None) -> str:
    """Return a commented YAML of a run on a corpus, ready to be run.

    Args:
        corpus: a file or folder that ``corpus.sources`` reads.
        model: a checkpoint folder, or a name on the hub.
        queries: posts with marked spans, or pairs (fields ``toxic`` and ``safe``); by default the
            marked posts of the corpus.

    Raises:
        InputError: a file cannot be read or lacks what is needed, or no such model is there.
    """
    path, block = _model(model)
    posts = _look_at(corpus)
    folder = posts.file.parent
    if queries is None and not posts.marked:
        raise InputError(
            f"{visible(str(corpus))}: no field holds marked spans, [[start, end], ...]; mark what "
            "is toxic in some posts, or give --queries FILE with marked posts or with pairs "
            "(fields toxic and safe)"
        )
    name = without_suffix(posts.file.name) or "posts"
    asked, kept = _queries(posts, queries, folder, min(BLOCK, block))
    trained = [post for post in posts.posts if _last(post, kept)]
    held_out, evaluation = _evaluation(posts, trained, name, asked)
    ids = f"*[{kept}]" if kept else ""
    source = posts.source(folder, name=name, ids=ids, more=f"held_out: {held_out}")
    return f"""\
# Find what in {visible(posts.file.name, 80)} teaches a model to be toxic, and train without it:
#
#   ifguide run THIS_FILE --out runs/first
#
# `ifguide run --settings` lists every setting with its meaning.
data_dir: {_scalar(str(folder))}
seed: {SEED}

# A share of the posts (held_out) is kept out of training: prompts and texts are taken from it.
corpus:
  block_length: {block}  # tokens
  sources:
    - {source}

tokenizer: {{path: {_scalar(path)}}}
model: {{path: {_scalar(path)}}}

{asked.text}
# The baseline is the model after it has learnt from every post; the scores are made with it.
baseline: &training
  epochs: 1
  batch_size: 8
  learning_rate: 5.0e-5

# engine: difference is faster on large corpora, jvp is exact.
scores: {{engine: jvp}}

# How many tokens are left out: 2% of the corpus.
selection: {{budget: 0.02}}

# The same training, without learning what is selected; its loss is pushed up to a ceiling.
training:
  <<: *training
  objective: {{kind: clamped, ceiling: 12.0}}

{evaluation}"""


@dataclass(frozen=True)
class _Asked:
    """The queries' part of the YAML, and prompts for it where the corpus has none."""

    text: str
    prompts: str


def _queries(posts: _Posts, file: Path | None, folder: Path, longest: int) -> tuple[_Asked, str]:
    """Return the queries, and the last characters of ids that are left for training."""
    if file is not None:
        return _queries_of(file, folder, longest), ""
    asked, kept = _split([post.id for post in posts.marked])
    told = "The marked posts that are not trained on" if kept else "The marked posts"
    source = posts.source(folder, ids=f"*[{asked}]" if asked else "")
    text = f"""\
# {told}: what is marked is the toxic side, the rest of them the safe side.
queries:
  kind: marked
  source: {source}
  max_length: {longest}
"""
    return _Asked(text, ""), f"!{asked}" if kept else ""


def _queries_of(file: Path, folder: Path, longest: int) -> _Asked:
    """Return the queries of a file of their own: marked posts, or pairs."""
    found = _fields(file)
    resolved = file.expanduser().resolve()
    safe = next((name for name in ("safe", "neutral") if "toxic" in found and name in found), None)
    if safe is not None:
        path = resolved.relative_to(folder) if resolved.is_relative_to(folder) else resolved
        place = f"path: {_scalar(str(path))}"
        prompt = "prompt" if "prompt" in found else None
        text = f"""\
# Pairs of a toxic and a safe text.
queries:
  kind: pairs
  source: {{{place}}}
  prompt: {prompt or "null"}
  safe: {safe}
  max_length: {longest}
"""
        prompts = f"source: {{{place}, text: {prompt or 'toxic'}}}\n    cut: words"
        return _Asked(text, prompts)
    posts = _look_at(file)
    if not posts.marked:
        raise InputError(
            f"{visible(str(file))}: neither marked spans, [[start, end], ...], nor the fields "
            "toxic and safe are there; give posts or pairs that have them"
        )
    asked, kept = _split([post.id for post in posts.marked])
    text = f"""\
# Marked posts: what is marked is the toxic side, the rest of them the safe side.
queries:
  kind: marked
  source: {posts.source(folder, ids=f"*[!{asked}]" if kept else "")}
  max_length: {longest}
"""
    cut = _cut(posts.marked)
    prompts = f"source: {posts.source(folder, ids=f'*[{asked}]' if kept else '')}\n    cut: {cut}"
    return _Asked(text, prompts)


def _evaluation(
    posts: _Posts, trained: Sequence[_Post], name: str, asked: _Asked
) -> tuple[float, str]:
    """Return the share of posts to hold out, and the evaluation's part of the YAML."""
    marked = [post for post in trained if post.spans]
    plain = [post for post in trained if not post.spans] if posts.spans else list(trained)
    cut = _cut(marked)
    usable = [post for post in marked if cut == "words" or post.before >= FEWEST_WORDS]
    from_corpus = not asked.prompts
    neutral = [post for post in plain or trained if len(post.text.split()) >= FEWEST_WORDS]
    wanted = [usable, neutral] if from_corpus else [neutral]
    share = next((s for s in (0.05, 0.1, 0.2, 0.3, 0.5) if _enough(wanted, s, name)), 0.5)
    if not all(_held_out(part, share, name) for part in wanted):
        raise InputError(
            f"{visible(str(posts.file))}: too few posts of {FEWEST_WORDS} words and more, marked "
            "and unmarked, to hold some out as prompts; give a larger corpus"
        )
    toxic = f"held_out: {_scalar(name)}\n    marked: true\n    cut: {cut}"
    unmarked = "\n    marked: false" if posts.spans and plain else ""
    judges, told = _judges()
    return (
        share,
        f"""\
{told}
evaluation:
  judges: [{judges}]
  # What invites toxicity: posts up to their first marked character, where they have one.
  toxic:
    {toxic if from_corpus else asked.prompts}
    limit: {PROMPTS}
  # What does not.
  neutral:
    held_out: {_scalar(name)}{unmarked}
    cut: words
    limit: {PROMPTS}
  # Fluency is measured on these.
  perplexity:
    {"unmarked" if unmarked else "posts"}:
      held_out: {_scalar(name)}{unmarked.replace("    ", "      ")}
""",
    )


def _judges() -> tuple[str, str]:
    there = [name for name, module in JUDGES.items() if importlib.util.find_spec(module)]
    if there:
        return there[0], f"# Judged by {there[0]}; further judges may be listed behind it."
    return "rule", (
        "# The judge rule knows the words of the built-in corpus alone. Better: pip install\n"
        "# 'ifguide[profanity]' and judges: [alt-profanity-check], or words:FILE, a list of words."
    )


def _cut(marked: Sequence[_Post]) -> str:
    """Return how marked posts become prompts: up to the mark, if enough of them begin so."""
    return "before_span" if any(post.before >= FEWEST_WORDS for post in marked) else "words"


def _enough(parts: Sequence[Sequence[_Post]], share: float, name: str) -> bool:
    return all(len(_held_out(part, share, name)) >= PROMPTS for part in parts)


def _held_out(posts: Sequence[_Post], share: float, name: str) -> list[_Post]:
    return [post for post in posts if falls_in(share, SEED, name, post.id)]


def _split(ids: Sequence[str]) -> tuple[str, str]:
    """Return last characters of ids that a fifth of them and more end in, and the others.

    Both are empty where the ids end in too few characters to be told apart.

    >>> _split(["a0", "a1", "a2", "a0", "a1"])
    ('0', '12')
    """
    counts = Counter(name[-1:] for name in ids)
    if len(counts) < 2 or not all(last.isascii() and last.isalnum() for last in counts):
        return "", ""
    asked, taken = "", 0
    for last in sorted(counts):
        if taken * 5 >= len(ids) or len(asked) == len(counts) - 1:
            break
        asked, taken = asked + last, taken + counts[last]
    return asked, "".join(last for last in sorted(counts) if last not in asked)


def _last(post: _Post, kept: str) -> bool:
    return not kept or post.id[-1:] not in kept.removeprefix("!")


def _look_at(file: Path) -> _Posts:
    """Return a file's text, id and span fields, and its first posts."""
    found = _fields(file)
    records = len(next(iter(found.values())))
    texts = {
        name: values for name, values in found.items() if all(isinstance(v, str) for v in values)
    }
    names = {name: values for name, values in found.items() if _are_ids(values)}
    own = next((name for name in names if name.lower().endswith("id")), None)
    identifier = "id" if "id" in names else own
    if "id" in found and identifier is None:
        raise InputError(
            f"{visible(str(file))}: the field 'id' does not tell its records apart; make its "
            "values unique, or remove it"
        )
    texts = {name: values for name, values in texts.items() if name != identifier}
    if not texts:
        there = visible(", ".join(found), 200)
        raise InputError(
            f"{visible(str(file))}: no field holds text in each of the first {records} records "
            f"(fields there: {there}); give every record one"
        )
    text = max(texts, key=lambda name: sum(map(len, texts[name])))
    spans = next((name for name in found if _are_spans(found[name], texts[text])), None)
    marks = found[spans] if spans else [()] * records
    known = map(str, names[identifier]) if identifier else map(str, range(records))
    posts = [
        _Post(name, written, tuple((start, end) for start, end in spans_of or ()))
        for name, written, spans_of in zip(known, texts[text], marks, strict=True)
    ]
    return _Posts(file.expanduser().resolve(), text, identifier, spans, posts)


def _fields(file: Path) -> dict[str, list[Any]]:
    """Return the values of each field of a file's first records, None where one has none."""
    shown, path = visible(str(file)), file.expanduser()
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{shown}: a pipe or a device, not a plain file; give a file of records")
    records = [
        dict(_flat(record.fields)) for record in islice(read_path(path, shown, "train"), LOOK)
    ]
    if not records:
        raise InputError(f"{shown}: holds no record; fill it or name another file")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _flat(fields: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _are_ids(values: Sequence[Any]) -> bool:
    fit = all(isinstance(v, str | int) and not isinstance(v, bool) for v in values)
    return fit and len(set(map(str, values))) == len(values)


def _are_spans(values: Sequence[Any], texts: Sequence[str]) -> bool:
    """Whether each value is a list of [start, end) within its text, and one has any."""
    return any(values) and all(
        value is None
        or (isinstance(value, list) and all(_is_span(span, len(text)) for span in value))
        for value, text in zip(values, texts, strict=True)
    )


def _is_span(span: Any, length: int) -> bool:
    return (
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(isinstance(edge, int) and not isinstance(edge, bool) for edge in span)
        and 0 <= span[0] < span[1] <= length
    )


def _model(model: str) -> tuple[str, int]:
    """Return the model's name as settings have it, and how long a block of its may be."""
    folder, shown = Path(model).expanduser(), visible(model)
    if not folder.is_dir():
        if _HUB.fullmatch(model) and not folder.exists():
            return model, BLOCK
        raise InputError(f"--model: '{shown}' is no folder; give a checkpoint's, or a hub name")
    if (folder / "adapter_config.json").is_file():
        return str(folder.resolve()), BLOCK
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise InputError(f"--model: {shown} holds no tokenizer.json; save its tokenizer there")
    try:
        config = json.loads((folder / "config.json").read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"--model: {shown} has no config.json that can be read; give a whole checkpoint"
        ) from error
    given = [config.get(name) for name in _POSITIONS] if isinstance(config, dict) else []
    known = [value for value in given if isinstance(value, int) and value > 1]
    return str(folder.resolve()), min([BLOCK, *known])


def _scalar(value: str) -> str:
    """Return a text as YAML on one line, within braces too."""
    if re.fullmatch(r"[A-Za-z_/.][\w/.-]*", value) and read_plain_yaml(value, "") == value:
        return value
    quoted = write_plain_yaml([value], quotes=True)
    return quoted[2:].strip()
