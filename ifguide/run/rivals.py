"""Rivals as stages: the models that methods come to, what they say, and what judges make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, final

from ifguide.errors import InputError
from ifguide.evaluation.comparison import MethodCurve
from ifguide.evaluation.figures import Fluency, JudgedModel
from ifguide.evaluation.human_text import HumanScores
from ifguide.evaluation.judges.registry import load_judge
from ifguide.lazily import functions_of
from ifguide.nouns import Checkpoint, Selection, TokenScores
from ifguide.rivals.curves import points_of
from ifguide.rivals.methods import BASELINE as START
from ifguide.rivals.methods import METHODS, Mask, MethodRow, all_methods, rows_of
from ifguide.run import factories
from ifguide.run.given import SmoothSettings, TrainSettings
from ifguide.run.layout import FIGURES, MODEL_FILES, SAMPLE_FILES
from ifguide.run.outside import JUDGES, LAMBADA, data_folder
from ifguide.run.proxy import has_proxy_run, proxy_model
from ifguide.run.rivals_given import (
    ChoiceSettings,
    HumanTextSettings,
    MaskSettings,
    PreferenceSettings,
    SteeredFluencySettings,
    SteeredSettings,
    labeller_of,
)
from ifguide.run.rivals_sources import APART, LABELLER, PAIRS, reward_of
from ifguide.run.scorers import BY_PROXY, FILTER_JUDGE, JUDGED_SCORERS, SCORERS, WORD_LIST
from ifguide.run.stage import Need, Needs, Stage, StageOf, folder_name, needs
from ifguide.run.stages import (
    BASELINE,
    CORPUS,
    FLUENCY,
    HELD_OUT,
    INITIAL,
    JUDGED,
    PROMPTS,
    PROXY_SCORES,
    PROXY_SELECTION,
    QUERIES,
    SMOOTH,
    TRAIN,
)
from ifguide.run.work import Work
from ifguide.settings.config import Config
from ifguide.training.config import TrainingConfig

if TYPE_CHECKING:
    from ifguide.evaluation.prompts import Prompt
    from ifguide.run import artifacts, makers, rivals_makers
    from ifguide.run.continuations import Tables
else:
    artifacts = functions_of("ifguide.run.artifacts")
    makers = functions_of("ifguide.run.makers")
    rivals_makers = functions_of("ifguide.run.rivals_makers")

RUN = "run"  # the name of the run's own way of training, where no other is set


# the models


@final
@dataclass(frozen=True)
class Rivals:
    """The stages of the rows of a comparison, under a run's settings."""

    config: Config

    @property
    def trainings(self) -> dict[str, TrainingConfig]:
        """The ways of training by name."""
        return self.config.compare.trainings or {RUN: self.config.training.by_own_mask}

    def check(self, row: MethodRow) -> None:
        """Refuse a row whose settings are missing, or whose labelling judge cannot be loaded.

        Raises:
            InputError: the setting is named.
        """
        self.check_settings(row)
        if self.is_labelled(row):
            try:
                load_judge(labeller_of(self.config), data_folder(self.config))
            except InputError as error:
                raise InputError(f"compare.labeller: {error}") from error
        mask = row.owner.method.mask
        for need in (FILTER_JUDGE, WORD_LIST):
            if mask is not None and need in SCORERS.get(mask.scorer, "--methods").needs.all:
                try:
                    need.open(self.config)
                except InputError as error:
                    raise InputError(f"{need.name}: {error}") from error

    def check_settings(self, row: MethodRow) -> None:
        """Refuse a row whose settings are missing; nothing is loaded.

        Raises:
            InputError: the setting is named.
        """
        method, compare = row.owner.method, self.config.compare
        if any(len(self.points(each)) > 1 for each in (row, row.owner)):
            self._check_choice()
        scorer = None if method.mask is None else method.mask.scorer
        given = self._is_proxy(method.mask) and has_proxy_run(self.config)
        if scorer in BY_PROXY and not given:
            proxy_model(self.config)
        if scorer in JUDGED_SCORERS and compare.filters.judge is None:
            raise InputError("compare.filters.judge: the filters by a judge need it; name one")
        if scorer == "words" and compare.filters.words is None:
            raise InputError("compare.filters.words: the filters by a word list need it; name one")
        if method.preferences == "texts" and compare.pairs is None:
            raise InputError("compare.pairs: the method 'dpo-texts' needs them; name a source")
        if method.preferences == "samples" and compare.prompts is None:
            raise InputError("compare.prompts: the method 'dpo' needs them; name a source")

    def _check_choice(self) -> None:
        if self.config.compare.prompts is None:
            raise InputError(
                "compare.prompts: points of a curve are chosen by some of them; name a source"
            )
        if not self.config.evaluation.perplexity:
            raise InputError(
                "evaluation.perplexity: points of a curve are chosen within a bound of it; name a "
                "text"
            )

    def is_labelled(self, row: MethodRow) -> bool:
        """Return whether a judge has labelled what a row learnt from, or was chosen by."""
        given = row.method.reward and self.config.compare.reward_model is not None
        return (row.is_labelled and not given) or len(self.points(row)) > 1

    def points(self, row: MethodRow) -> tuple[MethodRow, ...]:
        """Return the points of a row's curve; without one, the row itself."""
        found = points_of(row.method, self.config.compare)
        return tuple(replace(row, method=point) for point in found)

    def choice(self, row: MethodRow) -> StageOf[MethodCurve]:
        """Return which point of a row's curve is shown, and what was found of each."""
        points = self.points(row)
        settings = ChoiceSettings(tuple(p.name for p in points), self.config.compare.choice)
        found = [*map(self.judged_apart, points), *map(self.fluency, points)]
        return Stage(
            name=f"choice/{folder_name(row.name)}",
            about=f"which point of {row.name} is shown",
            needs=Needs((FLUENCY["baseline"], *found)),
            settings=lambda config: settings,
            section="compare.choice",
            make=rivals_makers.choose_point,
            save=factories.save_figures,
            load=factories.figures_as(MethodCurve),
            files=(FIGURES,),
            command="compare",
        )

    def training(self, row: MethodRow) -> TrainingConfig:
        """Return how a row's model is trained, its own objective put in."""
        training, mask = self.trainings[row.training], row.method.mask
        if mask is None or mask.objective is None:
            return training
        return replace(training, objective=mask.objective)

    def scores(self, mask: Mask) -> StageOf[TokenScores]:
        """Return the scores that a mask chooses by."""
        if self._is_proxy(mask) and has_proxy_run(self.config):
            return PROXY_SCORES
        return _scores(mask.scorer, smoothed=mask.smoothed)

    def selection(self, mask: Mask) -> StageOf[Selection]:
        """Return what a mask keeps from being learnt; it is made whenever it is needed."""
        if self._is_proxy(mask) and has_proxy_run(self.config):
            return PROXY_SELECTION

        def settings(config: Config) -> MaskSettings:
            if mask.documents is not None:
                share = mask.share or config.compare.document_budget
                return MaskSettings(documents=mask.documents, share=share, above=mask.above)
            if mask.above is not None:
                return MaskSettings(above=mask.above)
            return MaskSettings(selection=mask.selection or config.selection)

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
        if len(self.points(row)) > 1:
            return self._chosen(row)
        return self._preferring(row) if row.method.preferences else self._masked(row)

    def samples(self, row: MethodRow) -> StageOf[Tables]:
        """Return what the row says to the prompts."""
        return self._sampled(row, self._told(row), PROMPTS)

    def judged(self, row: MethodRow) -> StageOf[JudgedModel]:
        """Return the row's figures of toxicity."""
        told = self._told(row)
        return JUDGED[told] if told in JUDGED else factories.judged(told, self.samples(row))

    def fluency(self, row: MethodRow) -> StageOf[Fluency]:
        """Return the figures of fluency of the row's model, through its decoding."""
        if row.method.reward:
            return self._steered_fluency(row)
        told = self._told(row)
        if told in FLUENCY:
            return FLUENCY[told]
        return factories.fluent(told, self.model(row), CORPUS, HELD_OUT)

    def judged_apart(self, point: MethodRow) -> StageOf[JudgedModel]:
        """Return what the labelling judge makes of what a point says to the prompts set apart."""
        name = f"{point.name}, apart"
        return factories.judged(name, self._sampled(point, name, APART), LABELLER)

    # details

    def _sampled(
        self, row: MethodRow, name: str, prompts: Need[Mapping[str, Sequence[Prompt]]]
    ) -> StageOf[Tables]:
        """Return what a row says to prompts, in a stage that is called after ``name``."""
        if not row.method.reward:
            return factories.sampled(name, self.model(row), CORPUS, prompts)
        decoding = row.method.decoding

        def settings(config: Config) -> SteeredSettings:
            steering = decoding or config.compare.decoding
            return SteeredSettings(config.evaluation.sampling, steering, config.seed)

        return Stage(
            name=f"sample/{folder_name(name)}",
            about=f"what {name} says to the prompts",
            needs=needs(CORPUS, self.model(row), prompts, reward_of(self.config)),
            settings=settings,
            make=rivals_makers.sample_steered,
            save=artifacts.save_samples,
            load=lambda folder, get: artifacts.load_samples(folder),
            files=SAMPLE_FILES,
            command="compare",
            passes=lambda settings, noun: factories.GENERATING,
        )

    def _steered_fluency(self, row: MethodRow) -> StageOf[Fluency]:
        decoding = row.method.decoding

        def settings(config: Config) -> SteeredFluencySettings:
            return SteeredFluencySettings(decoding or config.compare.decoding)

        reward = reward_of(self.config)
        return Stage(
            name=f"fluency/{folder_name(row.name)}",
            about=f"how fluent {row.name} is through its decoding",
            needs=needs(CORPUS, self.model(row), HELD_OUT, LAMBADA, reward),
            settings=settings,
            section="compare.decoding",
            make=rivals_makers.measure_steered_fluency,
            save=factories.save_figures,
            load=factories.figures_as(Fluency),
            files=(FIGURES,),
            command="compare",
            passes=lambda settings, noun: factories.GENERATING,
        )

    def _chosen(self, row: MethodRow) -> StageOf[Checkpoint]:
        """Return the model of the point that is chosen, for whoever asks for the row's."""
        points = self.points(row)
        names = [point.name for point in points]
        return Stage(
            name=f"chosen/{folder_name(row.name)}",
            about=f"the model of {row.name} that is chosen",
            needs=Needs((self.choice(row), *map(self.model, points))),
            settings=lambda config: names,
            make=rivals_makers.take_chosen,
            load=factories.not_kept,
            files=(),
            kept=lambda config: False,
        )

    def _told(self, row: MethodRow) -> str:
        """Return what the row's stages are called after."""
        if row.method.reward:
            return row.name
        return "suppressed" if self._is_the_run_s(row.owner) else row.name

    def _is_the_run_s(self, row: MethodRow) -> bool:
        """Whether the run's own stage ``train`` is this model."""
        same = self.trainings.get(row.training) == self.config.training.by_own_mask
        by_proxy = has_proxy_run(self.config)
        its = ["proxy" if by_proxy else "ours"]
        if not by_proxy and not SmoothSettings(self.config.smoothing, self.config.lexicon).changes:
            its.append("own-scores")
        return same and row.method in [METHODS.get(name, "--methods") for name in its]

    @staticmethod
    def _is_proxy(mask: Mask | None) -> bool:
        return mask is not None and mask.scorer == "proxy"

    def _masked(self, row: MethodRow) -> StageOf[Checkpoint]:
        training, mask = self.training(row), row.method.mask
        chosen: Need[Selection | None] = EVERYTHING if mask is None else self.selection(mask)
        place = f"compare.trainings.{row.training}"
        watched = factories.watched(place, CORPUS, lambda config: self.training(row))
        return Stage(
            name=f"model/{folder_name(row.name)}",
            about=f"the model of {row.name}: {row.method.about}",
            needs=needs(CORPUS, INITIAL, BASELINE, chosen, watched),
            settings=lambda config: TrainSettings.of(
                config, training, place if row.training in config.compare.trainings else "training"
            ),
            section=place,
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
            settings=lambda config: PreferenceSettings(
                row.method.learning or config.compare.dpo, config.seed
            ),
            section="compare",
            make=rivals_makers.prefer,
            load=lambda folder, get: makers.open_checkpoint(folder, get(BASELINE)),
            files=MODEL_FILES,
            command="compare",
            passes=lambda settings, noun: factories.TRAINING + 1 / settings.dpo.epochs,
        )


def rows_under(config: Config) -> Iterator[MethodRow]:
    """Yield the rows of a comparison whose settings are there."""
    rivals = Rivals(config)
    for row in rows_of(["all"], list(rivals.trainings), all_methods()):
        try:
            rivals.check_settings(row)
        except InputError:
            continue
        yield row


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
