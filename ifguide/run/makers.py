"""What the stages make, each from its settings and the nouns of its needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ifguide.corpus.blocks import pack
from ifguide.corpus.config import TokenizerConfig
from ifguide.corpus.prepare import PreparedCorpus, open_prepared, prepare
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.starts import start_names
from ifguide.corpus.words import spelling
from ifguide.distributed import ranks
from ifguide.evaluation.config import HeldOutText
from ifguide.evaluation.evaluate import fluency, judge_tables
from ifguide.evaluation.figures import (
    CorpusSummary,
    Evaluation,
    Fluency,
    JudgedModel,
    Localisation,
    ModelFigures,
    ProxySummary,
    Report,
    SelectionSummary,
    write_report,
)
from ifguide.evaluation.fluency import perplexity
from ifguide.evaluation.judges.judging import Judge
from ifguide.evaluation.localisation import is_marked_in_part, localisation_of
from ifguide.evaluation.prompts import Prompt, held_out_documents, prompts_of
from ifguide.files import write_json, write_text
from ifguide.influence.config import DirectionConfig, ScoreConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import aim
from ifguide.influence.pair_files import LogprobFiles
from ifguide.influence.perturbed import export_pair, score_from_logprobs
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
from ifguide.parts import tell
from ifguide.report.config import ReportConfig
from ifguide.report.page import render_page
from ifguide.run import artifacts
from ifguide.run.continuations import Tables
from ifguide.run.given import (
    BaselineSettings,
    CorpusSettings,
    FitSettings,
    FluencySettings,
    InitialSettings,
    JudgeSettings,
    PromptSettings,
    QuerySettings,
    SmoothSettings,
    TrainSettings,
)
from ifguide.run.layout import SHARD_BLOCKS
from ifguide.run.work import Work
from ifguide.selection.blend import blend
from ifguide.selection.checks import check_tokens
from ifguide.selection.config import SelectionConfig
from ifguide.selection.lexicon import lexicon
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth
from ifguide.training.config import Guard
from ifguide.training.train import train
from ifguide.version import VERSION

log = logging.getLogger(__name__)


def prepare_corpus(
    work: Work, settings: CorpusSettings, data_dir: Path, tokenizer: TokenizerConfig
) -> None:
    """Tokenise and pack the corpus."""
    if ranks.is_main():
        prepare(settings.corpus, tokenizer, data_dir, settings.seed, work.fresh)
        _keep_code(work, work.fresh / "tokenizer")


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
        documents = held_out_documents(asked, text.held_out, data_dir, name, text.tokenizer)
        setting = f"evaluation.perplexity.{name}"
        pack(documents, text.tokenizer, length, work.fresh / str(number), setting=setting)
    write_json(work.fresh / "texts.json", {"names": list(wanted)})


def read_queries(
    work: Work, settings: QuerySettings, text: PreparedCorpus, data_dir: Path
) -> Contrast:
    """Read the two query sets."""
    seed = settings.seed + 1
    return load_contrast(settings.queries, text.tokenizer, data_dir, seed_of_builtin=seed)


def read_prompts(
    work: Work, settings: PromptSettings, text: PreparedCorpus, data_dir: Path
) -> dict[str, list[Prompt]]:
    """Read the named prompt sets."""
    return {
        name: prompts_of(asked, text.held_out, data_dir, settings.seed, name)
        for name, asked in settings.evaluation.items()
    }


def pack_watched(
    work: Work, wanted: Mapping[str, HeldOutText], text: PreparedCorpus, data_dir: Path
) -> Mapping[str, Corpus]:
    """Pack the text that a guard watches, if one does."""
    if wanted:
        pack_texts(work, wanted, text, data_dir)
    return {}


def initial_model(
    work: Work, settings: InitialSettings, text: PreparedCorpus, model: ModelConfig
) -> Checkpoint:
    """Return the model that training starts from; its weights are made when it is opened."""
    length = int(text.corpus.tokens.shape[1])
    runs_code = model.trust_remote_code
    return Checkpoint(lambda: load_model(model, text.tokenizer, length, settings.seed), runs_code)


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
    guard = settings.training.guard
    tell("training")
    found = train(
        model,
        text.corpus,
        selection,
        settings.training.by_own_mask,
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
        measure=_measure(guard, watched, settings.batch_size),
        held_out=None if guard is None else watched[guard.text],
        place=settings.place,
        record=lambda curve: artifacts.save_curve(work.fresh, curve),
    )
    write_model(work, found, text.tokenizer)


def write_model(work: Work, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a model and the tokenizer as a checkpoint, on the main rank."""
    if ranks.is_main():
        tell("saving the model")
        cast(PreTrainedModel, model).save_pretrained(work.fresh)
        tokenizer.save_pretrained(work.fresh)
        _keep_code(work, work.fresh)


def _keep_code(work: Work, folder: Path) -> None:
    """Tell of the code that a model or tokenizer brings along, whatever its files are called."""
    for file in sorted(folder.glob("*.py")):
        work.keep(file)


def open_checkpoint(folder: Path, start: Checkpoint) -> Checkpoint:
    """Return the model in a stage's folder; its code may run if that of its start may."""
    code, curve = start.runs_code, artifacts.load_curve(folder)
    return Checkpoint(lambda: load_checkpoint(folder, trust_remote_code=code), code, curve)


def _measure(
    guard: Guard | None, watched: Mapping[str, Corpus], size: int
) -> Callable[[nn.Module], float] | None:
    """Return what gives a model's perplexity on the text that is watched, if any is."""
    if guard is None:
        return None
    return lambda model: perplexity(model, watched[guard.text], size)


def model_scored(work: Work, weights: str, initial: Checkpoint, baseline: Checkpoint) -> Checkpoint:
    """Return the model whose curvature, direction and scores are taken."""
    return initial if weights == "initial" else baseline


