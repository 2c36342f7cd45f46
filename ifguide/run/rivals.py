"""Rivals as stages: the models that methods come to, what they say, and what judges make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from ifguide.corpus.config import Source
from ifguide.corpus.prepare import PreparedCorpus
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.evaluation.config import Prompts, Sampling
from ifguide.evaluation.figures import Fluency, JudgedModel
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.human_text import HumanScores, passages_of
from ifguide.evaluation.judges.judging import Judge, judge_texts, judgements
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.prompts import prompts_of
from ifguide.files import read_json, write_json
from ifguide.nouns import Checkpoint, Corpus, Selection, TokenScores
from ifguide.rivals.config import DecodingConfig, RewardConfig
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.methods import BASELINE as START
from ifguide.rivals.methods import METHODS, Mask, MethodRow
from ifguide.rivals.proxy import proxy_model
from ifguide.rivals.reward import RewardModel, load_reward, save_reward
from ifguide.rivals.reward_training import train_reward
from ifguide.run import artifacts, makers
from ifguide.run.makers import MODEL_FILES, PromptSets, Tables, TrainSettings
from ifguide.run.outside import JUDGES, data_folder, judges_of, texts_of
from ifguide.run.scorers import SCORERS
from ifguide.run.stage import Need, Stage, StageOf, folder_name, needs
from ifguide.run.stages import (
    BASELINE,
    CORPUS,
    FLUENCY,
    HELD_OUT,
    INITIAL,
    JUDGED,
    PROMPTS,
    QUERIES,
    SMOOTH,
    TRAIN,
)
from ifguide.run.work import Work
from ifguide.selection.config import SelectionConfig
from ifguide.selection.documents import select_documents
from ifguide.selection.select import select
from ifguide.settings.config import Config
from ifguide.training.config import PreferenceConfig, TrainingConfig
from ifguide.training.preference import train_preference
from ifguide.training.preference_pairs import PreferencePair, pairs_from_samples, pairs_from_texts

RUN = "run"  # the name of the run's own way of training, where no other is set
HUMAN_TEXTS = 2000  # pieces of text that people wrote
Pairs = list[PreferencePair]


def labeller_of(config: Config) -> str:
    """Return the name of the judge that labels."""
    return config.compare.labeller or config.evaluation.judges[0]


def _pair_prompts(config: Config) -> list[Source | None]:
    asked = config.compare.prompts
    return [asked.origin if asked else None]


LABELLER = judges_of("compare.labeller", lambda config: [labeller_of(config)])
PAIR_PROMPTS = texts_of("compare.prompts", _pair_prompts)
PAIR_TEXTS = texts_of("compare.pairs", lambda config: [config.compare.pairs])


# what rivals learn from


@dataclass(frozen=True)
class PairSettings:
    """What decides the pairs that are sampled."""

    prompts: Prompts | None
    margin: float
    sampling: Sampling
    seed: int

    @classmethod
    def of(cls, config: Config) -> PairSettings:
        """Return a run's."""
        compare = config.compare
        return cls(compare.prompts, compare.margin, config.evaluation.sampling, config.seed)


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
    if settings.prompts is None:
        raise InputError("compare.prompts: the method 'dpo' needs them; name a source")
    if not ranks.is_main():
        return []
    found = prompts_of(settings.prompts, text.held_out, data_dir, settings.seed, "dpo")
    known = {prompt.text for prompts in evaluated.values() for prompt in prompts}
    prompts = [prompt for prompt in found if prompt.text not in known]
    if not prompts:
        raise InputError("compare.prompts: all of them are evaluated; name other texts")
    seed = derived_seed(settings.seed, "pairs")
    samples = makers.SampleSettings(settings.sampling, seed)
    asked = {"dpo": prompts}
    found_of = makers.continuations(
        work, samples, text, baseline, asked, seed_of=lambda seed, name: seed
    )
    table = found_of["dpo"]
    texts = table["continuation"].to_pylist()
    ids = [f"{p.id}/{k}" for p in prompts for k in range(settings.sampling.samples)]
    toxicity = judge_texts(labeller[0], texts, ids).reshape(len(prompts), -1)
    continuations = np.array(texts, dtype=object).reshape(toxicity.shape).tolist()
    return pairs_from_samples([p.text for p in prompts], continuations, toxicity, settings.margin)


