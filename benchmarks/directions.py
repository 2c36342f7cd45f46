"""Other directions and steps to score along; each is scored on the compared part of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from conjugate import ITERATIONS, SAMPLE_BLOCKS, Vector, plus, refined
from curvature_sample import goal as goal_of
from scorers import Row, Run
from torch import nn

from ifguide import (
    Contrast,
    Curvature,
    Direction,
    QuerySet,
    SmoothingConfig,
    TokenScores,
    aim,
    fit,
    score,
    smooth,
)
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.words import spelling
from ifguide.influence.direction import query_gradient
from ifguide.models.load import load_checkpoint
from ifguide.models.tracked import find_tracked
from ifguide.rivals.token_loss import token_loss

BY_WORDS = SmoothingConfig(neighbours=2, type_share=0.75, unit="word")
FINITE = 0.003
ROUND_SHARE = 0.02  # of the tokens of a first round that the second takes as marked
FEW_BLOCKS = 40
LEAST_LOSS = 0.05


def directions(run: Run) -> Iterator[Row]:
    """Each direction's own scores, and the same by words of the compared part alone."""
    own = np.asarray(run.scores.values)[run.rows]
    yield from both(run, "the run's", "the run's direction", own)
    loss = np.maximum(np.asarray(token_loss(run.model, run.part).values), LEAST_LOSS)
    for power in (0.5, 1.0):
        yield from both(
            run, f"score / loss^{power:g}", "own scores over the loss", own / loss**power
        )
    for name, meaning, make in _ways(run):
        yield from both(run, name, meaning, scored(run, run.model, make()))
    for step in (0.03, 0.1):
        values = scored(run, run.model, run.direction, step)
        yield from both(
            run, f"step {step:.0%}", "finite steps of this share of the weights", values
        )


def averaged(run: Run, checkpoint: Path) -> Iterator[Row]:
    """The run's own scores, an earlier checkpoint's, and their mean, each in deviations."""
    own = np.asarray(run.scores.values)[run.rows]
    yield from both(run, "the run's", "the run's direction", own)
    model = load_checkpoint(checkpoint)
    curvature = fit(model, run.text.corpus, run.config.curvature, seed=run.config.seed)
    direction = aim(model, run.contrast, curvature, run.config.direction)
    values = scored(run, model, direction)
    meaning = f"the model, its curvature and its direction at {checkpoint.name}"
    yield from both(run, "earlier checkpoint", meaning, values)
    mean = values / values.std() + own / own.std()
    yield from both(run, "mean of checkpoints", "that and the run's, in deviations", mean)


def both(run: Run, name: str, meaning: str, values: np.ndarray) -> Iterator[Row]:
    """The scores as they are and drawn toward their words' means."""
    yield Row(name, meaning, values)
    drawn = smooth(TokenScores(values, run.part), BY_WORDS, spelling(run.text.tokenizer))
    yield Row(f"{name}, by words", "the same by words of the part, share 0.75", drawn.values)


def scored(run: Run, model: nn.Module, direction: Direction, step: float = FINITE) -> np.ndarray:
    """Score the compared part along a direction by finite differences."""
    settings = replace(run.config.scores, engine="difference", step=step)
    with run.line("score", run.part.tokens.size) as move:
        return np.asarray(score(model, run.part, direction, settings, progress=move).values)


def _ways(run: Run) -> Iterator[tuple[str, str, Callable[[], Direction]]]:
    names = list(run.direction.weights)
    later = set(names[len(names) // 2 :])
    for name, kept in (
        ("MLP alone", {n for n in names if "mlp" in n}),
        ("attention alone", {n for n in names if "mlp" not in n}),
        ("later half", later),
    ):
        yield name, "the direction, zero in all other weights", lambda kept=kept: _only(run, kept)
    yield "second round", f"marked: the top {ROUND_SHARE:.0%} of other blocks", lambda: _second(run)
    goal = goal_of(run)
    for damping in (0.01, 1.0):
        meaning = f"damping {damping:g} (the run: {run.config.direction.damping:g})"
        yield f"damping {damping:g}", meaning, lambda d=damping: _solved(run.curvature, goal, d)
    yield (
        "conjugate gradients",
        f"(G + mu)^-1 g in {ITERATIONS} steps, G of {SAMPLE_BLOCKS} blocks",
        lambda: refined(run, goal),
    )
    few = f"curvature of {FEW_BLOCKS} blocks (the run: {run.config.curvature.sample_blocks})"
    yield "few curvature samples", few, lambda: _few(run, goal)
    yield "posts weigh the same", "mean over posts of each post's mean", lambda: _by_post(run)
    yield "posts of unit norm", "sum of the posts' gradients, each of norm 1", lambda: _unit(run)


def _only(run: Run, kept: set[str]) -> Direction:
    weights = run.direction.weights.items()
    return Direction({n: w if n in kept else torch.zeros_like(w) for n, w in weights})


def _solved(curvature: Curvature, goal: Vector, damping: float) -> Direction:
    return Direction(curvature.solve(goal, damping))


def _few(run: Run, goal: Vector) -> Direction:
    settings = replace(run.config.curvature, sample_blocks=FEW_BLOCKS)
    curvature = fit(run.model, run.text.corpus, settings, seed=run.config.seed)
    return _solved(curvature, goal, run.config.direction.damping)


def _by_post(run: Run) -> Direction:
    config = run.config
    queries = replace(config.queries, weighting="query")
    folder, seed = Path(config.data_dir), config.seed + 1
    contrast = load_contrast(queries, run.text.tokenizer, folder, seed_of_builtin=seed)
    return aim(run.model, contrast, run.curvature, config.direction)


def _unit(run: Run) -> Direction:
    """Sum ``g / |g|`` over the posts, where g is a post's mean of marked less mean of others."""
    tracked, contrast = find_tracked(run.model), run.contrast
    total = {name: torch.zeros_like(w) for name, w in run.direction.weights.items()}
    for q, tokens in enumerate(contrast.toxic.tokens):
        sides = [side.weights[q] for side in (contrast.toxic, contrast.safe)]
        marked, other = (side / max(float(side.sum()), 1e-12) for side in sides)
        found = query_gradient(run.model, tracked, QuerySet([tokens], [marked - other]), 1)
        norm = sum(float(g.square().sum()) for g in found.values()) ** 0.5
        total = plus(total, found, 1 / norm)
    return _solved(run.curvature, total, run.config.direction.damping)


def _second(run: Run) -> Direction:
    """Take the best tokens of blocks outside the compared part as marked text."""
    corpus, spelt = run.text.corpus, spelling(run.text.tokenizer)
    values = np.asarray(smooth(run.scores, BY_WORDS, spelt).values)
    others = np.setdiff1d(np.arange(len(values)), run.rows)
    rows = np.random.default_rng(run.config.seed).permutation(others)[: len(run.rows)]
    counted, tokens = corpus.has_loss[rows], np.asarray(corpus.tokens)[rows]
    best = counted & (values[rows] > np.quantile(values[corpus.has_loss], 1 - ROUND_SHARE))
    sides = [QuerySet(list(tokens), list(side / side.sum())) for side in (best, counted & ~best)]
    contrast = Contrast(*sides, "second round")
    return aim(run.model, contrast, run.curvature, run.config.direction)
