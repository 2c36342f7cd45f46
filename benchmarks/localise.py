"""Token scores against the characters that people marked: ours, the authors' form, and rivals.

    python benchmarks/localise.py DIR [--out FILE.md] [--blocks N] [--rows own lexicons]
    python benchmarks/localise.py --quick

DIR is a run folder with a finished `ifguide score`; nothing is written into it. Every row is one
way of scoring the same tokens. The rivals learn from the run's own queries, so that they know the
same labels; a judge knows those it was trained on. What a row knows beside the word shows over the
tokens whose word stands both inside and outside of marks, and most of all among the places of one
word. Markdown goes to stdout and to --out, and the same as JSON beside it, as far as the rows are
done. On a large model --rows names the groups of rows that cost little.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scorers import GROUPS, PAIRS, Row, Run, all_rows, open_run
from transformers.utils import logging as transformers_logging
from word_contexts import in_and_out, within_words, words_of

from ifguide import Corpus, InputError
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.words import spelling
from ifguide.evaluation.character_f1 import (
    PostCharacters,
    character_f1,
    post_characters,
    top_tokens,
)
from ifguide.evaluation.localisation import in_marked_documents, localisation
from ifguide.files import write_json, write_text
from ifguide.nouns import Interval
from ifguide.run import actions
from ifguide.settings.reader import read_config

CUT = 0.02  # share of the tokens that predict characters
FIGURES = {
    "average_precision": "AP",
    "auroc": "AUROC",
    "precision_at_1_percent": "P@1%",
    "recall_at_1_percent": "R@1%",
    "precision_at_2_percent": "P@2%",
    "recall_at_2_percent": "R@2%",
}
TABLES = {  # by scope: its title, and a further figure and its column
    "all": ("All text", "character_f1", "character F1"),
    "marked_posts": ("Within posts that have a mark", "", ""),
    "words_in_and_out": (
        "Only words that stand both inside and outside of marks",
        "within_words",
        "within words",
    ),
}
QUICK = """
data_dir: {data_dir}
seed: 1
corpus: {{block_length: 64, sources: [{{name: posts, builtin: 500, held_out: 0.1}}]}}
tokenizer: {{vocab_size: 512}}
model:
  scratch: {{model_type: llama, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2,
             intermediate_size: 64, max_position_embeddings: 128}}
queries: {{source: {{builtin: 250}}, max_length: 64}}
baseline: {{epochs: 2, batch_size: 16, learning_rate: 3.0e-3}}
curvature: {{sample_blocks: 32}}
evaluation:
  toxic: {{held_out: posts, marked: true, cut: before_span}}
  neutral: {{held_out: posts, marked: false, cut: words}}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 0, or 2 after one line about input that cannot be used."""
    parsed = _parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    parsed.command = shlex.join(["python", "benchmarks/localise.py", *given])
    transformers_logging.disable_progress_bar()
    try:
        if not parsed.quick and parsed.dir is None:
            raise InputError("no run folder given; name one, or use --quick")
        with tempfile.TemporaryDirectory() as scratch:
            folder = make_quick_run(Path(scratch)) if parsed.quick else parsed.dir
            tabulate(open_run(folder, parsed.blocks, quiet=parsed.quiet), parsed)
    except InputError as error:
        print(f"localise: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Token scores against human marks.")
    parser.add_argument("dir", type=Path, nargs="?", help="a run folder with finished scores")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--blocks", type=int, help="compare on this many blocks, drawn by seed")
    parser.add_argument("--judge", help="the judge of windows (default alt-profanity-check)")
    parser.add_argument(
        "--words", type=int, nargs="+", default=[0, 2], help="words to each side in a window"
    )
    parser.add_argument(
        "--rows", nargs="+", choices=GROUPS, default=GROUPS, help="groups of rows (default all)"
    )
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--quick", action="store_true", help="on a tiny run of its own")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


def make_quick_run(folder: Path) -> Path:
    """Make a tiny run on the built-in corpus, and pairs of texts for it, and return its folder."""
    posts = builtin_posts(400, seed=9)
    toxic, safe = ([p.text for p in posts if bool(p.spans) == side] for side in (True, False))
    pairs = [{"toxic": a, "neutral": b} for a, b in zip(toxic, safe, strict=False)]
    (folder / PAIRS).parent.mkdir()
    (folder / PAIRS).write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    settings = folder / "run.yaml"
    settings.write_text(QUICK.format(data_dir=json.dumps(str(folder))))
    actions.run(read_config(settings), folder / "run", "score", actions.Manner(quiet=True))
    return folder / "run"


def tabulate(run: Run, parsed: argparse.Namespace) -> None:
    """Measure row by row, writing what there is each time, and print the table."""
    about = describe(run, parsed.command, parsed.resamples)
    scopes, found = scopes_of(run), []
    judge = parsed.judge or ("rule" if parsed.quick else "alt-profanity-check")
    for row in all_rows(run, judge, parsed.words, parsed.rows):
        found.append(measure(row, run.part, scopes, parsed.resamples, run.config.seed))
        if parsed.out:
            write_text(parsed.out, render(about, found))
            write_json(parsed.out.with_suffix(".json"), {**about, "rows": found})
    print(render(about, found), end="")


@dataclass(frozen=True, eq=False)
class Scopes:
    """The tokens that figures are taken over, [n, T] each, the posts, and each token's word."""

    over: dict[str, np.ndarray]
    posts: PostCharacters
    words: np.ndarray


