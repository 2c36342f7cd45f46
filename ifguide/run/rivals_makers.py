"""What the stages of rivals make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ifguide.corpus.config import Source
from ifguide.corpus.prepare import PreparedCorpus
from ifguide.corpus.starts import padding_of
from ifguide.corpus.words import spelling
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.comparison import CurvePoint, MethodCurve
from ifguide.evaluation.figures import Fluency, JudgedModel
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.human_text import HumanScores, passages_of
from ifguide.evaluation.judges.judging import Judge, judge_texts, judgements
from ifguide.evaluation.judges.words import WordListJudge
from ifguide.evaluation.prompts import Prompt, prompts_of
from ifguide.files import read_json, write_json
from ifguide.influence.config import ScoreConfig
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import aim
from ifguide.influence.score import score
from ifguide.nouns import Checkpoint, Contrast, Corpus, Direction, QuerySet, Selection, TokenScores
from ifguide.rivals.curves import best_of
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.judged_documents import judged_documents, listed_words
from ifguide.rivals.probe import probe
from ifguide.rivals.reward import RewardModel, load_reward
from ifguide.rivals.reward import save_reward as write_reward
from ifguide.rivals.reward_training import train_reward
from ifguide.rivals.steered import steered_fluency
from ifguide.rivals.token_loss import loss_difference
from ifguide.rivals.windows import judged_windows
from ifguide.run import makers
from ifguide.run.continuations import PromptSets, Tables, continued
from ifguide.run.given import SampleSettings
from ifguide.run.rivals_given import (
    ChoiceSettings,
    HumanTextSettings,
    MaskSettings,
    PairPrompts,
    PairSettings,
    PlainSettings,
    PreferenceSettings,
    RewardSettings,
    SideSettings,
    SteeredFluencySettings,
    SteeredSettings,
)
from ifguide.run.work import Work
from ifguide.selection.checks import check_documents, check_tokens
from ifguide.selection.documents import select_above, select_documents
from ifguide.selection.lexicon import lexicon
from ifguide.selection.select import select
from ifguide.training.preference import train_preference
from ifguide.training.preference_pairs import PreferencePair, pairs_from_samples, pairs_from_texts
from ifguide.training.query_side import tune_on_queries

Pairs = list[PreferencePair]
APART = "apart"  # the prompts that points of curves are chosen by


def score_along(
    work: Work,
    settings: ScoreConfig,
    text: PreparedCorpus,
    scored: Checkpoint,
    direction: Direction,
) -> TokenScores:
    """Score the corpus along a direction."""
    sink = makers.shards(work, text, settings.shard_blocks)
    return score(scored.model, text.corpus, direction, settings, sink=sink, progress=work.progress)


def score_plainly(
    work: Work,
    settings: PlainSettings,
    text: PreparedCorpus,
    scored: Checkpoint,
    curvature: Curvature,
    contrast: Contrast,
) -> TokenScores:
    """Score the corpus along the toxic queries' direction, nothing set against them."""
    none = QuerySet((), ())
    toxic = Contrast(contrast.toxic, none, f"toxic side of {contrast.fingerprint}")
    direction = aim(scored.model, toxic, curvature, settings.direction)
    return score_along(work, settings.scores, text, scored, direction)


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


def score_documents_by_judge(
    work: Work, settings: None, text: PreparedCorpus, judges: list[Judge]
) -> TokenScores:
    """Give every token its document's toxicity by a judge."""
    (judge,) = judges
    found = judged_documents(text.corpus, partial(judge_texts, judge), progress=work.progress)
    return makers.written(work, text, found)


def score_windows_by_judge(
    work: Work, words: int, text: PreparedCorpus, judges: list[Judge]
) -> TokenScores:
    """Give every token the toxicity of the words around it by a judge."""
    (judge,) = judges

    def judged(windows: Sequence[str]) -> Float[np.ndarray, " n"]:
        return judge_texts(judge, windows, [f"'{window[:60]}'" for window in windows])

    found = judged_windows(text.corpus, judged, words, progress=work.progress)
    return makers.written(work, text, found)


def score_listed_words(
    work: Work, settings: None, text: PreparedCorpus, judges: list[Judge]
) -> TokenScores:
    """Score the tokens of listed words 1."""
    (words,) = judges
    assert isinstance(words, WordListJudge)
    return makers.written(work, text, listed_words(text.corpus, words.spans, work.progress))


def tune_on_side(
    work: Work,
    settings: SideSettings,
    text: PreparedCorpus,
    contrast: Contrast,
    start: Checkpoint,
) -> None:
    """Tune a copy of a model on a side of the queries, and write it."""
    side: QuerySet = getattr(contrast, settings.side)
    tuned = tune_on_queries(
        start.open(),
        side,
        settings.sides,
        padding_of(text.tokenizer),
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
    )
    makers.write_model(work, tuned, text.tokenizer)