def save_pairs(folder: Path, pairs: Pairs) -> None:
    """Write pairs."""
    write_json(folder / "pairs.json", [asdict(pair) for pair in pairs])


SAMPLED_PAIRS: StageOf[Pairs] = Stage(
    name="pairs/samples",
    about="the baseline's own samples in pairs, ranked by the labelling judge",
    needs=needs(CORPUS, BASELINE, PROMPTS, LABELLER, PAIR_PROMPTS),
    settings=PairSettings.of,
    section="compare",
    make=sample_pairs,
    save=save_pairs,
    load=lambda folder, get: [PreferencePair(**p) for p in read_json(folder / "pairs.json")],
    files=(*makers.SAMPLE_FILES, "pairs.json"),
    command="compare",
    passes=lambda settings, noun: makers.GENERATING,
)


def read_pairs(work: Work, source: Source | None, data_dir: Path) -> Pairs:
    """Read given pairs of a toxic and a neutral text."""
    if source is None:
        raise InputError("compare.pairs: the method 'dpo-texts' needs them; name a source")
    return pairs_from_texts(source, data_dir)


GIVEN_PAIRS: StageOf[Pairs] = Stage(
    name="pairs/texts",
    about="given pairs of a toxic and a neutral text",
    needs=needs(PAIR_TEXTS),
    settings=lambda config: config.compare.pairs,
    section="compare.pairs",
    make=read_pairs,
    load=makers.not_kept,
    files=(),
    kept=lambda config: False,
)
PAIRS: dict[str, StageOf[Pairs]] = {"samples": SAMPLED_PAIRS, "texts": GIVEN_PAIRS}


@dataclass(frozen=True)
class RewardSettings:
    """What decides the reward model."""

    reward: RewardConfig
    reward_texts: int
    seed: int

    @classmethod
    def of(cls, config: Config) -> RewardSettings:
        """Return a run's."""
        return cls(config.compare.reward, config.compare.reward_texts, config.seed)


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


def _save_reward(folder: Path, reward: RewardModel) -> None:
    save_reward(reward, folder)


REWARD: StageOf[RewardModel] = Stage(
    name="reward",
    about="the reward model that decoding is steered by",
    needs=needs(CORPUS, BASELINE, LABELLER),
    settings=RewardSettings.of,
    section="compare",
    make=learn_reward,
    save=_save_reward,
    load=lambda folder, get: load_reward(folder),
    files=(*MODEL_FILES, "reward.json"),
    command="compare",
    passes=lambda settings, noun: makers.TRAINING,
)


# the models


@dataclass(frozen=True)
class MaskSettings:
    """What decides the tokens that a method keeps from being learnt, beside the scores."""

    selection: SelectionConfig | None
    documents: str | None
    document_budget: float | None


def choose(work: Work, settings: MaskSettings, scores: TokenScores) -> Selection:
    """Choose tokens, or whole documents."""
    if settings.documents is not None:
        assert settings.document_budget is not None
        return select_documents(scores, settings.document_budget, settings.documents)  # type: ignore[arg-type]
    return select(scores, settings.selection)


