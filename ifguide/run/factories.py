"""The stages that a run has several of, each made from what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ifguide.distributed import ranks
from ifguide.evaluation.config import HeldOutText
from ifguide.evaluation.figures import Fluency, JudgedModel
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.influence.config import DirectionConfig
from ifguide.lazily import functions_of
from ifguide.models.config import ModelConfig
from ifguide.nouns import Checkpoint, Contrast, Corpus, Direction, TokenScores
from ifguide.run import effort
from ifguide.run.given import (
    BaselineSettings,
    FitSettings,
    FluencySettings,
    InitialSettings,
    JudgeSettings,
    SampleSettings,
    SmoothSettings,
    TrainSettings,
)
from ifguide.run.layout import (
    CURVATURE_FILES,
    FIGURES,
    MODEL_FILES,
    SAMPLE_FILES,
    SCORE_FILES,
    TEXT_FILES,
)
from ifguide.run.outside import JUDGES, LAMBADA, texts_of
from ifguide.run.stage import Get, Need, Outside, Stage, StageOf, folder_name, needs
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig

if TYPE_CHECKING:
    from ifguide.corpus.prepare import PreparedCorpus
    from ifguide.influence.curvature.operators import Curvature
    from ifguide.run import artifacts, continuations, makers
    from ifguide.run.continuations import PromptSets, Tables
else:
    artifacts = functions_of("ifguide.run.artifacts")
    continuations = functions_of("ifguide.run.continuations")
    makers = functions_of("ifguide.run.makers")

Figures = TypeVar("Figures")

# Forward passes a token that a stage counts. A training step is a forward and a backward worth two.
# EK-FAC counts a token twice, once in each of its passes. See benchmarks/records/speed.md.
TRAINING = 3.0
FITTING = 4.5
GENERATING = 1.0
ENGINES = {"difference": 2.0, "jvp": 3.0, "position": 3.0}


# models


def initial(
    name: str,
    corpus: Need[PreparedCorpus],
    checkpoint: Outside[ModelConfig],
    model: Callable[[Config], ModelConfig],
) -> StageOf[Checkpoint]:
    """Declare the model that training starts from: a checkpoint, or random weights."""
    return Stage(
        name=name,
        about="the model that training starts from",
        needs=needs(corpus, checkpoint),
        settings=lambda config: InitialSettings(model(config), config.seed),
        make=makers.initial_model,
        load=not_kept,
        files=(),
        kept=lambda config: False,
    )


def not_kept(folder: Path, get: Get) -> Any:
    """Stand for the opening of a stage that has no folder."""
    raise RuntimeError(f"{folder}: this stage is not kept")


def watched(
    name: str, corpus: Need[PreparedCorpus], training: Callable[[Config], TrainingConfig | None]
) -> StageOf[Mapping[str, Corpus]]:
    """Declare the text that a training's guard watches, if it has one, by its name."""

    def asked(config: Config) -> Mapping[str, HeldOutText]:
        of = training(config)
        guard = of.guard if of else None
        return {} if guard is None else {guard.text: config.evaluation.perplexity[guard.text]}

    texts = texts_of(f"{name}.guard", lambda c: [text.source for text in asked(c).values()])
    return Stage(
        name=f"watched/{folder_name(name)}",
        about=f"the text that {name}.guard watches, packed",
        needs=needs(corpus, texts),
        settings=asked,
        section="evaluation.perplexity",
        make=makers.pack_watched,
        load=lambda folder, get: artifacts.load_texts(folder),
        files=TEXT_FILES,
        command="train",
        kept=lambda config: bool(asked(config)),
    )


def baseline(
    name: str, corpus: Need[PreparedCorpus], initial: Need[Checkpoint]
) -> StageOf[Checkpoint]:
    """Declare the model trained on everything, or the checkpoint as it is."""

    def settings(config: Config) -> BaselineSettings:
        given = config.baseline
        trained = None if given is None else TrainSettings.of(config, given, "baseline")
        return BaselineSettings(trained)

    return Stage(
        name=name,
        about="the model trained on every token",
        needs=needs(corpus, initial, watched(name, corpus, lambda config: config.baseline)),
        settings=settings,
        make=makers.train_baseline,
        load=lambda folder, get: makers.open_checkpoint(folder, get(initial)),
        files=MODEL_FILES,
        kept=lambda config: config.baseline is not None,
        total=lambda settings, text, *_: training_tokens(text, settings.baseline),
        passes=lambda settings, noun: TRAINING,
        effort=effort.trained("baseline", lambda config: config.baseline),
    )


def training_passes(settings: TrainSettings, noun: Callable[[], Checkpoint]) -> float:
    """Return the forward passes a token of training; a divergence from the start costs one more."""
    return TRAINING + (settings.training.objective.kl is not None)


def training_tokens(text: PreparedCorpus, settings: TrainSettings | None) -> int | None:
    """Return how many tokens a training goes through, over all processes."""
    if settings is None:
        return None
    blocks, length = text.corpus.tokens.shape
    return effort.training_tokens(blocks, length, settings.training, ranks.world_size())


def corpus_tokens(text: PreparedCorpus) -> int:
    """Return how many tokens of the corpus this process goes through."""
    return int(text.corpus.tokens.size) // ranks.world_size()


# what each token teaches