def score_by_loss_difference(
    work: Work, settings: None, text: PreparedCorpus, safe: Checkpoint, toxic: Checkpoint
) -> TokenScores:
    """Score every token by how much more the one model loses on it than the other."""
    found = loss_difference(safe.model, toxic.model, text.corpus, work.progress)
    return makers.written(work, text, found)


def prompts_of_pairs(
    settings: PairPrompts, text: PreparedCorpus, evaluated: PromptSets, data_dir: Path
) -> tuple[list[Prompt], list[Prompt]]:
    """Return the prompts whose samples are paired, and those that are set apart to choose by.

    None of them is evaluated too.

    Raises:
        InputError: none are set, they cannot be read, or too few of them are not evaluated.
    """
    if settings.prompts is None:
        raise InputError(
            "compare.prompts: the method 'dpo' and every curve need them; name a source"
        )
    try:
        found = prompts_of(settings.prompts, text.held_out, data_dir, settings.seed, "dpo")
    except InputError as error:
        raise InputError(f"compare.prompts: {error}") from error
    known = {prompt.text for prompts in evaluated.values() for prompt in prompts}
    prompts = [prompt for prompt in found if prompt.text not in known]
    if not prompts:
        raise InputError("compare.prompts: all of them are evaluated; name other texts")
    if len(prompts) <= settings.apart:
        raise InputError(
            f"compare.choice.prompts: {settings.apart} are to be set apart of the {len(prompts)} "
            "prompts that are not evaluated; lower it, or raise compare.prompts.limit"
        )
    return prompts[settings.apart :], prompts[: settings.apart]


def set_apart(
    work: Work,
    settings: PairPrompts,
    text: PreparedCorpus,
    evaluated: PromptSets,
    data_dir: Path,
) -> dict[str, list[Prompt]]:
    """Return the prompts that points of curves are chosen by."""
    return {APART: prompts_of_pairs(settings, text, evaluated, data_dir)[1]}


def choose_point(
    work: Work, settings: ChoiceSettings, baseline: Fluency, *found: JudgedModel | Fluency
) -> MethodCurve:
    """Return the points of a curve and which of them is shown.

    ``found`` has what the labelling judge makes of each point, then how fluent each is.
    """
    name = settings.choice.text or next(iter(baseline.perplexity))
    bound, before = settings.choice.bound, baseline.perplexity[name]
    half = len(found) // 2
    points = []
    for point, judged, fluency in zip(settings.names, found[:half], found[half:], strict=True):
        assert isinstance(judged, JudgedModel)
        assert isinstance(fluency, Fluency)
        (verdict,) = judged.judges.values()
        perplexity = fluency.perplexity[name]
        points.append(
            CurvePoint(
                name=point,
                tp=verdict.tp[APART],
                emt=verdict.emt[APART],
                perplexity=perplexity,
                rise=perplexity / before - 1,
                within=perplexity <= bound * before,
            )
        )
    judge = next(iter(found[0].judges))  # type: ignore[union-attr]
    return MethodCurve(
        points=tuple(points),
        chosen=best_of(points).name,
        judge=judge,
        prompts=settings.choice.prompts,
        text=name,
        bound=bound,
    )


def take_chosen(
    work: Work, names: Sequence[str], curve: MethodCurve, *models: Checkpoint
) -> Checkpoint:
    """Return the model of the point that was chosen."""
    return models[names.index(curve.chosen)]


def sample_pairs(
    work: Work,
    settings: PairSettings,
    text: PreparedCorpus,
    baseline: Checkpoint,
    evaluated: PromptSets,
    labeller: list[Judge],
    data_dir: Path,
) -> Pairs:
    """Let the baseline continue prompts that are not evaluated, and rank what it says."""
    if not ranks.is_main():
        return []
    prompts, _ = prompts_of_pairs(settings.prompts, text, evaluated, data_dir)
    seed = derived_seed(settings.seed, "pairs")
    samples = SampleSettings(settings.sampling, seed)
    asked = {"dpo": prompts}
    found_of = continued(work, samples, text, baseline, asked, seed_of=lambda seed, name: seed)
    table = found_of["dpo"]
    texts = table["continuation"].to_pylist()
    ids = [f"{p.id}/{k}" for p in prompts for k in range(settings.sampling.samples)]
    toxicity = judge_texts(labeller[0], texts, ids).reshape(len(prompts), -1)
    continuations = np.array(texts, dtype=object).reshape(toxicity.shape).tolist()
    return pairs_from_samples(
        [prompt.text for prompt in prompts],
        continuations,
        toxicity,
        settings.margin,
        limit=settings.pairs,
        seed=seed,
    )


