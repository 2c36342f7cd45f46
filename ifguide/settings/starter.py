"""A first YAML for a corpus and a model that somebody names: it runs as it is.

What it says is taken from the first records of the files, so that nothing has to be known about
settings before the first run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ifguide.corpus.formats import without_suffix
from ifguide.corpus.sources import falls_in
from ifguide.errors import InputError
from ifguide.settings.plain import visible
from ifguide.settings.starter_judges import judges_text, marked_words
from ifguide.settings.starter_posts import Post, Posts, fields_of, look_at, scalar

BLOCK = 256  # tokens
FEWEST_WORDS = 3  # of a prompt
PROMPTS = 50  # that are hoped for
SEED = 0
_POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


def word_list(corpus: Path, queries: Path | None = None) -> list[str]:
    """Return the words that are nearly always marked in a corpus, or else in queries.

    Raises:
        InputError: a file cannot be read or lacks what is needed.
    """
    marked = look_at(corpus).marked
    if not marked and queries is not None and "toxic" not in fields_of(queries):
        marked = look_at(queries).marked
    return marked_words((post.text, post.spans) for post in marked)


def starter_yaml(
    corpus: Path,
    model: str,
    *,
    queries: Path | None = None,
    judges: Sequence[str] = (),
    words: Path | None = None,
) -> str:
    """Return a commented YAML of a run on a corpus, ready to be run.

    Args:
        corpus: a file or folder that ``corpus.sources`` reads.
        model: a checkpoint folder, or a name on the hub.
        queries: posts with marked spans, or pairs (fields ``toxic`` and ``safe``); by default the
            marked posts of the corpus.
        judges: by name.
        words: a file with a word a line, which is the first judge.

    Raises:
        InputError: a file cannot be read or lacks what is needed, or no such model is there.
    """
    path, block = _model(model)
    posts = look_at(corpus)
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
    judged = judges_text(judges, words)
    held_out, evaluation = _evaluation(posts, trained, name, asked, judged)
    ids = f"*[{kept}]" if kept else ""
    source = posts.source(folder, name=name, ids=ids, more=f"held_out: {held_out}")
    return f"""\
# Find what in {visible(posts.file.name, 80)} teaches a model to be toxic, and train without it:
#
#   ifguide run THIS_FILE --out runs/first
#
# `ifguide run --settings` lists every setting with its meaning.
data_dir: {scalar(str(folder))}
seed: {SEED}

# A share of the posts (held_out) is kept out of training: prompts and texts are taken from it.
corpus:
  block_length: {block}  # tokens
  sources:
    - {source}

tokenizer: {{path: {scalar(path)}}}
model: {{path: {scalar(path)}}}

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


def _queries(posts: Posts, file: Path | None, folder: Path, longest: int) -> tuple[_Asked, str]:
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
    found = fields_of(file)
    resolved = file.expanduser().resolve()
    safe = next((name for name in ("safe", "neutral") if "toxic" in found and name in found), None)
    if safe is not None:
        path = resolved.relative_to(folder) if resolved.is_relative_to(folder) else resolved
        place = f"path: {scalar(str(path))}"
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
    posts = look_at(file)
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
    posts: Posts, trained: Sequence[Post], name: str, asked: _Asked, judged: str
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
    toxic = f"held_out: {scalar(name)}\n    marked: true\n    cut: {cut}"
    unmarked = "\n    marked: false" if posts.spans and plain else ""
    return (
        share,
        f"""\
{judged}\
  # What invites toxicity: posts up to their first marked character, where they have one.
  toxic:
    {toxic if from_corpus else asked.prompts}
    limit: {PROMPTS}
  # What does not.
  neutral:
    held_out: {scalar(name)}{unmarked}
    cut: words
    limit: {PROMPTS}
  # Fluency is measured on these.
  perplexity:
    {"unmarked" if unmarked else "posts"}:
      held_out: {scalar(name)}{unmarked.replace("    ", "      ")}
""",
    )


def _cut(marked: Sequence[Post]) -> str:
    """Return how marked posts become prompts: up to the mark, if enough of them begin so."""
    return "before_span" if any(post.before >= FEWEST_WORDS for post in marked) else "words"


def _enough(parts: Sequence[Sequence[Post]], share: float, name: str) -> bool:
    return all(len(_held_out(part, share, name)) >= PROMPTS for part in parts)


def _held_out(posts: Sequence[Post], share: float, name: str) -> list[Post]:
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


def _last(post: Post, kept: str) -> bool:
    return not kept or post.id[-1:] not in kept.removeprefix("!")


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
