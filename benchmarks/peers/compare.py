"""Kronfluence or bergson beside ours: the same scores, and what they cost.

    python benchmarks/peers/install.py ENVIRONMENTS
    python benchmarks/peers/compare.py PEER DIR --environments ENVIRONMENTS [--blocks N]
    python benchmarks/peers/compare.py PEER --environments ENVIRONMENTS --quick

PEER is kronfluence or bergson, DIR a run folder with a finished `ifguide score`; nothing is written
into it. Both sides take the run's model, the same blocks of its corpus, the same query, and fit
EK-FAC on the same blocks with the same labels. Where the mathematics is the same, a correlation
below 0.999 ends the program with 1. Times are processor time, one thread, each stage between two
plain forward passes in its own process, which are the unit.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the other benchmarks

import numpy as np
import torch
from agreement import agreement
from curvature_sample import goal
from install import PACKAGES, interpreter
from page import render
from stages import Case, Stages, open_case
from transformers.utils import logging as transformers_logging

from ifguide import Curvature, Direction, InputError, TokenScores, aim, fit, score
from ifguide.files import read_json, write_json, write_text
from ifguide.influence.calibrate import CALIBRATION_TOKENS
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.factors import Sample, fit_kronecker
from ifguide.influence.curvature.operators import Identity
from ifguide.influence.score import build_engine, score_rows
from ifguide.models.tracked import find_tracked
from ifguide.run import actions
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config

ROOT = Path(__file__).resolve().parents[2]
BOUND = 0.999
OTHER_LABELS = 1000  # added to the seed
# how we go from a model to scores, end to end
WAYS: dict[str, Callable[[Config], Config]] = {
    "the run's settings": lambda config: config,
    "in bfloat16": lambda config: replace(
        config,
        curvature=replace(config.curvature, rotation="bfloat16"),
        scores=replace(config.scores, engine="difference", precision="bfloat16", tolerance=None),
    ),
}
# what the peer calls its scores, our curvature and engine, and whether the mathematics is the same
PAIRS = {
    "kronfluence": (
        ("identity", "identity", "position", True),
        ("ekfac", "ekfac", "position", True),
    ),
    "bergson": (
        ("output, identity", "identity", "jvp", True),
        ("gradient, identity", "identity", "position", True),
        ("output, ekfac", "ekfac", "jvp", True),
        ("output, ekfac, own labels", "ekfac", "jvp", False),
    ),
}
QUICK = """
seed: 1
corpus: {block_length: 32, sources: [{name: posts, builtin: 120, held_out: 0.1}]}
tokenizer: {vocab_size: 400}
model:
  scratch: {model_type: gpt_neox, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2,
            intermediate_size: 64, max_position_embeddings: 64}
queries: {source: {builtin: 200}, max_length: 64}
baseline: {epochs: 1, batch_size: 16, learning_rate: 3.0e-3}
curvature: {sample_blocks: 8}
scores: {engine: difference, tolerance: 0.01}
evaluation:
  toxic: {held_out: posts, marked: true, cut: before_span}
  neutral: {held_out: posts, marked: false, cut: words}
"""
QUICK_BLOCKS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page; return 1 if scores disagree, 2 after one line about unusable input."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            table = compare(parsed, Path(scratch))
    except InputError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return 2
    table["command"] = shlex.join(["python", "benchmarks/peers/compare.py", *given])
    page = render(table)
    if parsed.out:
        write_text(parsed.out, page)
        write_json(parsed.out.with_suffix(".json"), table)
    print(page, end="")
    apart = [row["name"] for row in table["agreement"] if row["same"] and row["pearson"] < BOUND]
    if apart:
        print(f"compare: scores disagree: {', '.join(apart)}", file=sys.stderr)
    return 1 if apart else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A peer beside ours.")
    parser.add_argument("peer", choices=PAIRS)
    parser.add_argument("dir", type=Path, nargs="?", help="a run folder with finished scores")
    parser.add_argument("--environments", type=Path, required=True, help="what install.py made")
    parser.add_argument("--blocks", type=int, help="score this many blocks, drawn by seed")
    parser.add_argument("--sample", type=int, help="fit on this many of them (default all)")
    parser.add_argument("--out", type=Path, help="where the page goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="on a tiny run of its own")
    return parser


def compare(parsed: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Run the peer, then ours, and hold them against each other."""
    if not interpreter(parsed.environments / parsed.peer).exists():
        raise InputError(
            f"--environments: {parsed.environments} has no '{parsed.peer}'; make it with "
            f"`python benchmarks/peers/install.py {parsed.environments}`"
        )
    folder, blocks = parsed.dir, parsed.blocks
    if parsed.quick:
        folder, blocks = make_quick_run(scratch), QUICK_BLOCKS
    if folder is None:
        raise InputError("no run folder given; name one, or use --quick")
    case = open_case(folder, blocks, parsed.sample)
    theirs = run_peer(parsed, folder, blocks, scratch)
    ours = Ours(case)
    rows = list(compared(case, theirs, ours, PAIRS[parsed.peer]))
    further: dict[str, Any] = {}
    if parsed.peer == "kronfluence":
        further["end_to_end"] = {way: end_to_end(case, ours, way) for way in WAYS}
    else:
        rows.append(by_chance(case, ours))
    total = len(case.run.text.corpus.tokens)
    return {
        "peer": PACKAGES[parsed.peer][0],
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, one thread, torch {torch.__version__}",
        "blocks": len(case.run.rows),
        "blocks_of_corpus": total,
        "sampled_blocks": case.sampled,
        "block_length": case.run.part.tokens.shape[1],
        "queries": len(case.run.contrast.toxic.tokens),
        "losses_a_block": case.sample.predicted_tokens / case.sampled,
        "agreement": rows,
        "theirs": read_json(theirs / "costs.json"),
        "ours": ours.stages.found,
        **further,
    }