def fitted(
    name: str, corpus: Need[PreparedCorpus], baseline: Need[Checkpoint]
) -> StageOf[Curvature]:
    """Declare H, from a sample of blocks and labels drawn from the model."""

    def total(settings: FitSettings, text: PreparedCorpus, *rest: Any) -> int:
        blocks, length = text.corpus.tokens.shape
        sampled = min(settings.curvature.sample_blocks, blocks) * length
        return int(sampled * (2 if settings.curvature.kind == "ekfac" else 1)) // ranks.world_size()

    return Stage(
        name=name,
        about="H: the Fisher information, from a sample of blocks",
        needs=needs(corpus, baseline),
        settings=lambda config: FitSettings(config.curvature, config.seed),
        make=makers.fit_curvature,
        load=lambda folder, get: artifacts.load_curvature(folder),
        files=CURVATURE_FILES,
        version=2,  # a basis that weights share is written once
        total=total,
        passes=lambda settings, noun: FITTING,
        effort=effort.fitted,
    )


def aimed(
    name: str,
    queries: Need[Contrast],
    baseline: Need[Checkpoint],
    curvature: Need[Curvature],
    direction: Callable[[Config], DirectionConfig] = lambda config: config.direction,
) -> StageOf[Direction]:
    """Declare v = (H + μ)⁻¹ (g_tox - g_safe), where learning toxicity moves the weights (Eq. 7)."""
    return Stage(
        name=name,
        about="v = (H + μ)⁻¹ (g_tox - g_safe): where learning toxicity moves the weights (Eq. 7)",
        needs=needs(queries, baseline, curvature),
        settings=direction,
        section="direction",
        make=makers.aim_at,
        save=artifacts.save_direction,
        load=lambda folder, get: artifacts.load_direction(folder),
        files=("direction.safetensors",),
        effort=effort.aimed,
    )


def scoring_passes(settings: Any, scores: Callable[[], TokenScores]) -> float:
    """Return the forward passes that a scored token has cost, by the engine that was used."""
    return ENGINES.get(str(scores().metadata.get("engine")), ENGINES["difference"])


def smoothed(
    name: str,
    corpus: Need[PreparedCorpus],
    queries: Need[Contrast],
    scores: Need[TokenScores],
) -> StageOf[TokenScores]:
    """Declare scores drawn toward their neighbours', their type's and a lexicon's, if asked for."""

    def settings(config: Config) -> SmoothSettings:
        return SmoothSettings(config.smoothing, config.lexicon)

    return Stage(
        name=name,
        about="the scores drawn toward their neighbours', their type's and a lexicon's",
        needs=needs(corpus, queries, scores),
        settings=settings,
        make=makers.smooth_scores,
        save=artifacts.save_scores,
        load=lambda folder, get: artifacts.load_scores(folder, get(corpus).corpus),
        files=SCORE_FILES,
        kept=lambda config: settings(config).changes,
        effort=effort.smoothed,
    )


# what the models say


def sampled(
    name: str, model: Need[Checkpoint], corpus: Need[PreparedCorpus], prompts: Need[PromptSets]
) -> StageOf[Tables]:
    """Declare what a model says to the prompts."""
    return Stage(
        name=f"sample/{folder_name(name)}",
        about=f"what {name} says to the prompts",
        needs=needs(corpus, model, prompts),
        settings=lambda config: SampleSettings.of(config, name),
        make=continuations.sample,
        save=artifacts.save_samples,
        load=lambda folder, get: artifacts.load_samples(folder),
        files=SAMPLE_FILES,
        command="evaluate",
        passes=lambda settings, noun: GENERATING,
        effort=effort.sampled(name),
    )


def fluent(
    name: str,
    model: Need[Checkpoint],
    corpus: Need[PreparedCorpus],
    held_out: Need[Mapping[str, Corpus]],
) -> StageOf[Fluency]:
    """Declare a model's perplexity on held-out text, and its accuracy on last words."""
    return Stage(
        name=f"fluency/{folder_name(name)}",
        about=f"how fluent {name} is",
        needs=needs(corpus, model, held_out, LAMBADA),
        settings=FluencySettings.of,
        version=2,
        make=makers.measure_fluency,
        save=save_figures,
        load=figures_as(Fluency),
        files=(FIGURES,),
        command="evaluate",
        passes=lambda settings, noun: GENERATING,
        effort=effort.fluent,
    )


def judged(
    name: str, samples: Need[Tables], judges: Need[list[Judge]] = JUDGES
) -> StageOf[JudgedModel]:
    """Declare what judges make of a model's continuations."""
    return Stage(
        name=f"judge/{folder_name(name)}",
        about=f"what the judges make of what {name} says",
        needs=needs(samples, judges),
        settings=JudgeSettings.of,
        make=makers.judge_samples,
        save=save_figures,
        load=figures_as(JudgedModel),
        files=(FIGURES,),
        command="evaluate",
        effort=effort.judged,
    )


def save_figures(folder: Path, figures: Any) -> None:
    """Write figures as JSON."""
    write_typed(folder / FIGURES, figures)


def figures_as(kind: type[Figures]) -> Callable[[Path, Get], Figures]:
    """Return what reads figures of a kind that ``save_figures`` wrote."""
    return lambda folder, get: read_typed(folder / FIGURES, kind)
