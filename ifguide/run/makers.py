"""What the stages make, and the stages that a run has several of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pyarrow as pa
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ifguide.corpus.blocks import PACKED_FILES, pack
from ifguide.corpus.config import CorpusConfig, QueriesConfig, TokenizerConfig
from ifguide.corpus.prepare import PreparedCorpus, open_prepared, prepare
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.words import spelling
from ifguide.distributed import ranks
from ifguide.evaluation.config import EvaluationConfig, HeldOutText, Prompts, Sampling
from ifguide.evaluation.evaluate import fluency, generate_table, judge_tables
from ifguide.evaluation.figures import (
    Fluency,
    JudgedModel,
    Localisation,
    ModelFigures,
    Report,
    SelectionSummary,
    write_report,
)
from ifguide.evaluation.fluency import perplexity
from ifguide.evaluation.generate import Processors, derived_seed
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.localisation import localisation_of
from ifguide.evaluation.prompts import Prompt, held_out_documents, prompts_of
from ifguide.evaluation.typed_json import read_typed, write_typed
from ifguide.files import write_json, write_text
from ifguide.influence.config import CurvatureConfig, DirectionConfig, ScoreConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import aim
from ifguide.influence.perturbed import LogprobFiles, score_from_logprobs
from ifguide.influence.score import score
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, load_model
from ifguide.nouns import (
    Checkpoint,
    Contrast,
    Corpus,
    Direction,
    Selection,
    TokenScores,
)
from ifguide.report.config import ReportConfig
from ifguide.report.page import render_page
from ifguide.run import artifacts
from ifguide.run.outside import JUDGES, LAMBADA, texts_of
from ifguide.run.stage import Get, Need, Outside, Stage, StageOf, folder_name, needs
from ifguide.run.work import Work
from ifguide.selection.blend import blend
from ifguide.selection.config import LexiconConfig, SelectionConfig, SmoothingConfig
from ifguide.selection.lexicon import lexicon
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth
from ifguide.settings.config import Config
from ifguide.training.config import Guard, TrainingConfig
from ifguide.training.train import train
from ifguide.version import VERSION

Figures = TypeVar("Figures")

SHARD_BLOCKS = 1024  # of scores that no setting cuts
FIGURES = "figures.json"

# Forward passes a token that a stage counts. A training step is a forward and a backward worth two.
# EK-FAC counts a token twice, once in each of its passes. See benchmarks/records/speed.md.
TRAINING = 3.0
FITTING = 4.5
GENERATING = 1.0
ENGINES = {"difference": 2.0, "jvp": 3.0, "position": 3.0}

TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "tokenization_*.py",
)
CORPUS_FILES = (
    *(f"tokenizer/{name}" for name in TOKENIZER_FILES),
    *(f"blocks/{name}" for name in PACKED_FILES),
    "held_out/*.arrow",
    "held_out/*.json",
)
TEXT_FILES = ("texts.json", *(f"*/{name}" for name in PACKED_FILES))
MODEL_FILES = (
    *TOKENIZER_FILES,
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "modeling_*.py",
    "configuration_*.py",
    "README.md",  # which peft writes beside an adapter
)
SCORE_FILES = ("scores-*.npy", "scores.json")
SAMPLE_FILES = ("samples-*.parquet", "samples.json")
MASK_FILES = (
    "mask/data-*.arrow",
    "mask/dataset_info.json",
    "mask/state.json",
    "ranking.npz",
    "selection.json",
)


PromptSets = Mapping[str, Sequence[Prompt]]
Tables = Mapping[str, pa.Table]


def corpus_tokens(text: PreparedCorpus) -> int:
    """Return how many tokens of the corpus this process goes through."""
    return int(text.corpus.tokens.size) // ranks.world_size()


# the corpus and what is asked about it


@dataclass(frozen=True)
class CorpusSettings:
    """What decides the corpus."""

    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> CorpusSettings:
        """Return a run's."""
        return cls(config.corpus, config.tokenizer, config.seed)