def make_quick_run(folder: Path) -> Path:
    """Make a tiny run whose linear maps have biases, and return its folder."""
    settings = folder / "run.yaml"
    settings.write_text(QUICK)
    actions.run(read_config(settings), folder / "run", "score", actions.Manner(quiet=True))
    return folder / "run"


def run_peer(parsed: argparse.Namespace, folder: Path, blocks: int | None, scratch: Path) -> Path:
    """Run the peer's side in its environment, and return the folder of what it left."""
    out = scratch / parsed.peer
    out.mkdir()
    command = [interpreter(parsed.environments / parsed.peer), "-W", "ignore"]
    command += [Path(__file__).parent / f"run_{parsed.peer}.py", folder, out]
    for name, value in (("blocks", blocks), ("sample", parsed.sample)):
        command += [] if value is None else [f"--{name}", str(value)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **offline, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"{parsed.peer}: its side ended with {done.returncode}:\n{done.stderr}")
    return out


class Ours:
    """Our scores of the case, each made once."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, case.run.model
        self.stages = Stages(self.model, case.run.part)
        self.gradient = goal(case.run)
        self.curvature = cache(self._curvature)
        self.scores = cache(self._scores)

    def _curvature(self, name: str) -> Curvature:
        """Fit ``ekfac`` on the case's sample; ``other labels`` are drawn with another seed."""
        if name == "identity":
            return Identity()
        sample = self.case.sample
        seed = sample.seed + (OTHER_LABELS if name == "other labels" else 0)
        drawn = Sample(sample.corpus, sample.rows, seed)
        tokens = self.case.sampled * sample.corpus.tokens.shape[1]
        config = CurvatureConfig(batch_size=self.case.run.config.curvature.batch_size)

        def work() -> Curvature:
            tracked = find_tracked(self.model)
            return fit_kronecker(self.model, tracked, drawn, config, _nothing)

        return self.stages.timed(f"fit {name}", tokens, work)

    def _scores(self, curvature: str, engine: str) -> np.ndarray:
        run = self.case.run
        damping = run.config.direction.damping
        direction = Direction(self.curvature(curvature).solve(self.gradient, damping))
        settings = run.config.scores.by(engine)
        found = self.stages.timed(
            f"{engine}, {curvature}",
            run.part.tokens.size,
            lambda: score(self.model, run.part, direction, settings),
        )
        return counted(self.case, found)


def counted(case: Case, scores: TokenScores) -> np.ndarray:
    """The scores of the tokens that have a loss."""
    return np.asarray(scores.values)[case.run.part.has_loss]


def _nothing(tokens: int) -> None:
    """No progress line."""


def compared(case: Case, theirs: Path, ours: Ours, pairs: Any) -> Any:
    """Yield a row of agreement a pair; theirs speak of position t, ours of token t + 1."""
    for name, curvature, engine, same in pairs:
        at_position = np.load(theirs / f"{name}.npy")
        at_token = np.pad(at_position[:, :-1], ((0, 0), (1, 0)))[case.run.part.has_loss]
        found = agreement(at_token, ours.scores(curvature, engine))
        row = {"name": name, "curvature": curvature, "engine": engine, "same": same}
        yield {**row, **found}


def by_chance(case: Case, ours: Ours) -> dict[str, Any]:
    """Ours against ours, with labels drawn anew: what the draw alone does."""
    found = agreement(ours.scores("other labels", "jvp"), ours.scores("ekfac", "jvp"))
    name = "ours, other labels"
    return {"name": name, "curvature": "ekfac", "engine": "jvp", "same": False, **found}


def end_to_end(case: Case, ours: Ours, way: str) -> dict[str, Any]:
    """Fit, aim and score the part with a way's settings, and what became of the scores."""
    run, stages, config = case.run, ours.stages, WAYS[way](case.run.config)
    blocks, length = run.part.tokens.shape
    sample = min(config.curvature.sample_blocks, blocks)
    queries = sum(map(len, (*run.contrast.toxic.tokens, *run.contrast.safe.tokens)))
    curvature = stages.timed(
        f"fit, {way}",
        sample * length,
        lambda: fit(run.model, run.part, config.curvature, seed=config.seed),
    )
    direction = stages.timed(
        f"aim, {way}", queries, lambda: aim(run.model, run.contrast, curvature, config.direction)
    )
    tracked = find_tracked(run.model)
    engine, settings = stages.timed(
        f"calibrate, {way}",
        CALIBRATION_TOKENS,
        lambda: build_engine(run.model, tracked, direction, run.part, config.scores),
    )
    size = config.scores.batch_tokens
    scores = stages.timed(
        f"score, {way}",
        run.part.tokens.size,
        lambda: score_rows(engine, run.model, run.part, slice(0, blocks), size, _nothing),
    )
    return {
        "sample_blocks": sample,
        "run_sample_blocks": config.curvature.sample_blocks,
        "engine": settings["engine"],
        "against_whole_fit": agreement(scores[run.part.has_loss], ours.scores("ekfac", "jvp")),
    }


if __name__ == "__main__":
    sys.exit(main())
