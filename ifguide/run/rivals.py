"""Rivals as stages: the models that methods come to, what they say, and what judges make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, final

from ifguide.errors import InputError
from ifguide.evaluation.figures import Fluency, JudgedModel
from ifguide.evaluation.human_text import HumanScores
from ifguide.evaluation.judges.registry import load_judge
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint, Selection, TokenScores
from ifguide.rivals.methods import BASELINE as START
from ifguide.rivals.methods import METHODS, Mask, MethodRow
from ifguide.run import factories
from ifguide.run.given import TrainSettings
from ifguide.run.layout import FIGURES, MODEL_FILES, SAMPLE_FILES
from ifguide.run.outside import JUDGES, data_folder, judges_of, texts_of
from ifguide.run.proxy import proxy_model
from ifguide.run.rivals_given import (
    HumanTextSettings,
    MaskSettings,
    PairSettings,
    PreferenceSettings,
    RewardSettings,
    SteeredSettings,
    labeller_of,
)
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
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig

if TYPE_CHECKING:
    from ifguide.corpus.config import Source
    from ifguide.rivals.reward import RewardModel
    from ifguide.run import artifacts, makers, rivals_makers
    from ifguide.run.makers import Tables
    from ifguide.run.rivals_makers import Pairs
else:
    artifacts = functions_of("ifguide.run.artifacts")
    makers = functions_of("ifguide.run.makers")
    rivals_makers = functions_of("ifguide.run.rivals_makers")

RUN = "run"  # the name of the run's own way of training, where no other is set


def _pair_prompts(config: Config) -> list[Source | None]:
    asked = config.compare.prompts
    return [asked.origin if asked else None]


LABELLER = judges_of("compare.labeller", lambda config: [labeller_of(config)])
PAIR_PROMPTS = texts_of("compare.prompts", _pair_prompts)
PAIR_TEXTS = texts_of("compare.pairs", lambda config: [config.compare.pairs])


# what rivals learn from


SAMPLED_PAIRS: StageOf[Pairs] = Stage(
    name="pairs/samples",
    about="the baseline's own samples in pairs, ranked by the labelling judge",
    needs=needs(CORPUS, BASELINE, PROMPTS, LABELLER, PAIR_PROMPTS),
    settings=PairSettings.of,
    section="compare",
    make=rivals_makers.sample_pairs,
    save=rivals_makers.save_pairs,
    load=lambda folder, get: rivals_makers.load_pairs(folder),
    files=(*SAMPLE_FILES, "pairs.json"),
    command="compare",
    passes=lambda settings, noun: factories.GENERATING,
)


GIVEN_PAIRS: StageOf[Pairs] = Stage(
    name="pairs/texts",
    about="given pairs of a toxic and a neutral text",
    needs=needs(PAIR_TEXTS),
    settings=lambda config: config.compare.pairs,
    section="compare.pairs",
    make=rivals_makers.read_pairs,
    load=factories.not_kept,
    files=(),
    kept=lambda config: False,
)
PAIRS: dict[str, StageOf[Pairs]] = {"samples": SAMPLED_PAIRS, "texts": GIVEN_PAIRS}


REWARD: StageOf[RewardModel] = Stage(
    name="reward",
    about="the reward model that decoding is steered by",
    needs=needs(CORPUS, BASELINE, LABELLER),
    settings=RewardSettings.of,
    section="compare",
    make=rivals_makers.learn_reward,
    save=rivals_makers.save_reward,
    load=lambda folder, get: rivals_makers.open_reward(folder),
    files=(*MODEL_FILES, "reward.json"),
    command="compare",
    passes=lambda settings, noun: factories.TRAINING,
)


# the models


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
            make=rivals_makers.choose,
            load=factories.not_kept,
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
        return factories.sampled(self._told(row), model, CORPUS, PROMPTS)

    def judged(self, row: MethodRow) -> StageOf[JudgedModel]:
        """Return the row's figures of toxicity."""
        told = self._told(row)
        return JUDGED[told] if told in JUDGED else factories.judged(told, self.samples(row))

    def fluency(self, row: MethodRow) -> StageOf[Fluency]:
        """Return the figures of fluency of the row's model."""
        told = self._told(row.owner)
        if told in FLUENCY:
            return FLUENCY[told]
        return factories.fluent(told, self.model(row), CORPUS, HELD_OUT)

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
        watched = factories.watched(
            f"compare.trainings.{row.training}", CORPUS, lambda config: self.training(row)
        )
        return Stage(
            name=f"model/{folder_name(row.name)}",
            about=f"the model of {row.name}: {row.method.about}",
            needs=needs(CORPUS, INITIAL, BASELINE, chosen, watched),
            settings=lambda config: TrainSettings.of(config, training),
            section=f"compare.trainings.{row.training}",
            make=makers.train_suppressed,
            load=lambda folder, get: makers.open_checkpoint(folder, get(INITIAL)),
            files=MODEL_FILES,
            command="compare",
            total=lambda settings, text, *_: factories.training_tokens(text, settings),
            passes=factories.training_passes,
        )

    def _preferring(self, row: MethodRow) -> StageOf[Checkpoint]:
        assert row.method.preferences is not None
        return Stage(
            name=f"model/{folder_name(row.name)}",
            about=f"the model of {row.name}: {row.method.about}",
            needs=needs(CORPUS, BASELINE, PAIRS[row.method.preferences]),
            settings=PreferenceSettings.of,
            section="compare",
            make=rivals_makers.prefer,
            load=lambda folder, get: makers.open_checkpoint(folder, get(BASELINE)),
            files=MODEL_FILES,
            command="compare",
            passes=lambda settings, noun: factories.TRAINING + 1 / settings.dpo.epochs,
        )


def _nothing(work: Work, settings: None) -> None:
    """Choose no token."""


EVERYTHING: StageOf[None] = Stage(
    name="nothing-chosen",
    about="no token is kept from being learnt",
    needs=needs(),
    settings=lambda config: None,
    make=_nothing,
    load=factories.not_kept,
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
    return factories.smoothed(f"smoothed/{folder_name(scorer)}", CORPUS, QUERIES, found)


def _steered(name: str, model: StageOf[Checkpoint]) -> StageOf[Tables]:
    """Declare what a model says when its decoding is steered by the reward model."""
    return Stage(
        name=f"sample/{folder_name(name)}",
        about=f"what {name} says to the prompts",
        needs=needs(CORPUS, model, PROMPTS, REWARD),
        settings=SteeredSettings.of,
        make=rivals_makers.sample_steered,
        save=artifacts.save_samples,
        load=lambda folder, get: artifacts.load_samples(folder),
        files=SAMPLE_FILES,
        command="compare",
        passes=lambda settings, noun: factories.GENERATING,
    )


HUMAN_TEXT: StageOf[HumanScores] = Stage(
    name="human_text",
    about="what the judges make of text that people wrote",
    needs=needs(HELD_OUT, JUDGES),
    settings=HumanTextSettings.of,
    section="evaluation",
    make=rivals_makers.judge_human_text,
    save=factories.save_figures,
    load=factories.figures_as(HumanScores),
    files=(FIGURES,),
    command="compare",
)
