"""Whose scores a method chooses tokens by: a stage each, found by the scorer's name.

A third party's is named by an entry point of the group ``ifguide.scorers``: a ``Stage`` of token
scores over ``CORPUS``, higher = rather to be suppressed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifguide.influence.config import ScoreConfig
from ifguide.lazily import functions_of
from ifguide.nouns import TokenScores
from ifguide.registry import Registry
from ifguide.run import factories
from ifguide.run.layout import SCORE_FILES
from ifguide.run.outside import checkpoint_of
from ifguide.run.proxy import proxy_model
from ifguide.run.rivals_given import PlainSettings
from ifguide.run.stage import Get, Stage, StageOf, needs
from ifguide.run.stages import AIM, BASELINE, CORPUS, FIT, QUERIES, SCORED
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.rivals import input_axis
    from ifguide.run import artifacts, rivals_makers
else:
    artifacts = functions_of("ifguide.run.artifacts")
    input_axis = functions_of("ifguide.rivals.input_axis")
    rivals_makers = functions_of("ifguide.run.rivals_makers")


def computed(config: Config) -> ScoreConfig:
    """Return how scores are computed, where the run's own are not."""
    return replace(config.scores, logprobs=None)


def by_position(config: Config) -> ScoreConfig:
    """Return the same by the authors' engine."""
    return computed(config).by("position")


def open_scores(folder: Path, get: Get) -> TokenScores:
    """Open scores of the run's corpus."""
    return artifacts.load_scores(folder, get(CORPUS).corpus)


def open_on_input_axis(folder: Path, get: Get) -> TokenScores:
    """Open position scores as the authors' code reads them."""
    return input_axis.on_input_axis(open_scores(folder, get))


STORED: dict[str, Any] = {  # what all stages of scores share
    "save": artifacts.save_scores,
    "load": open_scores,
    "files": SCORE_FILES,
    "command": "compare",
    "total": lambda settings, text, *_: factories.corpus_tokens(text),
}

POSITION = Stage(
    name="scores/position",
    about="the authors' scores: what enters the gradient through a token's own position",
    needs=needs(CORPUS, SCORED, AIM),
    settings=by_position,
    section="scores",
    make=rivals_makers.score_along,
    passes=factories.scoring_passes,
    **{**STORED, "load": open_on_input_axis},
)
PLAIN = Stage(
    name="scores/plain",
    about="influence on the toxic queries alone",
    needs=needs(CORPUS, SCORED, FIT, QUERIES),
    settings=lambda config: PlainSettings(computed(config), config.direction),
    make=rivals_makers.score_plainly,
    passes=factories.scoring_passes,
    **STORED,
)
LEXICON = Stage(
    name="scores/lexicon",
    about="the log-odds of a token's word in the queries",
    needs=needs(CORPUS, QUERIES),
    settings=lambda config: config.compare.lexicon_prior,
    section="compare.lexicon_prior",
    make=rivals_makers.score_by_lexicon,
    **STORED,
)
PROBE = Stage(
    name="scores/probe",
    about="a linear classifier on the baseline's hidden states",
    needs=needs(CORPUS, BASELINE, QUERIES),
    settings=lambda config: None,
    make=rivals_makers.score_by_probe,
    passes=lambda settings, noun: 1.0,
    **STORED,
)
PROXY_INITIAL = factories.initial(
    "proxy/initial", CORPUS, checkpoint_of("compare.proxy", proxy_model), proxy_model
)
PROXY_BASELINE = factories.baseline("proxy/baseline", CORPUS, PROXY_INITIAL)
PROXY_FIT = factories.fitted("proxy/fit", CORPUS, PROXY_BASELINE)
PROXY_AIM = factories.aimed("proxy/aim", QUERIES, PROXY_BASELINE, PROXY_FIT)
PROXY = Stage(
    name="scores/proxy",
    about="own scores of a smaller model",
    needs=needs(CORPUS, PROXY_BASELINE, PROXY_AIM),
    settings=computed,
    section="scores",
    make=rivals_makers.score_along,
    passes=factories.scoring_passes,
    **STORED,
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
    "ifguide.run.stage:Stage",
)