@final
@dataclass(frozen=True)
class Rivals:
    """The stages of the rows of a comparison, under a run's settings."""

    config: Config

    @property
    def trainings(self) -> dict[str, TrainingConfig]:
        """The ways of training by name."""
        return self.config.compare.trainings or {RUN: self.config.training}

    def check(self, row: MethodRow) -> None:
        """Refuse a row whose settings are missing, or whose labelling judge cannot be loaded.

        Raises:
            InputError: the setting is named.
        """
        self.check_settings(row)
        if row.is_labelled:
            try:
                load_judge(labeller_of(self.config), data_folder(self.config))
            except InputError as error:
                raise InputError(f"compare.labeller: {error}") from error

    def check_settings(self, row: MethodRow) -> None:
        """Refuse a row whose settings are missing; nothing is loaded.

        Raises:
            InputError: the setting is named.
        """
        method, compare = row.owner.method, self.config.compare
        if method.mask is not None and method.mask.scorer == "proxy":
            proxy_model(self.config)
        if method.preferences == "texts" and compare.pairs is None:
            raise InputError("compare.pairs: the method 'dpo-texts' needs them; name a source")
        if method.preferences == "samples" and compare.prompts is None:
            raise InputError("compare.prompts: the method 'dpo' needs them; name a source")

    def training(self, row: MethodRow) -> TrainingConfig:
        """Return how a row's model is trained, its own objective put in."""
        training, mask = self.trainings[row.training], row.method.mask
        if mask is None or mask.objective is None:
            return training
        return replace(training, objective=mask.objective)

    def scores(self, mask: Mask) -> StageOf[TokenScores]:
        """Return the scores that a mask chooses by."""
        return _scores(mask.scorer, smoothed=mask.smoothed)

    def selection(self, mask: Mask) -> StageOf[Selection]:
        """Return what a mask keeps from being learnt; it is made whenever it is needed."""

        def settings(config: Config) -> MaskSettings:
            if mask.documents is not None:
                return MaskSettings(None, mask.documents, config.compare.document_budget)
            return MaskSettings(mask.selection or config.selection, None, None)

        return Stage(
            name="chosen",
            about="the tokens that a method keeps from being learnt",
            needs=needs(self.scores(mask)),
            settings=settings,
            make=choose,
            load=makers.not_kept,
            files=(),
            kept=lambda config: False,
        )

    def model(self, row: MethodRow) -> StageOf[Checkpoint]:
        """Return the row's model."""
        row = row.owner
        if row.method.name == START:
            return BASELINE
        if self._is_the_run_s(row):
            return TRAIN
        return self._preferring(row) if row.method.preferences else self._masked(row)

    def samples(self, row: MethodRow) -> StageOf[Tables]:
        """Return what the row says to the prompts."""
        model = self.model(row)
        if row.method.reward:
            return _steered(row.name, model)
        return makers.sampled(self._told(row), model, CORPUS, PROMPTS)

    def judged(self, row: MethodRow) -> StageOf[JudgedModel]:
        """Return the row's figures of toxicity."""
        told = self._told(row)
        return JUDGED[told] if told in JUDGED else makers.judged(told, self.samples(row))

    def fluency(self, row: MethodRow) -> StageOf[Fluency]:
        """Return the figures of fluency of the row's model."""
        told = self._told(row.owner)
        if told in FLUENCY:
            return FLUENCY[told]
        return makers.fluent(told, self.model(row), CORPUS, HELD_OUT)

    # details

    def _told(self, row: MethodRow) -> str:
        """Return what the row's stages are called after."""
        if row.method.reward:
            return row.name
        return "suppressed" if self._is_the_run_s(row.owner) else row.name

    def _is_the_run_s(self, row: MethodRow) -> bool:
        """Whether the run's own stage ``train`` is this model."""
        same = self.trainings.get(row.training) == self.config.training
        return same and row.method == METHODS.get("ours", "--methods")

    def _masked(self, row: MethodRow) -> StageOf[Checkpoint]:
        training, mask = self.training(row), row.method.mask
        chosen: Need[Selection | None] = EVERYTHING if mask is None else self.selection(mask)
        watched = makers.watched(
            f"compare.trainings.{row.training}", CORPUS, lambda config: self.training(row)
        )
        return Stage(
            name=f"model/{folder_name(row.name)}",
            about=f"the model of {row.name}: {row.method.about}",
            needs=needs(CORPUS, INITIAL, BASELINE, chosen, watched),
            settings=lambda config: TrainSettings.of(config, training),
            section=f"compare.trainings.{row.training}",
            make=makers.train_suppressed,
            load=makers.open_checkpoint,
            files=MODEL_FILES,
            command="compare",
            total=lambda settings, text, *_: makers.training_tokens(text, settings),
            passes=lambda settings, noun: makers.TRAINING,
        )

    def _preferring(self, row: MethodRow) -> StageOf[Checkpoint]:
        assert row.method.preferences is not None
        return Stage(
            name=f"model/{folder_name(row.name)}",
            about=f"the model of {row.name}: {row.method.about}",
            needs=needs(CORPUS, BASELINE, PAIRS[row.method.preferences]),
            settings=lambda config: PreferenceSettings(config.compare.dpo, config.seed),
            section="compare",
            make=prefer,
            load=makers.open_checkpoint,
            files=MODEL_FILES,
            command="compare",
            passes=lambda settings, noun: makers.TRAINING + 1 / settings.dpo.epochs,
        )


