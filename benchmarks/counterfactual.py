"""What a score says would happen without its tokens, against what does happen.

    python benchmarks/counterfactual.py [--subsets 120] [--keep FOLDER] [--out FILE.md]
    python benchmarks/counterfactual.py --quick

A small model is trained again and again, each time with another random half of the tokens (or of
the documents) left out of the loss. The truth is the contrast that training ends with: the toxic
minus the safe query loss, in nats. The prediction is the sum of the scores of what was left out,
since S = v . grad l says by how much learning a token lowers that contrast. Their correlation over
the subsets is the linear datamodeling score (Park et al. 2023), here by tokens. Then the model is
trained without each row's highest tokens (`removal.py`). With --keep a stopped run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import removal
import scorers
import torch
from scipy.stats import rankdata
from scorers import Row, Run
from torch import nn
from transformers.utils import logging as transformers_logging

from ifguide import Objective, Selection, SmoothingConfig, TrainingConfig, smooth, train
from ifguide.evaluation.character_f1 import top_tokens
from ifguide.evaluation.metrics import percentile_interval
from ifguide.files import read_json, write_json, write_text
from ifguide.influence.direction import query_loss
from ifguide.models.load import load_model
from ifguide.nouns import Interval
from ifguide.run import actions
from ifguide.run.progress import progress_line
from ifguide.settings.reader import read_config

UNITS = ("tokens", "documents")
KINDS = ("pearson", "spearman")
LEFT_OUT = 0.5
SMOOTHING = SmoothingConfig(neighbours=2, type_share=0.3)
SETTINGS = """
seed: 1
corpus: {{block_length: 64, sources: [{{name: posts, builtin: {posts}, held_out: 0.1}}]}}
tokenizer: {{vocab_size: 512}}
model:
  scratch: {{model_type: llama, hidden_size: {width}, num_hidden_layers: 2, num_attention_heads: 4,
             intermediate_size: {inner}, max_position_embeddings: 64}}
queries: {{source: {{builtin: {queries}}}, max_length: 64}}
baseline: {{epochs: {epochs}, batch_size: 16, learning_rate: 2.0e-3}}
curvature: {{sample_blocks: 256}}
evaluation:
  toxic: {{held_out: posts, marked: true, cut: before_span}}
  neutral: {{held_out: posts, marked: false, cut: words}}
"""
FULL = {"posts": 1500, "queries": 1000, "width": 64, "inner": 176, "epochs": 2}
QUICK = {"posts": 200, "queries": 100, "width": 32, "inner": 64, "epochs": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parsed = _parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    transformers_logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        folder = parsed.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "run.yaml"
        settings.write_text(SETTINGS.format(**(QUICK if parsed.quick else FULL)))
        actions.run(read_config(settings), folder / "run", "score", actions.Manner(quiet=True))
        run = scorers.open_run(folder / "run", None, quiet=True)
        subsets, draws = (4, 2) if parsed.quick else (parsed.subsets, parsed.random)
        found = Trainings(run, folder, quiet=parsed.quiet)
        table = {**measure(found, subsets), "removal": removed(found, draws), "random": draws}
    table["command"] = shlex.join(["python", "benchmarks/counterfactual.py", *given])
    page = render(table)
    if parsed.out:
        write_text(parsed.out, page)
        write_json(parsed.out.with_suffix(".json"), table)
    print(page, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Scores against retraining without tokens.")
    parser.add_argument("--subsets", type=int, default=120, help="retrainings a unit")
    parser.add_argument("--random", type=int, default=12, help="retrainings without random tokens")
    parser.add_argument("--keep", type=Path, help="a folder from which a stopped run goes on")
    parser.add_argument("--out", type=Path, help="where the table goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="few subsets of a tiny corpus")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    return parser


@dataclass(frozen=True, eq=False)
class Trainings:
    """Trainings of a run's model without some tokens; what each came to is kept in the folder."""

    run: Run
    folder: Path
    quiet: bool

    def without(self, name: str, mask: np.ndarray) -> dict[str, Any]:
        """Return the contrast and each query's summed loss after training without a mask.

        ``name`` is the training's own, and the mask's checksum tells whether it is still the same.
        """
        kept = self.folder / "trainings" / f"{name}.json"
        digest = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
        if kept.exists() and (found := read_json(kept))["mask"] == digest:
            return dict(found)
        with progress_line(name, None, quiet=self.quiet) as move:
            model = retrained(self.run, mask, self.folder, move)
        contrast = self.run.contrast
        figures = {
            "mask": digest,
            "truth": query_loss(model, contrast.toxic) - query_loss(model, contrast.safe),
            **{s: removal.summed_losses(model, getattr(contrast, s)) for s in removal.SIDES},
        }
        kept.parent.mkdir(exist_ok=True)
        write_json(kept, figures)
        return figures


def measure(trainings: Trainings, subsets: int) -> dict[str, Any]:
    """Retrain on every subset and correlate each row's predictions with the truth."""
    run = trainings.run
    rows = list(ways(run))
    found: dict[str, Any] = {}
    for unit in UNITS:
        masks = list(draw(run, unit, subsets))
        made = [trainings.without(f"{unit}-{k}", mask) for k, mask in enumerate(masks)]
        truth = np.array([one["truth"] for one in made])
        found[unit] = {
            "truth": truth.tolist(),
            "rows": {row.name: agreement(predicted(row, masks), truth) for row in rows},
        }
    return {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, torch {torch.__version__}",
        "token_count": run.text.corpus.token_count,
        "document_count": len(run.text.corpus.documents),
        "subsets": subsets,
        "meaning": {row.name: row.meaning for row in rows},
        **found,
    }