def prepare_corpus(
    work: Work, settings: CorpusSettings, data_dir: Path, tokenizer: TokenizerConfig
) -> None:
    """Tokenise and pack the corpus."""
    if ranks.is_main():
        prepare(settings.corpus, tokenizer, data_dir, settings.seed, work.path)


def open_corpus_of(folder: Path, tokenizer: TokenizerConfig) -> PreparedCorpus:
    """Open the corpus; its tokenizer's own code runs only where the settings say so."""
    return open_prepared(folder, trust_remote_code=tokenizer.trust_remote_code)


def pack_texts(
    work: Work, wanted: Mapping[str, HeldOutText], text: PreparedCorpus, data_dir: Path
) -> None:
    """Pack texts, each into a folder by its number."""
    if not ranks.is_main():
        return
    length = int(text.corpus.tokens.shape[1])
    for number, (name, asked) in enumerate(wanted.items()):
        documents = held_out_documents(asked, text.held_out, data_dir, name)
        pack(documents, text.tokenizer, length, work.path / str(number))
    write_json(work.path / "texts.json", {"names": list(wanted)})


@dataclass(frozen=True)
class QuerySettings:
    """What decides the queries."""

    queries: QueriesConfig
    seed: int

    @classmethod
    def of(cls, config: Config) -> QuerySettings:
        """Return a run's."""
        return cls(config.queries, config.seed)


def read_queries(
    work: Work, settings: QuerySettings, text: PreparedCorpus, data_dir: Path
) -> Contrast:
    """Read the two query sets."""
    seed = settings.seed + 1
    return load_contrast(settings.queries, text.tokenizer, data_dir, seed_of_builtin=seed)


@dataclass(frozen=True)
class PromptSettings:
    """What decides the prompts."""

    evaluation: Mapping[str, Prompts]
    seed: int

    @classmethod
    def of(cls, config: Config) -> PromptSettings:
        """Return a run's."""
        return cls(config.evaluation.prompt_sets, config.seed)


def read_prompts(
    work: Work, settings: PromptSettings, text: PreparedCorpus, data_dir: Path
) -> dict[str, list[Prompt]]:
    """Read the named prompt sets."""
    return {
        name: prompts_of(asked, text.held_out, data_dir, settings.seed, name)
        for name, asked in settings.evaluation.items()
    }


# models


@dataclass(frozen=True)
class InitialSettings:
    """What decides the model that training starts from, beside its files."""

    model: ModelConfig
    seed: int


def initial(
    name: str,
    corpus: Need[PreparedCorpus],
    checkpoint: Outside[ModelConfig],
    model: Callable[[Config], ModelConfig],
) -> StageOf[Checkpoint]:
    """Declare the model that training starts from: a checkpoint, or random weights."""

    def make(
        work: Work, settings: InitialSettings, text: PreparedCorpus, model: ModelConfig
    ) -> Checkpoint:
        length = int(text.corpus.tokens.shape[1])
        return Checkpoint(lambda: load_model(model, text.tokenizer, length, settings.seed))

    return Stage(
        name=name,
        about="the model that training starts from",
        needs=needs(corpus, checkpoint),
        settings=lambda config: InitialSettings(model(config), config.seed),
        make=make,
        load=not_kept,
        files=(),
        kept=lambda config: False,
    )


def not_kept(folder: Path, get: Get) -> Any:
    """Stand for the opening of a stage that has no folder."""
    raise RuntimeError(f"{folder}: this stage is not kept")


@dataclass(frozen=True)
class TrainSettings:
    """What decides a training."""

    training: TrainingConfig
    seed: int
    batch_size: int  # of the guard's measurements, which do not depend on it
    fine_tunes: bool  # whether a baseline of its own is there to start from

    uncounted = ("batch_size",)
    unrecorded = ("batch_size",)

    @classmethod
    def of(cls, config: Config, training: TrainingConfig) -> TrainSettings:
        """Return a run's."""
        size, trained = config.evaluation.batch_size, config.baseline is not None
        return cls(training, config.seed, size, trained)