@dataclass(frozen=True)
class PreferenceSettings:
    """What decides a model that learns preferences, beside the pairs."""

    dpo: PreferenceConfig
    seed: int


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
    makers.write_model(work.path, trained, text.tokenizer)


def _nothing(work: Work, settings: None) -> None:
    """Choose no token."""


EVERYTHING: StageOf[None] = Stage(
    name="nothing-chosen",
    about="no token is kept from being learnt",
    needs=needs(),
    settings=lambda config: None,
    make=_nothing,
    load=makers.not_kept,
    files=(),
    kept=lambda config: False,
)


@cache
def _scores(scorer: str, *, smoothed: bool) -> StageOf[TokenScores]:
    """Return a scorer's scores, smoothed and blended as the run's are if so asked."""
    found = SCORERS.get(scorer, "--methods")
    if not smoothed:
        return found
    if scorer == "own":
        return SMOOTH
    return makers.smoothed(f"smooth/{folder_name(scorer)}", CORPUS, QUERIES, found)


def _steered(name: str, model: StageOf[Checkpoint]) -> StageOf[Tables]:
    """Declare what a model says when its decoding is steered by the reward model."""

    def make(
        work: Work,
        settings: SteeredSettings,
        text: PreparedCorpus,
        model: Checkpoint,
        prompts: PromptSets,
        reward: RewardModel,
    ) -> Tables:
        def processors() -> Sequence[Any]:
            return [RewardAugmented(reward, text.tokenizer, settings.decoding)]

        samples = makers.SampleSettings(settings.sampling, settings.seed)
        return makers.continuations(work, samples, text, model, prompts, processors)

    return Stage(
        name=f"sample/{folder_name(name)}",
        about=f"what {name} says to the prompts",
        needs=needs(CORPUS, model, PROMPTS, REWARD),
        settings=lambda config: SteeredSettings(
            config.evaluation.sampling, config.compare.decoding, config.seed
        ),
        make=make,
        save=artifacts.save_samples,
        load=lambda folder, get: artifacts.load_samples(folder),
        files=makers.SAMPLE_FILES,
        command="compare",
        passes=lambda settings, noun: makers.GENERATING,
    )


@dataclass(frozen=True)
class SteeredSettings:
    """What decides continuations that are steered."""

    sampling: Sampling
    decoding: DecodingConfig
    seed: int


# what judges make of text that people wrote


@dataclass(frozen=True)
class HumanTextSettings:
    """What decides the pieces of human text that are judged beside the samples."""

    text: str | None
    tokens: int
    unjudged: Literal["stop", "report"]
    pieces: int
    seed: int

    @classmethod
    def of(cls, config: Config) -> HumanTextSettings:
        """Return a run's: the first text that perplexity is measured on."""
        asked = config.evaluation
        name = next(iter(asked.perplexity), None)
        return cls(name, asked.sampling.tokens, asked.unjudged, HUMAN_TEXTS, config.seed)


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


HUMAN_TEXT: StageOf[HumanScores] = Stage(
    name="human_text",
    about="what the judges make of text that people wrote",
    needs=needs(HELD_OUT, JUDGES),
    settings=HumanTextSettings.of,
    section="evaluation",
    make=judge_human_text,
    save=makers.save_figures,
    load=makers.figures_as(HumanScores),
    files=(makers.FIGURES,),
    command="compare",
)
