"""Ways to score the tokens of a finished run, one row each: ours, the authors' form, and rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ifguide import (
    Contrast,
    Corpus,
    Curvature,
    Direction,
    InputError,
    SmoothingConfig,
    TokenScores,
    aim,
    blend,
    fit,
    score,
    smooth,
)
from ifguide.corpus.config import QueriesConfig, Source
from ifguide.corpus.prepare import PreparedCorpus
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.words import spelling
from ifguide.evaluation.judges.judging import judge_texts
from ifguide.evaluation.judges.registry import load_judge
from ifguide.influence.curvature.operators import Identity
from ifguide.rivals.probe import probe
from ifguide.rivals.token_loss import token_loss
from ifguide.rivals.windows import judged_windows
from ifguide.run.progress import progress_line
from ifguide.run.run import looked_at
from ifguide.run.stages import AIM, CORPUS, FIT, QUERIES, SCORE, SCORED
from ifguide.selection.lexicon import lexicon
from ifguide.settings.config import Config
from ifguide.settings.reader import read_run_config

Kind = Literal["identity", "kfac", "ekfac"]
Engine = Literal["difference", "jvp", "position"]
PAIRS = "queries/paradetox.jsonl"  # under the run's data_dir
PAIRS_LIMIT = 3000
PSEUDO_COUNTS = (1.0, 4.0)
BY_WORDS = SmoothingConfig(neighbours=2, type_share=0.75, unit="word")
KINDS: tuple[Kind, ...] = ("identity", "kfac", "ekfac")
GROUPS = ("anchors", "own", "authors", "directions", "lexicons", "rivals")

Values = np.ndarray  # [n, T] scores of the part of the corpus that is compared


@dataclass(frozen=True, eq=False)
class Run:
    """A scored run: ``model`` is the one scored, ``part`` the corpus's rows that are compared."""

    config: Config
    text: PreparedCorpus
    model: torch.nn.Module
    contrast: Contrast
    curvature: Curvature
    direction: Direction
    scores: TokenScores
    rows: np.ndarray
    part: Corpus
    quiet: bool

    def line(self, name: str, tokens: int) -> AbstractContextManager[Callable[[int], None]]:
        """A progress line of its own for a pass."""
        return progress_line(name, tokens, quiet=self.quiet)


@dataclass(frozen=True, eq=False)
class Row:
    """One way of scoring: what it is called, what it is, and its scores."""

    name: str
    meaning: str
    values: Values


def open_run(folder: Path, blocks: int | None, *, quiet: bool) -> Run:
    """Open a scored run; with ``blocks``, compare on that many, drawn by the run's seed.

    Raises:
        InputError: a stage up to the scores is missing, or is not what the settings now say.
    """
    if blocks is not None and blocks < 1:
        raise InputError(f"--blocks: {blocks} is below 1; give the number of blocks to compare on")
    config = read_run_config(folder)
    with looked_at(config, folder) as run:
        text, scores = run(CORPUS), run(SCORE)
        drawn = np.random.default_rng(config.seed).permutation(len(text.corpus.tokens))[:blocks]
        rows = np.sort(drawn)
        return Run(
            config=config,
            text=text,
            model=run(SCORED).model,
            contrast=run(QUERIES),
            curvature=run(FIT),
            direction=run(AIM),
            scores=scores,
            rows=rows,
            part=_part(text.corpus, rows),
            quiet=quiet,
        )


def all_rows(
    run: Run, judge: str, windows: Sequence[int], groups: Sequence[str] = GROUPS
) -> Iterator[Row]:
    """Yield the rows of the groups asked for, each computed when it is asked for."""
    makers: dict[str, Callable[[], Iterator[Row]]] = {
        "anchors": lambda: anchors(run),
        "own": lambda: own_scores(run),
        "authors": lambda: authors_form(run),
        "directions": lambda: other_directions(run),
        "lexicons": lambda: lexicons(run),
        "rivals": lambda: rivals(run, judge, windows),
    }
    for group in groups:
        yield from makers[group]()


def anchors(run: Run) -> Iterator[Row]:
    """What cannot be beaten, and chance."""
    yield Row(
        "the marks", "the answer itself: the most that tokens can reach", run.part.marked * 1.0
    )
    noise = np.random.default_rng(run.config.seed).random(run.part.tokens.shape)
    yield Row("chance", "uniform random numbers", noise)


def own_scores(run: Run) -> Iterator[Row]:
    """The run's scores, as they are, smoothed over the whole corpus, and blended."""
    described = f"engine {run.scores.metadata['engine']}, curvature {run.curvature.kind}"
    whole = f"the run's scores: {described}, queries {run.config.queries.kind}"
    for neighbours, share in product((0, 2), (0.0, 0.5)):
        smoothed = smooth(run.scores, SmoothingConfig(neighbours=neighbours, type_share=share))
        plain = neighbours == 0 and share == 0
        yield Row(
            "own scores" if plain else f"own, neighbours {neighbours}, type share {share}",
            whole if plain else "the run's scores after `ifguide.smooth`",
            np.asarray(smoothed.values)[run.rows],
        )
    spelt = spelling(run.text.tokenizer)
    by_words = smooth(run.scores, BY_WORDS, spelt)
    yield Row("own, by words", f"the same, {BY_WORDS}", np.asarray(by_words.values)[run.rows])
    known = lexicon(run.text.corpus, run.contrast, PSEUDO_COUNTS[-1], spelt)
    blended = blend(by_words, known, 0.5)
    meaning = "own, by words, and the lexicon of words, half each, as in the example's settings"
    yield Row("own, by words, blended", meaning, np.asarray(blended.values)[run.rows])