@dataclass(frozen=True)
class BaselineSettings:
    """What decides the baseline; null takes the checkpoint as it is."""

    baseline: TrainSettings | None


def run_training(config: Config) -> TrainingConfig:
    """Return how the suppressed model is trained."""
    return config.training


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
        name=f"watched/{name}",
        about=f"the text that {name}.guard watches, packed",
        needs=needs(corpus, texts),
        settings=asked,
        section="evaluation.perplexity",
        make=_pack_watched,
        load=lambda folder, get: artifacts.load_texts(folder),
        files=TEXT_FILES,
        command="train",
        kept=lambda config: bool(asked(config)),
    )


def _pack_watched(
    work: Work, wanted: Mapping[str, HeldOutText], text: PreparedCorpus, data_dir: Path
) -> Mapping[str, Corpus]:
    if wanted:
        pack_texts(work, wanted, text, data_dir)
    return {}


def baseline(
    name: str, corpus: Need[PreparedCorpus], initial: Need[Checkpoint]
) -> StageOf[Checkpoint]:
    """Declare the model trained on everything, or the checkpoint as it is."""
    folder = name.replace("/", "-")

    def settings(config: Config) -> BaselineSettings:
        given = config.baseline
        return BaselineSettings(None if given is None else TrainSettings.of(config, given))

    return Stage(
        name=name,
        about="the model trained on every token",
        needs=needs(corpus, initial, watched(folder, corpus, lambda config: config.baseline)),
        settings=settings,
        make=train_baseline,
        load=open_checkpoint,
        files=MODEL_FILES,
        kept=lambda config: config.baseline is not None,
        total=lambda settings, text, *_: training_tokens(text, settings.baseline),
        passes=lambda settings, noun: TRAINING,
    )


def train_baseline(
    work: Work,
    settings: BaselineSettings,
    text: PreparedCorpus,
    initial: Checkpoint,
    watched: Mapping[str, Corpus],
) -> Checkpoint:
    """Train on every token."""
    if settings.baseline is None:
        return initial
    trained(work, settings.baseline, text, initial.open(), None, watched)
    return initial


def train_suppressed(
    work: Work,
    settings: TrainSettings,
    text: PreparedCorpus,
    initial: Checkpoint,
    baseline: Checkpoint,
    selection: Selection | None,
    watched: Mapping[str, Corpus],
) -> Checkpoint:
    """Train without learning the selected tokens."""
    start = start_of(settings, initial, baseline)
    trained(work, settings, text, start.open(), selection, watched)
    return start


def start_of(settings: TrainSettings, initial: Checkpoint, baseline: Checkpoint) -> Checkpoint:
    """Return what a training starts from."""
    fine_tuned = settings.training.start == "baseline" and settings.fine_tunes
    return baseline if fine_tuned else initial


def trained(
    work: Work,
    settings: TrainSettings,
    text: PreparedCorpus,
    model: nn.Module,
    selection: Selection | None,
    watched: Mapping[str, Corpus],
) -> None:
    """Train a model without learning what is selected, and write it."""
    found = train(
        model,
        text.corpus,
        selection,
        settings.training,
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
        measure=_measure(settings.training.guard, watched, settings.batch_size),
    )
    write_model(work.path, found, text.tokenizer)