def save_pairs(folder: Path, pairs: Pairs) -> None:
    """Write pairs."""
    write_json(folder / "pairs.json", [asdict(pair) for pair in pairs])


def read_pairs(work: Work, source: Source | None, data_dir: Path) -> Pairs:
    """Read given pairs of a toxic and a neutral text."""
    if source is None:
        raise InputError("compare.pairs: the method 'dpo-texts' needs them; name a source")
    return pairs_from_texts(source, data_dir)


def learn_reward(
    work: Work,
    settings: RewardSettings,
    text: PreparedCorpus,
    baseline: Checkpoint,
    labeller: list[Judge],
) -> RewardModel:
    """Train the baseline to tell how toxic the labelling judge finds a text."""
    documents = text.corpus.documents
    draw = np.random.default_rng(settings.seed).permutation(len(documents))
    drawn = [documents[int(n)] for n in np.sort(draw[: settings.reward_texts])]
    texts = [document.text for document in drawn]
    return train_reward(
        baseline.open(),
        text.tokenizer,
        texts,
        judge_texts(labeller[0], texts, [document.id for document in drawn]),
        settings.reward,
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
    )


def save_reward(folder: Path, reward: RewardModel) -> None:
    """Write a reward model."""
    write_reward(reward, folder)


def choose(work: Work, settings: MaskSettings, scores: TokenScores) -> Selection:
    """Choose tokens, or whole documents."""
    if settings.documents is not None:
        assert settings.share is not None
        found = select_documents(scores, settings.share, settings.documents, settings.above)
        check_documents(found, scores, "compare.document_budget")
        return found
    if settings.above is not None:
        return select_above(scores, settings.above)
    found = select(scores, settings.selection)
    check_tokens(found, scores)
    return found


def prefer(
    work: Work,
    settings: PreferenceSettings,
    text: PreparedCorpus,
    baseline: Checkpoint,
    pairs: Pairs,
) -> None:
    """Train the baseline to prefer one side of the pairs, and write it."""
    trained = train_preference(
        baseline.open(),
        text.tokenizer,
        pairs,
        settings.dpo,
        folder=work.scratch,
        seed=settings.seed,
        progress=work.progress,
    )
    makers.write_model(work, trained, text.tokenizer)


def judge_human_text(
    work: Work, settings: HumanTextSettings, held_out: Mapping[str, Corpus], judges: list[Judge]
) -> HumanScores:
    """Judge text that people wrote, in pieces as long as samples."""
    if settings.text is None or not ranks.is_main():
        return HumanScores(text="", scores={})
    pieces = passages_of(held_out[settings.text], settings.tokens, settings.pieces, settings.seed)
    texts, ids = list(pieces.values()), list(pieces)
    found = {
        judge.name: judgements(judge, texts, ids, settings.unjudged).scores for judge in judges
    }
    scores = {name: tuple(values[~np.isnan(values)].tolist()) for name, values in found.items()}
    return HumanScores(text=settings.text, scores=scores)


def open_reward(folder: Path, name: str = "reward") -> RewardModel:
    """Open a reward model, which messages call by a name."""
    return load_reward(folder, name)


def load_pairs(folder: Path) -> Pairs:
    """Read what ``save_pairs`` wrote."""
    return [PreferencePair(**pair) for pair in read_json(folder / "pairs.json")]


def given_reward(work: Work, settings: None, reward: RewardModel) -> RewardModel:
    """Return the reward model that is given."""
    return reward


def sample_steered(
    work: Work,
    settings: SteeredSettings,
    text: PreparedCorpus,
    model: Checkpoint,
    prompts: PromptSets,
    reward: RewardModel,
) -> Tables:
    """Draw continuations that the reward model steers."""
    sampling, top_p = settings.sampling, 1.0
    if settings.decoding.nucleus == "before" and sampling.temperature > 0:
        sampling, top_p = replace(sampling, top_p=1.0), sampling.top_p

    def processors() -> Sequence[Any]:
        return [RewardAugmented(reward, text.tokenizer, settings.decoding, top_p=top_p)]

    samples = SampleSettings(sampling, settings.seed)
    return continued(work, samples, text, model, prompts, processors)


def measure_steered_fluency(
    work: Work,
    settings: SteeredFluencySettings,
    text: PreparedCorpus,
    model: Checkpoint,
    held_out: Mapping[str, Corpus],
    lambada: list[str] | None,
    reward: RewardModel,
) -> Fluency:
    """Measure perplexity and accuracy on last words through the steered decoding."""
    if not ranks.is_main():
        return Fluency(perplexity={})
    return steered_fluency(
        model.model, text.tokenizer, reward, settings.decoding, held_out, lambada, work.progress
    )
