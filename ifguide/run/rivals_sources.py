"""What rivals learn from, decode with and are chosen by: as stages, and from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ifguide.errors import InputError
from ifguide.lazily import functions_of
from ifguide.run import factories
from ifguide.run.layout import MODEL_FILES, SAMPLE_FILES
from ifguide.run.outside import data_folder, judges_of, texts_of
from ifguide.run.rivals_given import PairPrompts, PairSettings, RewardSettings, labeller_of
from ifguide.run.stage import Outside, Stage, StageOf, needs
from ifguide.run.stages import BASELINE, CORPUS, PROMPTS
from ifguide.settings.config import Config

if TYPE_CHECKING:
    from ifguide.corpus.config import Source
    from ifguide.evaluation.prompts import Prompt
    from ifguide.rivals.reward import RewardModel
    from ifguide.run import artifacts, rivals_makers
    from ifguide.run.rivals_makers import Pairs
else:
    artifacts = functions_of("ifguide.run.artifacts")
    rivals_makers = functions_of("ifguide.run.rivals_makers")


def _pair_prompts(config: Config) -> list[Source | None]:
    asked = config.compare.prompts
    return [asked.origin if asked else None]


LABELLER = judges_of("compare.labeller", lambda config: [labeller_of(config)])
PAIR_PROMPTS = texts_of("compare.prompts", _pair_prompts)
PAIR_TEXTS = texts_of("compare.pairs", lambda config: [config.compare.pairs])


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


def _reward_files(config: Config) -> Iterator[tuple[Path, str]]:
    folder = _reward_folder(config)
    if folder is not None:
        for file in sorted(file for file in folder.glob("*") if file.is_file()):
            yield file, file.name


def _reward_folder(config: Config) -> Path | None:
    given = config.compare.reward_model
    return None if given is None else data_folder(config) / Path(given).expanduser()


def _open_reward(config: Config) -> RewardModel:
    folder = _reward_folder(config)
    if folder is None:
        raise InputError("compare.reward_model: none is given; name a folder")
    return rivals_makers.open_reward(folder, REWARD_FOLDER.name)


REWARD_FOLDER: Outside[RewardModel] = Outside(
    name="compare.reward_model", files=_reward_files, open=_open_reward
)
GIVEN_REWARD: StageOf[RewardModel] = Stage(
    name="reward-given",
    about="the reward model that is given",
    needs=needs(REWARD_FOLDER),
    settings=lambda config: None,
    make=rivals_makers.given_reward,
    load=factories.not_kept,
    files=(),
    kept=lambda config: False,
)


def reward_of(config: Config) -> StageOf[RewardModel]:
    """Return the reward model that decoding is steered by: the one that is given, or trained."""
    return REWARD if config.compare.reward_model is None else GIVEN_REWARD


APART: StageOf[Mapping[str, Sequence[Prompt]]] = Stage(
    name="apart",
    about="the prompts that points of curves are chosen by",
    needs=needs(CORPUS, PROMPTS, PAIR_PROMPTS),
    settings=PairPrompts.of,
    section="compare",
    make=rivals_makers.set_apart,
    save=artifacts.save_prompts,
    load=lambda folder, get: artifacts.load_prompts(folder),
    files=("prompts.json",),
    command="compare",
)
