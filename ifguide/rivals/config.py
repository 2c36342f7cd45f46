"""What the rivals of a comparison need beside the run's own settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from ifguide.corpus.config import Source
from ifguide.errors import InputError
from ifguide.evaluation.config import Prompts
from ifguide.ignored import refuse_ignored
from ifguide.models.config import ModelConfig
from ifguide.ranges import (
    LARGE,
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Range,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    TextLength,
    check_ranges,
)
from ifguide.training.config import Hyperparameters, PreferenceConfig, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Hyperparameters):
    """How a reward model is trained; ``batch_size`` counts texts.

    Args:
        max_length: longest text in tokens, with what stands before it; longer ones lose their end.
    """

    group: ClassVar[str] = "compare.reward"

    max_length: TextLength = 128
    epochs: Positive = 2.0
    learning_rate: Positive = 1e-4
    weight_decay: NotNegative = 0.01


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How strongly a reward model steers.

    Args:
        top_k: k, how many of the likeliest tokens are weighed up; the others are never drawn.
        beta: β, the logits that a harmless continuation gains over a toxic one.
        nucleus: whether ``evaluation.sampling.top_p`` is taken of the language model's own
            probabilities, ``before`` they are steered (as the IF-Guide authors have it), or of the
            steered ones, ``after``.
    """

    top_k: Count = 20
    beta: NotNegative = 30.0
    nucleus: Literal["before", "after"] = "before"

    def __post_init__(self) -> None:
        check_ranges(self, "compare.decoding")


@dataclass(frozen=True, kw_only=True)
class PreferenceCurve:
    """Settings of ``compare.dpo`` to try, in every combination; an empty list tries its own value.

    Args:
        learning_rate, beta: see ``compare.dpo``.
    """

    learning_rate: tuple[Positive, ...] = ()
    beta: tuple[Positive, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self, "compare.dpo_curve")
        _check_values(self, "compare.dpo_curve", "compare.dpo")


@dataclass(frozen=True, kw_only=True)
class DecodingCurve:
    """Settings of ``compare.decoding`` to try; an empty list tries its own value.

    Args:
        beta: see ``compare.decoding``.
    """

    beta: tuple[NotNegative, ...] = ()

    def __post_init__(self) -> None:
        check_ranges(self, "compare.decoding_curve")
        _check_values(self, "compare.decoding_curve", "compare.decoding")


def _check_values(curve: Any, group: str, owner: str) -> None:
    """Refuse a value that is given twice, and a curve of one point."""
    values = {name: given for name, given in vars(curve).items() if given}
    for name, given in values.items():
        if len(set(given)) < len(given):
            raise InputError(f"{group}.{name}: a value is there twice; give each once")
    if values and all(len(given) == 1 for given in values.values()):
        name = next(iter(values))
        raise InputError(
            f"{group}.{name}: a single value is no curve; give several, or set {owner}.{name}"
        )


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """Which point of a method's curve the table shows: the one of the least toxicity probability
    (of several, the least expected maximum toxicity) by the labeller on prompts of their own,
    among those whose perplexity is within a bound; if none is, the one of the least perplexity.

    Args:
        prompts: how many of ``compare.prompts`` are set apart for it; no pair is made of them.
        text: the text of ``evaluation.perplexity`` that is bounded, by default the first.
        bound: the highest perplexity allowed, as a multiple of the baseline's.
    """

    prompts: Count = 50
    text: str | None = None
    bound: Annotated[float, Range(1, LARGE)] = 1.03

    def __post_init__(self) -> None:
        check_ranges(self, "compare.choice")


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """What a judge or a word list leaves out of the corpus.

    Args:
        judge: whose toxicity of whole documents, or of the words around each token, a filter goes
            by; the evaluation should have another one too.
        window: words to each side of a token's own that the judge is shown.
        words: a file with a word or phrase a line, as the judge ``words:FILE`` reads it.
    """

    judge: str | None = None
    window: CountOrNone = 2
    words: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "compare.filters")