def write_model(folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a model and the tokenizer as a checkpoint, on the main rank."""
    if ranks.is_main():
        cast(PreTrainedModel, model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def open_checkpoint(folder: Path, get: Get) -> Checkpoint:
    """Return the model in a stage's folder."""
    return Checkpoint(lambda: load_checkpoint(folder))


def training_tokens(text: PreparedCorpus, settings: TrainSettings | None) -> int | None:
    """Return how many tokens a training goes through, over all processes."""
    epochs = settings.training.epochs if settings else None
    return None if epochs is None else int(text.corpus.tokens.size * epochs)


def _measure(
    guard: Guard | None, watched: Mapping[str, Corpus], size: int
) -> Callable[[nn.Module], float] | None:
    """Return what gives a model's perplexity on the text that is watched, if any is."""
    if guard is None:
        return None
    return lambda model: perplexity(model, watched[guard.text], size)


# what each token teaches


@dataclass(frozen=True)
class FitSettings:
    """What decides the curvature."""

    curvature: CurvatureConfig
    seed: int


def fitted(
    name: str, corpus: Need[PreparedCorpus], baseline: Need[Checkpoint]
) -> StageOf[Curvature]:
    """Declare H, from a sample of blocks and labels drawn from the model."""

    def make(
        work: Work, settings: FitSettings, text: PreparedCorpus, baseline: Checkpoint
    ) -> Curvature:
        return fit(
            baseline.model,
            text.corpus,
            settings.curvature,
            seed=settings.seed,
            progress=work.progress,
        )

    def total(settings: FitSettings, text: PreparedCorpus, *rest: Any) -> int:
        blocks, length = text.corpus.tokens.shape
        sampled = min(settings.curvature.sample_blocks, blocks) * length
        return int(sampled * (2 if settings.curvature.kind == "ekfac" else 1)) // ranks.world_size()

    return Stage(
        name=name,
        about="H: the Fisher information, from a sample of blocks",
        needs=needs(corpus, baseline),
        settings=lambda config: FitSettings(config.curvature, config.seed),
        make=make,
        save=artifacts.save_curvature,
        load=lambda folder, get: artifacts.load_curvature(folder),
        files=("curvature.safetensors",),
        total=total,
        passes=lambda settings, noun: FITTING,
    )


def aimed(
    name: str,
    queries: Need[Contrast],
    baseline: Need[Checkpoint],
    curvature: Need[Curvature],
) -> StageOf[Direction]:
    """Declare v = (H + μ)⁻¹ (g_tox - g_safe), where learning toxicity moves the weights (Eq. 7)."""

    def make(
        work: Work,
        settings: DirectionConfig,
        contrast: Contrast,
        baseline: Checkpoint,
        curvature: Curvature,
    ) -> Direction:
        return aim(baseline.model, contrast, curvature, settings)

    return Stage(
        name=name,
        about="v = (H + μ)⁻¹ (g_tox - g_safe): where learning toxicity moves the weights (Eq. 7)",
        needs=needs(queries, baseline, curvature),
        settings=lambda config: config.direction,
        section="direction",
        make=make,
        save=artifacts.save_direction,
        load=lambda folder, get: artifacts.load_direction(folder),
        files=("direction.safetensors",),
    )


def score_corpus(
    work: Work,
    settings: ScoreConfig,
    text: PreparedCorpus,
    baseline: Checkpoint,
    direction: Direction,
    logprobs: LogprobFiles | None,
) -> TokenScores:
    """Score every token of the corpus, or take what an engine of somebody else's has found."""
    model, corpus, sink = baseline.model, text.corpus, shards(work, text, settings.shard_blocks)
    if logprobs is not None:
        return score_from_logprobs(
            model, corpus, direction, logprobs, sink=sink, progress=work.progress
        )
    return score(model, corpus, direction, settings, sink=sink, progress=work.progress)


def scoring_passes(settings: Any, scores: Callable[[], TokenScores]) -> float:
    """Return the forward passes that a scored token has cost, by the engine that was used."""
    return ENGINES.get(str(scores().metadata.get("engine")), ENGINES["difference"])


def shards(work: Work, text: PreparedCorpus, blocks: int = SHARD_BLOCKS) -> artifacts.ScoreShards:
    """Return where scores go as they are made."""
    shape = (int(text.corpus.tokens.shape[0]), int(text.corpus.tokens.shape[1]))
    return artifacts.ScoreShards(work.path, shape, blocks, work.keep)


@dataclass(frozen=True)
class SmoothSettings:
    """What decides the scores that tokens are selected by."""

    smoothing: SmoothingConfig
    lexicon: LexiconConfig

    @property
    def changes(self) -> bool:
        """Whether the scores become others."""
        return self.smoothing != SmoothingConfig(unit=self.smoothing.unit) or self.lexicon.share > 0


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
        make=smooth_scores,
        save=artifacts.save_scores,
        load=lambda folder, get: artifacts.load_scores(folder, get(corpus).corpus),
        files=SCORE_FILES,
        kept=lambda config: settings(config).changes,
    )


