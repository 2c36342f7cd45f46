"""IF-Guide from top to bottom (Coalson et al. 2025, arXiv 2506.01790), a stage at a time.

Each is made when a later one asks for it, kept in the run folder, and reused while all that went
into it is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifguide.evaluation.figures import Evaluation, read_report
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint
from ifguide.run import effort, factories
from ifguide.run.given import CorpusSettings, PromptSettings, QuerySettings, TrainSettings
from ifguide.run.layout import (
    CORPUS_FILES,
    FIGURES,
    MASK_FILES,
    MODEL_FILES,
    SCORE_FILES,
    TEXT_FILES,
)
from ifguide.run.outside import (
    CHECKPOINT,
    CORPUS_TEXTS,
    HELD_OUT_TEXTS,
    LOGPROBS,
    PROMPT_TEXTS,
    QUERY_TEXTS,
    TOKENIZER,
)
from ifguide.run.proxy import has_proxy_run, masked_by_proxy, scores_of, selection_of
from ifguide.run.stage import Choice, Stage, StageOf, needs

if TYPE_CHECKING:
    from ifguide.run import artifacts, makers
else:
    artifacts = functions_of("ifguide.run.artifacts")
    makers = functions_of("ifguide.run.makers")

CORPUS = Stage(
    name="corpus",
    about="documents, tokenised and packed into N blocks of T tokens",
    needs=needs(CORPUS_TEXTS, TOKENIZER),
    settings=CorpusSettings.of,
    make=makers.prepare_corpus,
    load=lambda folder, get: makers.open_corpus_of(folder, get(TOKENIZER)),
    files=CORPUS_FILES,
    effort=effort.corpus,
)
HELD_OUT = Stage(
    name="held_out",
    about="the texts that perplexity is measured on, packed",
    needs=needs(CORPUS, HELD_OUT_TEXTS),
    settings=lambda config: config.evaluation.perplexity,
    section="evaluation.perplexity",
    make=makers.pack_texts,
    load=lambda folder, get: artifacts.load_texts(folder),
    files=TEXT_FILES,
    effort=effort.held_out,
)
QUERIES = Stage(
    name="queries",
    about="what there should be less of, against what may stay",
    needs=needs(CORPUS, QUERY_TEXTS),
    settings=QuerySettings.of,
    make=makers.read_queries,
    save=artifacts.save_contrast,
    load=lambda folder, get: artifacts.load_contrast(folder),
    files=("queries.npz",),
    effort=effort.queries,
)
PROMPTS = Stage(
    name="prompts",
    about="what the models are asked to continue",
    needs=needs(CORPUS, PROMPT_TEXTS),
    settings=PromptSettings.of,
    make=makers.read_prompts,
    save=artifacts.save_prompts,
    load=lambda folder, get: artifacts.load_prompts(folder),
    files=("prompts.json",),
)
INITIAL = factories.initial("initial", CORPUS, CHECKPOINT, lambda config: config.model)
BASELINE = factories.baseline("baseline", CORPUS, INITIAL)
SCORED = Stage(
    name="scored",
    about="the model that scores are taken of: the baseline, or what its training starts from",
    needs=needs(INITIAL, BASELINE),
    settings=lambda config: config.scores.weights,
    section="scores.weights",
    make=makers.model_scored,
    load=factories.not_kept,
    files=(),
    kept=lambda config: False,
)
FIT = factories.fitted("fit", CORPUS, SCORED)
AIM = factories.aimed("aim", QUERIES, SCORED, FIT)
SCORE = Stage(
    name="score",
    about="S_ij = v . grad l_ij: what each training token teaches, along v (Eq. 8)",
    needs=needs(CORPUS, SCORED, AIM, LOGPROBS),
    settings=lambda config: config.scores,
    section="scores",
    version=2,
    make=makers.score_corpus,
    save=artifacts.save_scores,
    load=lambda folder, get: artifacts.load_scores(folder, get(CORPUS).corpus),
    files=SCORE_FILES,
    total=lambda settings, text, *_: factories.corpus_tokens(text),
    passes=factories.scoring_passes,
    effort=effort.scored,
)
SMOOTH = factories.smoothed("smooth", CORPUS, QUERIES, SCORE)
SELECT = Stage(
    name="select",
    about="the tokens that training should not learn (Algorithm 1)",
    needs=needs(SMOOTH),
    settings=lambda config: config.selection,
    section="selection",
    make=makers.select_tokens,
    load=lambda folder, get: artifacts.load_selection(folder, get(SMOOTH).corpus),
    files=MASK_FILES,
    effort=effort.selected,
)
PROXY_MASK = masked_by_proxy(CORPUS)
PROXY_SELECTION = selection_of(PROXY_MASK)
PROXY_SCORES = scores_of(PROXY_MASK)
SCORES = Choice(name="score", pick=lambda config: PROXY_SCORES if has_proxy_run(config) else SCORE)
SELECTED_BY = Choice(
    name="smooth", pick=lambda config: PROXY_SCORES if has_proxy_run(config) else SMOOTH
)
SELECTED = Choice(
    name="select", pick=lambda config: PROXY_SELECTION if has_proxy_run(config) else SELECT
)
TRAIN = Stage(
    name="train",
    about="the model trained with -λ times the loss of the selected tokens (Eq. 9)",
    needs=needs(
        CORPUS,
        INITIAL,
        BASELINE,
        SELECTED,
        factories.watched("training", CORPUS, lambda config: config.training),
    ),
    settings=lambda config: TrainSettings.of(config, config.training),
    make=makers.train_suppressed,
    load=lambda folder, get: makers.open_checkpoint(folder, get(INITIAL)),
    files=MODEL_FILES,
    total=lambda settings, text, *_: factories.training_tokens(text, settings),
    passes=factories.training_passes,
    effort=effort.trained("training", lambda config: config.training),
)
MODELS: dict[str, StageOf[Checkpoint]] = {"baseline": BASELINE, "suppressed": TRAIN}
SAMPLES = {name: factories.sampled(name, model, CORPUS, PROMPTS) for name, model in MODELS.items()}
FLUENCY = {name: factories.fluent(name, model, CORPUS, HELD_OUT) for name, model in MODELS.items()}
JUDGED = {name: factories.judged(name, samples) for name, samples in SAMPLES.items()}
EVALUATE = Stage(
    name="evaluate",
    about="toxicity and fluency of both models, and the scores against human marks",
    needs=needs(
        SCORES,
        SELECTED_BY,
        JUDGED["baseline"],
        JUDGED["suppressed"],
        FLUENCY["baseline"],
        FLUENCY["suppressed"],
    ),
    settings=lambda config: config.seed,
    section="seed",
    make=makers.evaluate_models,
    save=factories.save_figures,
    load=factories.figures_as(Evaluation),
    files=(FIGURES,),
    effort=effort.evaluated,
)
REPORT = Stage(
    name="report",
    about="what it came to, as JSON and as a page",
    needs=needs(EVALUATE, CORPUS, SELECTED_BY, SELECTED, BASELINE, TRAIN),
    settings=lambda config: config.report,
    section="report",
    make=makers.write_report_and_page,
    load=lambda folder, get: read_report(folder / "report.json"),
    files=("report.json", "report.html"),
    effort=effort.reported,
)