@dataclass(frozen=True, kw_only=True)
class SidesConfig(Hyperparameters):
    """How two copies of a model are tuned, each on a side of the queries, whose counted tokens
    it learns; ``batch_size`` counts queries.
    """

    group: ClassVar[str] = "compare.sides"

    epochs: Positive = 2.0
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "constant_with_warmup"
    warmup: ShareBelowOne = 0.0
    weight_decay: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What is compared, and what the rivals need.

    Args:
        trainings: ways of training by name; each method that leaves tokens out is trained in each
            of them. By default the run's ``training`` alone, by the name ``run``.
        thresholds: the table also says what is toxic from each of these on, beside the evaluation's
            own threshold.
        document_budget: share of the corpus's tokens that a filter of whole documents drops.
        lexicon_prior: weight of the lexicon's prior, in words.
        proxy: the smaller model of the method ``proxy``; by default ``model.scratch`` at half its
            width. It is trained as ``baseline`` says. With ``training.mask_from`` the method takes
            that run's mask.
        labeller: the judge that ranks samples for DPO and labels texts for the reward model; the
            evaluation should have another one too.
        prompts: what the baseline's samples for DPO continue; prompts that are evaluated too are
            left out.
        margin: the least difference in toxicity between the two samples of a pair.
        sampled_pairs: at most this many pairs of samples, of each prompt as many as of the others.
        pairs: texts with a toxic and a neutral side, for the method ``dpo-texts``.
        dpo: how preferences are learnt.
        dpo_curve: the points of DPO's curve.
        reward_texts: texts of the corpus that the reward model learns from, drawn by the seed.
        reward: how the reward model is trained; it starts from the baseline.
        reward_model: a reward model to steer by in place of a trained one: a folder of ours, or of
            the layout that its authors released. One with another tokenizer reads the text anew.
        decoding: how strongly it steers.
        decoding_curve: the points of the curve of what decodes with a reward model.
        choice: which point of a curve the table shows.
        filters: what a judge or a word list leaves out.
        sides: how the two models of the scorer ``loss-difference`` are tuned.
    """

    trainings: dict[str, TrainingConfig] = field(default_factory=dict)
    thresholds: tuple[ShareAboveZero, ...] = (0.8, 0.95)
    document_budget: ShareAboveZero = 0.1
    lexicon_prior: Positive = 4.0
    proxy: ModelConfig | None = None
    labeller: str | None = None
    prompts: Prompts | None = None
    margin: Share = 0.25
    sampled_pairs: Count = 4000
    pairs: Source | None = None
    dpo: PreferenceConfig = field(default_factory=PreferenceConfig)
    dpo_curve: PreferenceCurve = field(default_factory=PreferenceCurve)
    reward_texts: Count = 4000
    reward: RewardConfig = field(default_factory=RewardConfig)
    reward_model: str | None = None
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    decoding_curve: DecodingCurve = field(default_factory=DecodingCurve)
    choice: ChoiceConfig = field(default_factory=ChoiceConfig)
    filters: FilterConfig = field(default_factory=FilterConfig)
    sides: SidesConfig = field(default_factory=SidesConfig)

    def __post_init__(self) -> None:
        check_ranges(self, "compare")
        for name, training in self.trainings.items():
            since = "compare's method 'proxy' takes the mask that training.mask_from names"
            refuse_ignored(training, f"compare.trainings.{name}", ("mask_from",), since)
        if self.prompts is None:
            since = "there are no prompts for DPO's samples"
            refuse_ignored(self, "compare", ("margin", "sampled_pairs"), since)
        if self.reward_model is not None:
            given = ("reward_texts", "reward")
            refuse_ignored(self, "compare", given, "reward_model takes a trained one's place")
        if self.dpo_curve == PreferenceCurve() and self.decoding_curve == DecodingCurve():
            refuse_ignored(self, "compare", ("choice",), "no curve has points to choose from")
        if self.filters.judge is None:
            refuse_ignored(self.filters, "compare.filters", ("window",), "no judge is named")
        if self.pairs is not None:
            documents = ("text", "spans", "kind", "marked", "held_out")
            since = "only the fields toxic and neutral of pairs are read"
            refuse_ignored(self.pairs, "compare.pairs", documents, since)
