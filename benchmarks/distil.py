"""What a scorer learnt from a run's scores is worth: by its blocks, and on text of other kinds.

    python benchmarks/distil.py RUN --layers 1 2 --texts wikipedia=FILE tweets=FILE [--out FILE.md]

Each text is scored along the run's direction and by each scorer. Costs are seconds of the processor
on one thread, divided by those of a forward pass of the run's model over the same tokens.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ifguide.corpus.blocks import pack  # noqa: E402
from ifguide.corpus.config import Source  # noqa: E402
from ifguide.corpus.documents import read_documents  # noqa: E402
from ifguide.evaluation.fluency import perplexity  # noqa: E402
from ifguide.influence.agreement import spearman  # noqa: E402
from ifguide.influence.config import DistilConfig  # noqa: E402
from ifguide.influence.distil import Scorer, distil, recall, score_by  # noqa: E402
from ifguide.influence.score import score  # noqa: E402
from ifguide.nouns import Corpus, TokenScores  # noqa: E402
from ifguide.run.run import Run, looked_at  # noqa: E402
from ifguide.run.scorers import computed  # noqa: E402
from ifguide.run.stages import AIM, CORPUS, SCORE, SCORED  # noqa: E402
from ifguide.selection.select import threshold_of  # noqa: E402
from ifguide.settings.reader import read_run_config  # noqa: E402

TOP = 0.01


def main() -> None:
    """Print the record, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    parser.add_argument("--epochs", type=int, default=DistilConfig(layers=1).epochs)
    parser.add_argument("--texts", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--limit", type=int, default=300, help="documents of each text")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = read_run_config(given.run)
    with looked_at(config, given.run) as run, tempfile.TemporaryDirectory() as place:
        lines = _head(run, given)
        others = {
            name: _others(run, Path(file), given.limit, Path(place) / name)
            for name, _, file in (one.partition("=") for one in given.texts)
        }
        for layers in given.layers:
            lines += _rows(run, DistilConfig(layers=layers, epochs=given.epochs), others)
    text = "\n".join([*lines, ""])
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


def _head(run: Run, given: argparse.Namespace) -> list[str]:
    text = run(CORPUS)
    tokens = int(text.corpus.has_loss.sum())
    blocks = run(SCORED).model.config.get_text_config().num_hidden_layers
    return [
        "# A scorer learnt from scores",
        "",
        f"Made by `python benchmarks/distil.py RUN --layers {' '.join(map(str, given.layers))}`;",
        f"the run has {tokens:,} tokens with a loss, its model {blocks} blocks. One thread of a",
        f"CPU, one seed, {given.epochs} epochs. The row *kept out* is of blocks of the run's",
        "corpus that were not learnt. *Found* is the share of the tokens above the run's",
        "threshold that the scorer has above it, *right* the share of the scorer's that are.",
        "",
        "| blocks | text | tokens | Spearman | of the top 1% | found | right | passes, scorer "
        "| passes, direction |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]


def _others(run: Run, file: Path, limit: int, place: Path) -> tuple[Corpus, TokenScores, float]:
    """Return a text, its scores along the direction, and the seconds that these took."""
    tokenizer, config = run(CORPUS).tokenizer, run.config
    documents = read_documents(Source(path=str(file.absolute()), limit=limit), Path())
    corpus = pack(documents, tokenizer, config.corpus.block_length, place)
    model, direction = run(SCORED).model, run(AIM)
    found, spent = _timed(lambda: score(model, corpus, direction, computed(config)))
    return corpus, found, spent


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    found = work()
    return found, time.process_time() - started


def _rows(
    run: Run, settings: DistilConfig, others: dict[str, tuple[Corpus, TokenScores, float]]
) -> list[str]:
    """Return the rows of a scorer: of blocks kept out, and of each text."""
    model, scores = run(SCORED).model, run(SCORE)
    share = run.config.selection.quantile
    threshold = threshold_of(scores, share)
    (scorer, likeness), spent = _timed(lambda: distil(model, scores, settings))
    learnt = f"learnt in {spent:,.0f} s"
    rows = [
        f"| {settings.layers} | kept out ({learnt}) | {likeness.tokens:,} "
        f"| {likeness.spearman:.3f} | {likeness.top:.0%} | | | | |"
    ]
    for name, (corpus, true, took) in others.items():
        rows.append(f"| {settings.layers} | {name} {_figures(scorer, corpus, true, threshold)}")
        _, by_scorer = _timed(lambda corpus=corpus: score_by(scorer, corpus, 2048))
        _, a_pass = _timed(lambda corpus=corpus: perplexity(model, corpus, 16))
        rows[-1] += f" {by_scorer / a_pass:.2f} | {took / a_pass:.2f} |"
    return rows


def _figures(scorer: Scorer, corpus: Corpus, true: TokenScores, threshold: float) -> str:
    counted = corpus.has_loss
    found = np.asarray(score_by(scorer, corpus, 2048).values)[counted]
    wanted = np.asarray(true.values, dtype=np.float64)[counted]
    both = ((found > threshold) & (wanted > threshold)).sum()
    shares = [both / max(1, (values > threshold).sum()) for values in (wanted, found)]
    return (
        f"| {counted.sum():,} | {spearman(found, wanted):.3f} | {recall(found, wanted, TOP):.0%} "
        f"| {shares[0]:.0%} | {shares[1]:.0%} |"
    )


if __name__ == "__main__":
    main()
