"""The run's typed YAML: each part's settings stand beside the verb that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from ifguide.corpus.config import CorpusConfig, QueriesConfig, TokenizerConfig
from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig
from ifguide.ignored import refuse_ignored
from ifguide.influence.config import CurvatureConfig, DirectionConfig, ScoreConfig
from ifguide.models.config import ModelConfig
from ifguide.ranges import Range, check_ranges
from ifguide.report.config import ReportConfig
from ifguide.rivals.config import CompareConfig
from ifguide.selection.config import LexiconConfig, SelectionConfig, SmoothingConfig
from ifguide.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run.

    Args:
        corpus: the documents to train on, and how they are cut into blocks.
        tokenizer: a given one, or one to train on the corpus.
        model: a checkpoint, or a config for random weights.
        queries: what there should be less of, against what may stay.
        evaluation: prompts, judges and held-out text.
        data_dir: folder that relative file names start from.
        seed: draws everything that is drawn.
        baseline: trains the baseline from ``model``; null takes the checkpoint as it is.
        curvature, direction, scores, smoothing, lexicon, selection: the attribution.
        training: trains the suppressed model.
        report: the page.
        compare: what `ifguide compare` needs for the rivals.
    """

    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    model: ModelConfig
    queries: QueriesConfig
    evaluation: EvaluationConfig
    data_dir: str = "."
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    baseline: TrainingConfig | None = None
    curvature: CurvatureConfig = field(default_factory=CurvatureConfig)
    direction: DirectionConfig = field(default_factory=DirectionConfig)
    scores: ScoreConfig = field(default_factory=ScoreConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    lexicon: LexiconConfig = field(default_factory=LexiconConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)

    def __post_init__(self) -> None:
        check_ranges(self, "")
        if self.model.scratch is not None and self.baseline is None:
            raise InputError(
                "baseline: it is null, but model.scratch has random weights; say how to train the "
                "baseline, or give model.path"
            )
        if self.baseline is None:
            since = "there is no baseline, and the checkpoint is scored as it is"
            refuse_ignored(self.scores, "scores", ("weights",), since)
        if self.model.scratch is not None and self.scores.weights == "initial":
            raise InputError(
                "scores.weights: initial ones are random (model.scratch); score by the baseline, "
                "or give model.path"
            )
        if self.baseline is not None and self.baseline.start == "baseline":
            raise InputError("baseline.start: the baseline cannot start from itself; use initial")
        if self.curvature.kind == "identity":
            refuse_ignored(self.direction, "direction", ("damping",), "curvature.kind is identity")
        if self.baseline is not None:
            since = "the baseline learns every token"
            refuse_ignored(self.baseline, "baseline", ("objective", "mask_from"), since)
        if self.training.mask_from is not None:
            since = "training.mask_from names the proxy's run"
            refuse_ignored(self.compare, "compare", ("proxy",), since)
        chosen_by = self.compare.choice.text
        if chosen_by is not None and chosen_by not in self.evaluation.perplexity:
            raise InputError(
                f"compare.choice.text: '{chosen_by}' is no text of evaluation.perplexity; name one "
                "of these, or add it there"
            )
        for name in ("baseline", "training"):
            training = getattr(self, name)
            watched = training.guard.text if training and training.guard else None
            if watched is not None and watched not in self.evaluation.perplexity:
                raise InputError(
                    f"{name}.guard.text: '{watched}' is no text of evaluation.perplexity; name one "
                    "of these, or add it there"
                )
