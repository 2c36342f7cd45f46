"""Whose scores a method chooses tokens by: a stage each, found by the scorer's name.

A third party's is named by an entry point of the group ``ifguide.scorers``: a ``Stage`` of token
scores over ``CORPUS``, higher = rather to be suppressed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifguide.corpus.prepare import PreparedCorpus
from ifguide.corpus.words import spelling
from ifguide.influence.config import DirectionConfig, ScoreConfig
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import aim
from ifguide.influence.score import score
from ifguide.nouns import Checkpoint, Contrast, Direction, QuerySet, TokenScores
from ifguide.registry import Registry
from ifguide.rivals.input_axis import on_input_axis
from ifguide.rivals.probe import probe
from ifguide.rivals.proxy import proxy_model
from ifguide.run import artifacts, makers
from ifguide.run.outside import checkpoint_of
from ifguide.run.stage import Get, Stage, StageOf, needs
from ifguide.run.stages import AIM, BASELINE, CORPUS, FIT, QUERIES
from ifguide.run.work import Work
from ifguide.selection.lexicon import lexicon
from ifguide.settings.config import Config


def computed(config: Config) -> ScoreConfig:
    """Return how scores are computed, where the run's own are not."""
    return replace(config.scores, logprobs=None)


def by_position(config: Config) -> ScoreConfig:
    """Return the same by the authors' engine."""
    return computed(config).by("position")


def open_scores(folder: Path, get: Get) -> TokenScores:
    """Open scores of the run's corpus."""
    return artifacts.load_scores(folder, get(CORPUS).corpus)


def score_along(
    work: Work,
    settings: ScoreConfig,
    text: PreparedCorpus,
    baseline: Checkpoint,
    direction: Direction,
) -> TokenScores:
    """Score the corpus along a direction."""
    sink = makers.shards(work, text, settings.shard_blocks)
    return score(
        baseline.model, text.corpus, direction, settings, sink=sink, progress=work.progress
    )


@dataclass(frozen=True)
class PlainSettings:
    """What decides influence on the toxic queries alone."""

    scores: ScoreConfig
    direction: DirectionConfig


def score_plainly(
    work: Work,
    settings: PlainSettings,
    text: PreparedCorpus,
    baseline: Checkpoint,
    curvature: Curvature,
    contrast: Contrast,
) -> TokenScores:
    """Score the corpus along the toxic queries' direction, nothing set against them."""
    none = QuerySet((), ())
    toxic = Contrast(contrast.toxic, none, f"toxic side of {contrast.fingerprint}")
    direction = aim(baseline.model, toxic, curvature, settings.direction)
    return score_along(work, settings.scores, text, baseline, direction)


def score_by_lexicon(
    work: Work, prior: float, text: PreparedCorpus, contrast: Contrast
) -> TokenScores:
    """Score every token by the log-odds of its word in the queries."""
    found = lexicon(text.corpus, contrast, prior, spelling(text.tokenizer))
    return makers.written(work, text, found)


def score_by_probe(
    work: Work, settings: None, text: PreparedCorpus, baseline: Checkpoint, contrast: Contrast
) -> TokenScores:
    """Score every token by a linear classifier on the baseline's hidden states."""
    found = probe(baseline.model, text.corpus, contrast, progress=work.progress)
    return makers.written(work, text, found)


def _scored(name: str, about: str, **declared: Any) -> StageOf[TokenScores]:
    """Declare scores over the corpus."""
    common: dict[str, Any] = {"load": open_scores, **declared}
    return Stage(
        name=f"scores/{name}",
        about=about,
        save=artifacts.save_scores,
        files=makers.SCORE_FILES,
        command="compare",
        total=lambda settings, text, *_: makers.corpus_tokens(text),
        **common,
    )


POSITION = _scored(
    "position",
    "the authors' scores: what enters the gradient through a token's own position",
    needs=needs(CORPUS, BASELINE, AIM),
    settings=by_position,
    section="scores",
    make=score_along,
    load=lambda folder, get: on_input_axis(open_scores(folder, get)),
    passes=makers.scoring_passes,
)
PLAIN = _scored(
    "plain",
    "influence on the toxic queries alone",
    needs=needs(CORPUS, BASELINE, FIT, QUERIES),
    settings=lambda config: PlainSettings(computed(config), config.direction),
    make=score_plainly,
    passes=makers.scoring_passes,
)
LEXICON = _scored(
    "lexicon",
    "the log-odds of a token's word in the queries",
    needs=needs(CORPUS, QUERIES),
    settings=lambda config: config.compare.lexicon_prior,
    section="compare.lexicon_prior",
    make=score_by_lexicon,
)
PROBE = _scored(
    "probe",
    "a linear classifier on the baseline's hidden states",
    needs=needs(CORPUS, BASELINE, QUERIES),
    settings=lambda config: None,
    make=score_by_probe,
    passes=lambda settings, noun: 1.0,
)
PROXY_INITIAL = makers.initial(
    "proxy/initial", CORPUS, checkpoint_of("compare.proxy", proxy_model), proxy_model
)
PROXY_BASELINE = makers.baseline("proxy/baseline", CORPUS, PROXY_INITIAL)
PROXY_FIT = makers.fitted("proxy/fit", CORPUS, PROXY_BASELINE)
PROXY_AIM = makers.aimed("proxy/aim", QUERIES, PROXY_BASELINE, PROXY_FIT)
PROXY = _scored(
    "proxy",
    "own scores of a smaller model",
    needs=needs(CORPUS, PROXY_BASELINE, PROXY_AIM),
    settings=computed,
    section="scores",
    make=score_along,
    passes=makers.scoring_passes,
)

SCORERS: Registry[StageOf[TokenScores]] = Registry(
    "scorer",
    "ifguide.scorers",
    {
        "own": "ifguide.run.stages:SCORE",
        "position": "ifguide.run.scorers:POSITION",
        "plain": "ifguide.run.scorers:PLAIN",
        "lexicon": "ifguide.run.scorers:LEXICON",
        "probe": "ifguide.run.scorers:PROBE",
        "proxy": "ifguide.run.scorers:PROXY",
    },
)
