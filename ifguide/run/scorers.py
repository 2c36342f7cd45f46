"""Whose scores a method chooses tokens by: a stage each, found by the scorer's name.

A third party's is named by an entry point of the group ``ifguide.scorers``: a ``Stage`` of token
scores over ``CORPUS``, higher = rather to be suppressed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ifguide.influence.config import DirectionConfig, ScoreConfig
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint, TokenScores
from ifguide.registry import Registry
from ifguide.run import factories
from ifguide.run.layout import MODEL_FILES, SCORE_FILES
from ifguide.run.outside import checkpoint_of, judges_of
from ifguide.run.proxy import proxy_model
from ifguide.run.rivals_given import PlainSettings, SideSettings
from ifguide.run.stage import Get, Stage, StageOf, needs
from ifguide.run.stages import AIM, BASELINE, CORPUS, FIT, QUERIES, SCORED
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.run import artifacts, makers, rivals_makers
else:
    artifacts = functions_of("ifguide.run.artifacts")
    makers = functions_of("ifguide.run.makers")
    rivals_makers = functions_of("ifguide.run.rivals_makers")


def computed(config: Config) -> ScoreConfig:
    """Return how scores are computed, where the run's own are not."""
    return replace(config.scores, logprobs=None)


def by_position(config: Config) -> ScoreConfig:
    """Return the same by the authors' engine, on the axis that their code reads."""
    return replace(computed(config).by("position"), axis="input")


def as_the_authors(config: Config) -> DirectionConfig:
    """Return how the authors' code damps: by 1e-8, beside an H of a block's summed loss."""
    predicted = config.corpus.block_length - 1
    return replace(config.direction, damping=1e-8 / predicted, relative=False)


def open_scores(folder: Path, get: Get) -> TokenScores:
    """Open scores of the run's corpus."""
    return artifacts.load_scores(folder, get(CORPUS).corpus)


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
    **STORED,
)
AUTHORS_AIM = factories.aimed("authors/aim", QUERIES, SCORED, FIT, as_the_authors)
AUTHORS = Stage(
    name="scores/authors",
    about="the same along the authors' direction, which is hardly damped",
    needs=needs(CORPUS, SCORED, AUTHORS_AIM),
    settings=by_position,
    section="scores",
    make=rivals_makers.score_along,
    passes=factories.scoring_passes,
    **STORED,
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

FILTER_JUDGE = judges_of(
    "compare.filters.judge", lambda config: _named(config.compare.filters.judge)
)
WORD_LIST = judges_of(
    "compare.filters.words",
    lambda config: [f"words:{file}" for file in _named(config.compare.filters.words)],
)


def _named(given: str | None) -> list[str]:
    return [] if given is None else [given]


JUDGED_DOCUMENTS = Stage(
    name="scores/judge-documents",
    about="the toxicity of a token's document, by the filtering judge",
    needs=needs(CORPUS, FILTER_JUDGE),
    settings=lambda config: None,
    make=rivals_makers.score_documents_by_judge,
    **STORED,
)
JUDGED_WINDOWS = Stage(
    name="scores/judge-windows",
    about="the toxicity of the words around a token, by the filtering judge",
    needs=needs(CORPUS, FILTER_JUDGE),
    settings=lambda config: config.compare.filters.window,
    section="compare.filters.window",
    make=rivals_makers.score_windows_by_judge,
    **STORED,
)
WORDS = Stage(
    name="scores/words",
    about="whether a token belongs to a listed word",
    needs=needs(CORPUS, WORD_LIST),
    settings=lambda config: None,
    make=rivals_makers.score_listed_words,
    **STORED,
)
JUDGED_SCORERS = ("judge-documents", "judge-windows")


def _side(
    name: str, side: Literal["toxic", "safe"], start: StageOf[Checkpoint]
) -> StageOf[Checkpoint]:
    """Declare a copy of a model that is tuned on a side of the queries."""
    return Stage(
        name=f"{name}-{side}",
        about=f"a copy of the model, tuned on the {side} side of the queries",
        needs=needs(CORPUS, QUERIES, start),
        settings=lambda config: SideSettings(config.compare.sides, side, config.seed),
        make=rivals_makers.tune_on_side,
        load=lambda folder, get: makers.open_checkpoint(folder, get(start)),
        files=MODEL_FILES,
        command="compare",
        passes=lambda settings, noun: factories.TRAINING,
    )


def _loss_difference(name: str, start: StageOf[Checkpoint], of: str) -> StageOf[TokenScores]:
    safe, toxic = (_side(f"sides/{name}", side, start) for side in ("safe", "toxic"))  # type: ignore[arg-type]
    return Stage(
        name=f"scores/{name}",
        about=f"how much likelier a token is to a copy of {of} that learnt the toxic queries than "
        "to one that learnt the safe ones",
        needs=needs(CORPUS, safe, toxic),
        settings=lambda config: None,
        make=rivals_makers.score_by_loss_difference,
        passes=lambda settings, noun: 1.0,  # of a token, which each of the two counts
        **{**STORED, "total": lambda settings, text, *_: 2 * factories.corpus_tokens(text)},
    )


LOSS_DIFFERENCE = _loss_difference("loss-difference", BASELINE, "the baseline")
PROXY_LOSS_DIFFERENCE = _loss_difference("loss-difference-proxy", PROXY_BASELINE, "the proxy")
BY_PROXY = ("proxy", "loss-difference-proxy")  # scorers that need a smaller model

SCORERS: Registry[StageOf[TokenScores]] = Registry(
    "scorer",
    "ifguide.scorers",
    {
        "own": "ifguide.run.stages:SCORE",
        "position": "ifguide.run.scorers:POSITION",
        "authors": "ifguide.run.scorers:AUTHORS",
        "plain": "ifguide.run.scorers:PLAIN",
        "lexicon": "ifguide.run.scorers:LEXICON",
        "probe": "ifguide.run.scorers:PROBE",
        "proxy": "ifguide.run.scorers:PROXY",
        "judge-documents": "ifguide.run.scorers:JUDGED_DOCUMENTS",
        "judge-windows": "ifguide.run.scorers:JUDGED_WINDOWS",
        "words": "ifguide.run.scorers:WORDS",
        "loss-difference": "ifguide.run.scorers:LOSS_DIFFERENCE",
        "loss-difference-proxy": "ifguide.run.scorers:PROXY_LOSS_DIFFERENCE",
    },
    "ifguide.run.stage:Stage",
)