def smooth_scores(
    work: Work,
    settings: SmoothSettings,
    text: PreparedCorpus,
    contrast: Contrast,
    scores: TokenScores,
) -> TokenScores:
    """Smooth and blend scores of this corpus; they are themselves where neither is asked for."""
    if not settings.changes:
        return scores
    spelt, words = spelling(text.tokenizer), settings.lexicon
    found = smooth(scores, settings.smoothing, spelt)
    if words.share:
        known = lexicon(text.corpus, contrast, words.pseudo_count, spelt)
        found = blend(found, known, words.share)
    return written(work, text, found)


def written(work: Work, text: PreparedCorpus, scores: TokenScores) -> TokenScores:
    """Write scores that were made all at once, or are made as they are asked for."""
    sink = shards(work, text)
    for rows in sink.missing():
        sink.put(rows, scores.values[rows])
    return scores


def select_tokens(work: Work, settings: SelectionConfig, scores: TokenScores) -> Selection:
    """Select tokens, and write the mask with each token's score beside it."""
    selection = select(scores, settings)
    if ranks.is_main():
        artifacts.save_selection(work.path, selection, scores)
    return selection


# what the models say


@dataclass(frozen=True)
class SampleSettings:
    """What decides continuations, beside the model and the prompts."""

    sampling: Sampling
    seed: int

    @classmethod
    def of(cls, config: Config) -> SampleSettings:
        """Return a run's."""
        return cls(config.evaluation.sampling, config.seed)


def sampled(
    name: str, model: Need[Checkpoint], corpus: Need[PreparedCorpus], prompts: Need[PromptSets]
) -> StageOf[Tables]:
    """Declare what a model says to the prompts."""

    def make(
        work: Work,
        settings: SampleSettings,
        text: PreparedCorpus,
        model: Checkpoint,
        prompts: PromptSets,
    ) -> Tables:
        return continuations(work, settings, text, model, prompts)

    return Stage(
        name=f"sample/{folder_name(name)}",
        about=f"what {name} says to the prompts",
        needs=needs(corpus, model, prompts),
        settings=SampleSettings.of,
        make=make,
        save=artifacts.save_samples,
        load=lambda folder, get: artifacts.load_samples(folder),
        files=SAMPLE_FILES,
        command="evaluate",
        passes=lambda settings, noun: GENERATING,
    )


def continuations(
    work: Work,
    settings: SampleSettings,
    text: PreparedCorpus,
    model: Checkpoint,
    prompts: PromptSets,
    processors: Processors = tuple,
    seed_of: Callable[[int, str], int] = derived_seed,
) -> Tables:
    """Draw continuations, a prompt set after the other; each is kept as soon as it is whole.

    ``seed_of`` gives a set's seed by the run's and its name.
    """
    if not ranks.is_main():
        return {}
    keep = artifacts.Samples(work.path, list(prompts), work.keep)
    return {
        name: keep(
            name,
            lambda name=name, asked=asked: generate_table(  # type: ignore[misc]
                model.model,
                text.tokenizer,
                asked,
                settings.sampling,
                seed_of(settings.seed, name),
                work.progress,
                processors,
            ),
        )
        for name, asked in prompts.items()
    }


@dataclass(frozen=True)
class FluencySettings:
    """What decides the figures of fluency: nothing but how many sequences go together."""

    evaluation: EvaluationConfig

    unrecorded = ("evaluation",)