def authors_form(run: Run) -> Iterator[Row]:
    """Engine ``position`` along the run's direction, read in three ways."""
    scored = _scored(run, "position", run.direction, "position")
    masked = np.pad(scored[:, 1:], ((0, 0), (0, 1)))  # back to the input position t
    yield Row(
        "authors' form",
        "engine position; the share of input position t masks predicted token t",
        masked,
    )
    sides = np.pad(masked, ((0, 0), (1, 1)), constant_values=-np.inf)
    widest = np.maximum(np.maximum(sides[:, :-2], sides[:, 2:]), masked)
    yield Row("authors' form, window 1", "the largest of it over the token and both next", widest)
    yield Row("position, predicted token", "the share of position t at token t + 1", scored)


def other_directions(run: Run) -> Iterator[Row]:
    """Own-loss scores along directions of other curvatures, and of pairs of texts."""
    own = run.config.scores.engine
    engine: Engine = "jvp" if own == "position" else own
    for kind in KINDS:
        if kind == run.curvature.kind and engine == own:
            continue  # the run's own
        fitted = _fitted(run, kind)
        direction = aim(run.model, run.contrast, fitted, run.config.direction)
        sampled = f"fitted on {run.config.curvature.sample_blocks} blocks"
        meaning = f"own-loss scores, curvature {kind}" + (f" {sampled}" if fitted.tensors() else "")
        yield Row(f"curvature {kind}", meaning, _scored(run, kind, direction, engine))
    file = Path(run.config.data_dir) / PAIRS
    if file.exists():
        source = Source(path=PAIRS)
        pairs = QueriesConfig(kind="pairs", source=source, safe="neutral", limit=PAIRS_LIMIT)
        contrast = load_contrast(pairs, run.text.tokenizer, Path(run.config.data_dir))
        direction = aim(run.model, contrast, run.curvature, run.config.direction)
        count = len(contrast.toxic.tokens)
        yield Row(
            "pair queries",
            f"own-loss scores, curvature {run.curvature.kind}, {count} pairs of {PAIRS}",
            _scored(run, "pairs", direction, engine),
        )


def lexicons(run: Run) -> Iterator[Row]:
    """Log-odds of tokens and of words in the queries."""
    for count in PSEUDO_COUNTS:
        found = lexicon(run.part, run.contrast, count)
        meaning = f"log-odds of the token's id in and out of the marks, prior of {count:g} tokens"
        yield Row(f"lexicon, prior {count:g}", meaning, np.asarray(found.values))
    spelt = spelling(run.text.tokenizer)
    found = lexicon(run.text.corpus, run.contrast, PSEUDO_COUNTS[-1], spelt)
    meaning = f"the same of the token's word, prior of {PSEUDO_COUNTS[-1]:g} words"
    yield Row("lexicon of words", meaning, np.asarray(found.values)[run.rows])


def rivals(run: Run, judge: str, windows: Sequence[int]) -> Iterator[Row]:
    """What a probe makes of the same labels, and two that know none of them."""
    tokens = run.part.tokens.size
    with run.line("probe", tokens) as move:
        found = probe(run.model, run.part, run.contrast, progress=move)
    penalty = found.metadata["penalty"]
    meaning = f"logistic regression on the last hidden state at the token, penalty {penalty:g}"
    yield Row("linear probe", meaning, np.asarray(found.values))
    loaded = load_judge(judge)
    for words in windows:
        with run.line(f"judge {words}", int(run.part.has_loss.sum())) as move:
            found = judged_windows(run.part, partial(judge_texts, loaded), words, progress=move)
        meaning = (
            f"{judge} on the token's word and {words} words to each side; its labels are others"
        )
        yield Row(f"judge, {2 * words + 1}-word window", meaning, np.asarray(found.values))
    with run.line("loss", tokens) as move:
        found = token_loss(run.model, run.part, progress=move)
    yield Row(
        "token loss", "the scored model's own loss; knows no labels", np.asarray(found.values)
    )


def _part(corpus: Corpus, rows: np.ndarray) -> Corpus:
    columns = ("tokens", "document", "start", "end", "marked")
    arrays = {name: np.asarray(getattr(corpus, name))[rows] for name in columns}
    return replace(corpus, **arrays, fingerprint=f"{corpus.fingerprint}, {len(rows)} blocks")


def _fitted(run: Run, kind: Kind) -> Curvature:
    """Fit another kind of curvature on the run's sample."""
    if kind == "identity":
        return Identity()
    settings = replace(run.config.curvature, kind=kind, rotation="full")
    length = run.config.corpus.block_length
    with run.line(f"fit {kind}", settings.sample_blocks * length) as move:
        return fit(run.model, run.text.corpus, settings, seed=run.config.seed, progress=move)


def _scored(run: Run, name: str, direction: Direction, engine: Engine) -> Values:
    """Score the compared part along a direction, with the run's settings but for the engine."""
    settings = run.config.scores.by(engine)
    with run.line(name, run.part.tokens.size) as move:
        return np.asarray(score(run.model, run.part, direction, settings, progress=move).values)
