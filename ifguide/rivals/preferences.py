"""What the rivals that learn from a judge are given: pairs for DPO, labelled texts for RAD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import LogitsProcessor

from ifguide.corpus.prepare import sources_fingerprint
from ifguide.errors import InputError
from ifguide.evaluation.evaluate import generate_table
from ifguide.evaluation.generate import derived_seed
from ifguide.evaluation.judges.judging import Judge, judge_texts
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.prompts import Prompt, prompts_of
from ifguide.files import fingerprint_of, read_json, write_json
from ifguide.models.load import load_checkpoint
from ifguide.nouns import Document
from ifguide.rivals.decoding import RewardAugmented
from ifguide.rivals.reward import RewardModel, load_reward, save_reward
from ifguide.rivals.reward_training import train_reward
from ifguide.run.artifacts import kept_samples
from ifguide.run.pipeline import Pipeline
from ifguide.run.store import StageFolder
from ifguide.training.preference import train_preference
from ifguide.training.preference_pairs import PreferencePair, pairs_from_samples, pairs_from_texts

Kind = Literal["samples", "texts"]
PAIRS = str(Path("methods", "pairs"))
REWARD = str(Path("methods", "reward"))


@dataclass(frozen=True, eq=False)
class Preferences:
    """Asks the labelling judge, and trains on what it said."""

    run: Pipeline

    def train(self, kind: Kind, out: StageFolder) -> None:
        """Train the baseline to prefer one side of the pairs, and write it."""
        run, config = self.run, self.run.config.compare.dpo
        model = load_checkpoint(run.store.root / "baseline")
        tokenizer, seed = run.text.tokenizer, run.config.seed
        pairs = self.pairs(kind)
        trained = train_preference(
            model, tokenizer, pairs, config, folder=out.scratch, seed=seed, progress=out.progress
        )
        run.save_model(out.path, trained)

    def check(self, kind: Kind) -> None:
        """Refuse pairs whose texts are not set.

        Raises:
            InputError: the setting is named.
        """
        compare = self.run.config.compare
        if kind == "texts" and compare.pairs is None:
            raise InputError("compare.pairs: the method 'dpo-texts' needs them; name a source")
        if kind == "samples" and compare.prompts is None:
            raise InputError("compare.prompts: the method 'dpo' needs them; name a source")

    def check_labeller(self) -> None:
        """Refuse a labelling judge that cannot be loaded.

        Raises:
            InputError: the setting is named.
        """
        try:
            _ = self._judge
        except InputError as error:
            raise InputError(f"compare.labeller: {error}") from error

    def pairs(self, kind: Kind) -> list[PreferencePair]:
        """Return the pairs; those of samples are drawn and judged first if they are not there."""
        run, compare = self.run, self.run.config.compare
        if kind == "texts" and compare.pairs is not None:
            return pairs_from_texts(compare.pairs, run.data_dir)

        def load(folder: Path) -> list[PreferencePair]:
            return [PreferencePair(**pair) for pair in read_json(folder / "pairs.json")]

        def save(folder: Path, pairs: list[PreferencePair]) -> None:
            write_json(folder / "pairs.json", [asdict(pair) for pair in pairs])

        found: list[PreferencePair] = run.kept(
            PAIRS, self._pair_inputs, self._sample, load, save, before=lambda: _ready(run)
        )
        return found

    def inputs(self, kind: Kind) -> dict[str, Any]:
        """Return all that decides a model that has learnt from the pairs."""
        compare = self.run.config.compare
        if kind == "samples":
            return {"pairs": fingerprint_of(self._pair_inputs), "dpo": fingerprint_of(compare.dpo)}
        given = [] if compare.pairs is None else [compare.pairs]
        texts = sources_fingerprint(given, self.run.data_dir)
        return {"pairs": texts, "dpo": fingerprint_of(compare.dpo)}

    def decoding(self) -> Sequence[LogitsProcessor]:
        """Return what steers one batch of continuations by the reward model."""
        tokenizer, config = self.run.text.tokenizer, self.run.config.compare.decoding
        return [RewardAugmented(self.reward, tokenizer, config)]

    @cached_property
    def reward(self) -> RewardModel:
        """The reward model, trained first if it is not there."""
        run = self.run
        return run.kept(
            REWARD,
            self.reward_inputs,
            self._learn_reward,
            load_reward,
            _save_reward,
            before=lambda: _ready(run),
        )

    @property
    def reward_inputs(self) -> dict[str, Any]:
        """All that decides the reward model."""
        run, compare = self.run, self.run.config.compare
        return {
            "stage": "reward",
            "baseline": fingerprint_of(run.inputs("baseline")),
            "labeller": self.labeller,
            "texts": compare.reward_texts,
            "settings": fingerprint_of(compare.reward),
            "seed": run.config.seed,
        }

    @property
    def labeller(self) -> str:
        """The name of the judge that labels."""
        return self.run.config.compare.labeller or self.run.config.evaluation.judges[0]

    @cached_property
    def _judge(self) -> Judge:
        return load_judge(self.labeller, self.run.data_dir)

    @property
    def _pair_inputs(self) -> dict[str, Any]:
        run, compare = self.run, self.run.config.compare
        return {
            "stage": "pairs",
            "baseline": fingerprint_of(run.inputs("baseline")),
            "prompts": fingerprint_of(self._prompts),
            "labeller": self.labeller,
            "settings": fingerprint_of([compare.margin, run.config.evaluation.sampling]),
            "seed": run.config.seed,
        }

    @cached_property
    def _prompts(self) -> list[Prompt]:
        """What the baseline's samples continue; none of it is evaluated."""
        run, wanted = self.run, self.run.config.compare.prompts
        assert wanted is not None  # see check
        found = prompts_of(wanted, run.text.held_out, run.data_dir, run.config.seed, "dpo")
        evaluated = {prompt.text for prompts in run.prompts.values() for prompt in prompts}
        left = [prompt for prompt in found if prompt.text not in evaluated]
        if not left:
            raise InputError("compare.prompts: all of them are evaluated; name other texts")
        return left

    def _sample(self, out: StageFolder) -> list[PreferencePair]:
        run, prompts = self.run, self._prompts
        sampling = run.config.evaluation.sampling
        seed = derived_seed(run.config.seed, "pairs")
        table = kept_samples(
            out.path,
            "baseline",
            "dpo",
            lambda: generate_table(
                run.baseline, run.text.tokenizer, prompts, sampling, seed, out.progress
            ),
        )
        texts = table["continuation"].to_pylist()
        ids = [f"{prompt.id}/{k}" for prompt in prompts for k in range(sampling.samples)]
        toxicity = judge_texts(self._judge, texts, ids).reshape(len(prompts), -1)
        continuations = np.array(texts, dtype=object).reshape(toxicity.shape).tolist()
        shown = [prompt.text for prompt in prompts]
        return pairs_from_samples(shown, continuations, toxicity, run.config.compare.margin)

    def _learn_reward(self, out: StageFolder) -> RewardModel:
        run = self.run
        documents = self._drawn_documents()
        texts = [document.text for document in documents]
        toxicity = judge_texts(self._judge, texts, [document.id for document in documents])
        return train_reward(
            load_checkpoint(run.store.root / "baseline"),
            run.text.tokenizer,
            texts,
            toxicity,
            run.config.compare.reward,
            folder=out.scratch,
            seed=run.config.seed,
            progress=out.progress,
        )

    def _drawn_documents(self) -> list[Document]:
        documents = self.run.text.corpus.documents
        draw = np.random.default_rng(self.run.config.seed).permutation(len(documents))
        wanted = self.run.config.compare.reward_texts
        return [documents[int(number)] for number in np.sort(draw[:wanted])]


def _save_reward(folder: Path, reward: RewardModel) -> None:
    save_reward(reward, folder)


def _ready(run: Pipeline) -> None:
    _ = run.baseline