def scopes_of(run: Run) -> Scopes:
    """All tokens with a loss, those of posts with a mark, those of words in and out of marks."""
    part, marked = run.part, np.asarray(run.part.marked)
    inside = in_marked_documents(marked, np.asarray(part.document))
    words = words_of(part, spelling(run.text.tokenizer))
    over = {"all": part.has_loss, "marked_posts": part.has_loss & inside}
    known = in_and_out(words, marked, part.has_loss)
    if known.any():
        over["words_in_and_out"] = known
    return Scopes(over, post_characters(part), words)


def measure(row: Row, part: Corpus, scopes: Scopes, resamples: int, seed: int) -> dict:
    """A row's figures over each scope, its character F1, and what it tells apart within words."""
    marked, document = np.asarray(part.marked), np.asarray(part.document)
    draws = {"resamples": resamples, "seed": seed}
    found = {
        name: localisation(row.values, marked, document, counted, **draws)
        for name, counted in scopes.over.items()
    }
    if "words_in_and_out" in scopes.over:
        chosen = scopes.over["words_in_and_out"]
        of_words = [values[chosen] for values in (row.values, marked, scopes.words, document)]
        found["within_words"] = within_words(*of_words, **draws)
    selected = top_tokens(row.values, part.has_loss, CUT, seed=seed)
    return {
        "name": row.name,
        "meaning": row.meaning,
        **found,
        "character_f1": character_f1(selected, scopes.posts, **draws),
    }


def describe(run: Run, command: str, resamples: int) -> dict[str, Any]:
    """What the table is of and how it was made."""
    part = run.part
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core {where}, {threads} thread{'s' * (threads > 1)}, "
        f"torch {torch.__version__}",
        "blocks": len(run.rows),
        "blocks_of_corpus": len(run.text.corpus.tokens),
        "tokens": int(part.has_loss.sum()),
        "marked_tokens": int((part.marked & part.has_loss).sum()),
        "queries": len(run.contrast.toxic.tokens),
        "resamples": resamples,
    }


def render(about: dict[str, Any], rows: Sequence[dict]) -> str:
    """The whole Markdown page."""
    share = about["marked_tokens"] / about["tokens"]
    page = f"""# Token scores against human marks

`{about["command"]}`, {about["date"]}, {about["machine"]}.

{about["blocks"]} of the corpus's {about["blocks_of_corpus"]} blocks: {about["tokens"]} tokens with
a loss, {share:.4f} of them marked; {about["queries"]} queries. In brackets: 95% bootstrap intervals
over documents, {about["resamples"]} resamples. P@1% and R@1% are precision and recall of the top 1%
of tokens. Character F1 (SemEval-2021 Task 5) is the mean over the posts of the marked sources of
each post's F1 of characters, where the top {CUT:.0%} of all tokens predict theirs; a post that has
no mark and no prediction counts 1. "Within words" is how often, among the places of one word, a
marked one stands above an unmarked one: 0.5 for a lexicon of words, which knows the word alone.
"""
    lines = [page]
    for scope, (title, name, further) in TABLES.items():
        if not all(scope in row for row in rows):
            continue  # no word stands both in and out
        heads = [*FIGURES.values(), *([further] if further else [])]
        share = rows[0][scope]["base_rate"]
        lines += [
            f"## {title}",
            "",
            f"{share:.4f} of these tokens are marked.",
            "",
            f"| scores | {' | '.join(heads)} |",
            "|---" * (1 + len(heads)) + "|",
        ]
        for row in rows:
            cells = [row[scope][figure] for figure in FIGURES] + ([row[name]] if name else [])
            lines.append(f"| {row['name']} | {' | '.join(map(_shown, cells))} |")
        lines.append("")
    lines += ["## What the rows are", "", *(f"- {row['name']}: {row['meaning']}" for row in rows)]
    return "\n".join(lines) + "\n"


def _shown(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