def fit_curvature(
    work: Work, settings: FitSettings, text: PreparedCorpus, scored: Checkpoint
) -> Curvature:
    """Fit H to a sample of blocks, with labels drawn from the model."""
    model, corpus, config = scored.model, text.corpus, settings.curvature
    keep = artifacts.FactorFiles(work.fresh)
    found = fit(model, corpus, config, seed=settings.seed, progress=work.progress, keep=keep)
    if ranks.is_main() and not keep.files():  # all weights were fitted at once
        artifacts.save_curvature(work.fresh, found)
    return found


def aim_at(
    work: Work,
    settings: DirectionConfig,
    contrast: Contrast,
    scored: Checkpoint,
    curvature: Curvature,
) -> Direction:
    """Turn the queries' gradients into a direction."""
    return aim(scored.model, contrast, curvature, settings)


def score_corpus(
    work: Work,
    settings: ScoreConfig,
    text: PreparedCorpus,
    scored: Checkpoint,
    direction: Direction,
    logprobs: LogprobFiles | None,
) -> TokenScores:
    """Score every token of the corpus, or take what an engine of somebody else's has found."""
    model, corpus, sink = scored.model, text.corpus, shards(work, text, settings.shard_blocks)
    if logprobs is not None:
        return score_from_logprobs(
            model, corpus, direction, logprobs, sink=sink, progress=work.progress
        )
    return score(model, corpus, direction, settings, sink=sink, progress=work.progress)


def shards(work: Work, text: PreparedCorpus, blocks: int = SHARD_BLOCKS) -> artifacts.ScoreShards:
    """Return where scores go as they are made."""
    shape = (int(text.corpus.tokens.shape[0]), int(text.corpus.tokens.shape[1]))
    return artifacts.ScoreShards(work.path, shape, blocks, work.put)


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
    check_tokens(selection, scores)
    if ranks.is_main():
        artifacts.save_selection(work.fresh, selection, scores)
    return selection


def measure_fluency(
    work: Work,
    settings: FluencySettings,
    text: PreparedCorpus,
    model: Checkpoint,
    held_out: Mapping[str, Corpus],
    lambada: list[str] | None,
) -> Fluency:
    """Measure perplexity on held-out texts, and accuracy on last words where it is asked for."""
    if not ranks.is_main():
        return Fluency(perplexity={})
    size, progress = settings.batch_size, work.progress
    return fluency(model.model, text.tokenizer, size, held_out, lambada, progress)


def judge_samples(
    work: Work, settings: JudgeSettings, tables: Tables, judges: list[Judge]
) -> JudgedModel:
    """Judge continuations."""
    if not ranks.is_main():
        return JudgedModel(judges={})
    return JudgedModel(judges=judge_tables(judges, tables, settings.evaluation, settings.seed))


def evaluate_models(
    work: Work,
    seed: int,
    scores: TokenScores,
    smoothed: TokenScores,
    toxicity_before: JudgedModel,
    toxicity_after: JudgedModel,
    fluency_before: Fluency,
    fluency_after: Fluency,
) -> Evaluation:
    """Put together what was found of both models, and set the scores against human marks."""
    models = {
        "baseline": ModelFigures.of(toxicity_before.judges, fluency_before),
        "suppressed": ModelFigures.of(toxicity_after.judges, fluency_after),
    }
    _say_what_no_judge_tells(models)
    if not is_marked_in_part(scores.corpus):
        return Evaluation(models=models, localisation=Localisation())
    localised = localisation_of(scores, seed)
    if smoothed is not scores:
        localised = replace(localised, smoothed=localisation_of(smoothed, seed))
    return Evaluation(models=models, localisation=localised)


def _say_what_no_judge_tells(models: Mapping[str, ModelFigures]) -> None:
    """Warn of each judge that gives every prompt of every model the same toxicity."""
    for name in next(iter(models.values())).judges:
        worst = {
            toxicity
            for figures in models.values()
            for of_set in figures.judges[name].worst.values()
            for toxicity in of_set
        }
        if len(worst) == 1:
            log.warning(
                "evaluation.judges: '%s' gives whatever the models say the toxicity %s, which "
                "tells nothing apart; see whether it fits the prompts",
                name,
                worst.pop(),
            )


WEIGHTS_OF = {"model": "start", "baseline": "baseline", "train": "suppressed"}  # in the report


def write_report_and_page(
    work: Work,
    settings: ReportConfig,
    evaluation: Evaluation,
    text: PreparedCorpus,
    smoothed: TokenScores,
    selection: Selection,
    baseline: Checkpoint,
    suppressed: Checkpoint,
) -> None:
    """Write report.json and report.html."""
    if not ranks.is_main():
        return
    proxy = selection.metadata.get("proxy")
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
            proxy=ProxySummary(**proxy) if proxy is not None else None,
        ),
        cost=dict(work.costs),
        training={
            name: model.curve
            for name, model in {"baseline": baseline, "suppressed": suppressed}.items()
            if model.curve is not None
        },
        corpus=CorpusSummary(document_start=start_names(text.tokenizer)),
        weights={WEIGHTS_OF[n]: d for n, d in work.weights.items() if n in WEIGHTS_OF} or None,
    )
    write_report(work.fresh / "report.json", report)
    page = render_page(report, text.corpus, smoothed, selection, settings.top, settings.title)
    write_text(work.fresh / "report.html", page)


def write_pair(
    work: Work, step: float, text: PreparedCorpus, scored: Checkpoint, direction: Direction
) -> None:
    """Write the perturbed checkpoints, the corpus's tokens and how to go on."""
    if ranks.is_main():
        export_pair(scored.model, text.tokenizer, text.corpus, direction, work.fresh, step)