def removed(trainings: Trainings, draws: int) -> dict[str, dict[str, Interval]]:
    """Train without each row's highest tokens, and say what that does to the queries' losses."""
    run = trainings.run
    has_loss = run.text.corpus.has_loss
    random = [
        trainings.without(f"random-{k}", mask)
        for k, mask in enumerate(removal.at_random(has_loss, draws, run.config.seed))
    ]
    found = {}
    for number, row in enumerate(ways(run)):
        mask = top_tokens(row.values, has_loss, removal.SHARE, seed=run.config.seed)
        made = trainings.without(f"top-{number}", mask)
        found[row.name] = {
            side: removal.difference(
                made[side],
                [one[side] for one in random],
                removal.counted_tokens(getattr(run.contrast, side)),
            )
            for side in removal.SIDES
        }
    return found


def ways(run: Run) -> Iterator[Row]:
    """The rows: chance, ours, the authors' form, other curvatures, and the rivals."""
    smoothed = smooth(run.scores, SMOOTHING)
    own = next(iter(scorers.own_scores(run)))
    noise = np.random.default_rng(0).random(own.values.shape)
    yield Row("chance", "uniform random numbers", noise)
    yield own
    about = f"neighbours {SMOOTHING.neighbours}, type share {SMOOTHING.type_share}"
    yield Row("own, smoothed", f"the run's scores smoothed: {about}", np.asarray(smoothed.values))
    yield from scorers.authors_form(run)
    yield from chain(scorers.other_directions(run), scorers.lexicons(run))
    yield from scorers.rivals(run, "rule", ())


def draw(run: Run, unit: str, subsets: int) -> Iterator[np.ndarray]:
    """Yield masks [N, T] of what is left out: half of the tokens, or of the documents."""
    corpus, rng = run.text.corpus, np.random.default_rng(0)
    for _ in range(subsets):
        if unit == "tokens":
            chosen = rng.random(corpus.tokens.shape) < LEFT_OUT
        else:
            chosen = (rng.random(len(corpus.documents)) < LEFT_OUT)[np.asarray(corpus.document)]
        yield chosen & corpus.has_loss


def retrained(run: Run, mask: np.ndarray, folder: Path, move: Any) -> nn.Module:
    """Return the model after training without these tokens."""
    config, corpus = run.config, run.text.corpus
    model = load_model(config.model, run.text.tokenizer, config.corpus.block_length, config.seed)
    nothing = np.zeros(0)
    selection = Selection(mask, 0.0, int(mask.sum()), nothing.astype(int), nothing, corpus)
    assert config.baseline is not None
    settings = {**vars(config.baseline), "objective": Objective(kind="masking")}
    with tempfile.TemporaryDirectory(dir=folder) as checkpoints:
        train(
            model,
            corpus,
            selection,
            TrainingConfig(**settings),
            folder=Path(checkpoints),
            seed=config.seed,
            progress=move,
        )
    return model


def predicted(row: Row, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Sum a row's scores over what each mask leaves out."""
    return np.array([np.asarray(row.values, dtype=np.float64)[mask].sum() for mask in masks])


def agreement(prediction: np.ndarray, truth: np.ndarray) -> dict[str, Interval]:
    """Pearson and Spearman correlation with bootstrap intervals over the subsets."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(truth), size=len(truth)) for _ in range(1000)]
    pairs = {"pearson": (prediction, truth), "spearman": (rankdata(prediction), rankdata(truth))}
    return {
        name: percentile_interval(
            correlation(a, b), np.array([correlation(a[d], b[d]) for d in draws])
        )
        for name, (a, b) in pairs.items()
    }


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; 0 where either does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def render(table: dict[str, Any]) -> str:
    """The whole Markdown page."""
    lines = [
        "# Token scores against retraining without the tokens",
        "",
        f"`{table['command']}`, {table['date']}, {table['machine']}.",
        "",
        f"{table['token_count']} tokens in {table['document_count']} posts of the built-in corpus;",
        f"{table['subsets']} trainings a column, each without a random {LEFT_OUT:.0%} of the",
        "tokens or documents. Correlation of the summed scores of what was left out with the toxic",
        "minus the safe query loss after training; in brackets 95% bootstrap intervals over the",
        "subsets.",
        "",
        "| scores | tokens: Pearson | Spearman | documents: Pearson | Spearman |",
        "|---|---|---|---|---|",
    ]
    for name in table["meaning"]:
        figures = [table[unit]["rows"][name][kind] for unit in UNITS for kind in KINDS]
        lines.append(f"| {name} | {' | '.join(map(_shown, figures))} |")
    lines += ["", *removal.tabulated(table["removal"], table["random"])]
    lines += [*(f"- {name}: {meaning}" for name, meaning in table["meaning"].items())]
    return "\n".join(lines) + "\n"


def _shown(figure: Interval) -> str:
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