def fluent(
    name: str,
    model: Need[Checkpoint],
    corpus: Need[PreparedCorpus],
    held_out: Need[Mapping[str, Corpus]],
) -> StageOf[Fluency]:
    """Declare a model's perplexity on held-out text, and its accuracy on last words."""

    def make(
        work: Work,
        settings: FluencySettings,
        text: PreparedCorpus,
        model: Checkpoint,
        held_out: Mapping[str, Corpus],
        lambada: list[str] | None,
    ) -> Fluency:
        if not ranks.is_main():
            return Fluency(perplexity={})
        return fluency(
            model.model, text.tokenizer, settings.evaluation, held_out, lambada, work.progress
        )

    return Stage(
        name=f"fluency/{folder_name(name)}",
        about=f"how fluent {name} is",
        needs=needs(corpus, model, held_out, LAMBADA),
        settings=lambda config: FluencySettings(config.evaluation),
        make=make,
        save=save_figures,
        load=figures_as(Fluency),
        files=(FIGURES,),
        command="evaluate",
        passes=lambda settings, noun: GENERATING,
    )


@dataclass(frozen=True)
class JudgeSettings:
    """What decides the figures of toxicity, beside the continuations and the judges."""

    evaluation: EvaluationConfig
    threshold: float
    unjudged: str
    resamples: int
    seed: int

    unrecorded = ("evaluation",)

    @classmethod
    def of(cls, config: Config) -> JudgeSettings:
        """Return a run's."""
        asked = config.evaluation
        return cls(asked, asked.threshold, asked.unjudged, asked.resamples, config.seed)


def judged(name: str, samples: Need[Tables]) -> StageOf[JudgedModel]:
    """Declare what the judges make of a model's continuations."""
    return Stage(
        name=f"judge/{folder_name(name)}",
        about=f"what the judges make of what {name} says",
        needs=needs(samples, JUDGES),
        settings=JudgeSettings.of,
        make=judge_samples,
        save=save_figures,
        load=figures_as(JudgedModel),
        files=(FIGURES,),
        command="evaluate",
    )


def judge_samples(
    work: Work, settings: JudgeSettings, tables: Tables, judges: list[Judge]
) -> JudgedModel:
    """Judge continuations."""
    if not ranks.is_main():
        return JudgedModel(judges={})
    return JudgedModel(judges=judge_tables(judges, tables, settings.evaluation, settings.seed))


def save_figures(folder: Path, figures: Any) -> None:
    """Write figures as JSON."""
    write_typed(folder / FIGURES, figures)


def figures_as(kind: type[Figures]) -> Callable[[Path, Get], Figures]:
    """Return what reads figures of a kind that ``save_figures`` wrote."""
    return lambda folder, get: read_typed(folder / FIGURES, kind)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was found of both models, and how well the scores find what people marked."""

    models: Mapping[str, ModelFigures]
    localisation: Localisation


def evaluate_models(
    work: Work,
    seed: int,
    toxicity_before: JudgedModel,
    toxicity_after: JudgedModel,
    fluency_before: Fluency,
    fluency_after: Fluency,
    scores: TokenScores,
    smoothed: TokenScores,
) -> Evaluation:
    """Put together what was found of both models, and set the scores against human marks."""
    models = {
        "baseline": ModelFigures.of(toxicity_before.judges, fluency_before),
        "suppressed": ModelFigures.of(toxicity_after.judges, fluency_after),
    }
    if not scores.corpus.marked.any():
        return Evaluation(models=models, localisation=Localisation())
    localised = localisation_of(scores, seed)
    if smoothed is not scores:
        localised = replace(localised, smoothed=localisation_of(smoothed, seed))
    return Evaluation(models=models, localisation=localised)


def write_report_and_page(
    work: Work,
    settings: ReportConfig,
    evaluation: Evaluation,
    text: PreparedCorpus,
    smoothed: TokenScores,
    selection: Selection,
) -> None:
    """Write report.json and report.html."""
    if not ranks.is_main():
        return
    report = Report(
        version=VERSION,
        config_fingerprint=work.fingerprint,
        models=evaluation.models,
        localisation=evaluation.localisation,
        selection=SelectionSummary(
            threshold=selection.threshold,
            budget=selection.budget,
            selected=int(selection.suppress.sum()),
            documents=len(selection.ranking),
        ),
        cost=dict(work.costs),
    )
    write_report(work.path / "report.json", report)
    page = render_page(report, text.corpus, smoothed, selection, settings.top, settings.title)
    write_text(work.path / "report.html", page)
