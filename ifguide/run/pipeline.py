"""IF-Guide from top to bottom (Coalson et al. 2025, arXiv 2506.01790).

Each step is made when a later one asks for it, kept in the run folder, and reused while all that
went into it is the same.
"""

from __future__ import annotations

from functools import cached_property

from torch import nn

from ifguide.corpus.prepare import PreparedCorpus, open_prepared
from ifguide.corpus.words import spelling
from ifguide.evaluation.figures import Report
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import aim
from ifguide.influence.perturbed import score_from_logprobs
from ifguide.influence.score import score
from ifguide.models.load import load_checkpoint
from ifguide.nouns import Direction, Selection, TokenScores
from ifguide.run import artifacts, steps
from ifguide.run.store import StageFolder
from ifguide.selection.blend import blend
from ifguide.selection.lexicon import lexicon
from ifguide.selection.select import select
from ifguide.selection.smooth import smooth


class Pipeline(steps.Steps):
    """The method, one property a step."""

    @cached_property
    def text(self) -> PreparedCorpus:
        """Documents, tokenised and packed into N blocks of T tokens."""
        return self.stage("corpus", self.prepare, open_prepared)

    @cached_property
    def baseline(self) -> nn.Module:
        """The model trained on everything, or the checkpoint as it is."""
        if self.config.baseline is None:
            return self.initial_model()
        return self.stage("baseline", self.train_baseline, load_checkpoint)

    @cached_property
    def curvature(self) -> Curvature:
        """H: the Fisher information, from a sample of blocks and labels drawn from the model."""
        return self.stage("fit", self._fit, artifacts.load_curvature, artifacts.save_curvature)

    def _fit(self, out: StageFolder) -> Curvature:
        model, corpus, config = self.baseline, self.text.corpus, self.config
        return fit(model, corpus, config.curvature, seed=config.seed, progress=out.progress)

    @cached_property
    def direction(self) -> Direction:
        """v = (H + μ)⁻¹ (g_tox - g_safe): where learning toxicity moves the weights (Eq. 7)."""
        return self.stage("aim", self._aim, artifacts.load_direction, artifacts.save_direction)

    def _aim(self, out: StageFolder) -> Direction:
        return aim(self.baseline, self.contrast, self.curvature, self.config.direction)

    @cached_property
    def scores(self) -> TokenScores:
        """S_ij = v . grad l_ij: what each training token teaches, along v (Eq. 8)."""
        return self.stage("score", self._score, self.open_scores, artifacts.save_scores)

    def _score(self, out: StageFolder) -> TokenScores:
        model, corpus, v = self.baseline, self.text.corpus, self.direction
        sink = self.shards(out)
        if self.logprobs is not None:
            given = self.logprobs
            return score_from_logprobs(model, corpus, v, given, sink=sink, progress=out.progress)
        return score(model, corpus, v, self.config.scores, sink=sink, progress=out.progress)

    @cached_property
    def smoothed(self) -> TokenScores:
        """The scores drawn toward their neighbours', their type's and a lexicon's, if asked for."""
        return self.smooth(self.scores)

    def smooth(self, scores: TokenScores) -> TokenScores:
        """Smooth any scores of this corpus as the run's are."""
        spelt, words = spelling(self.text.tokenizer), self.config.lexicon
        smoothed = smooth(scores, self.config.smoothing, spelt)
        if not words.share:
            return smoothed
        known = lexicon(self.text.corpus, self.contrast, words.pseudo_count, spelt)
        return blend(smoothed, known, words.share)

    @cached_property
    def selection(self) -> Selection:
        """The tokens that training should not learn (Algorithm 1)."""
        return self.stage("select", self._select, self.open_selection, self.save_selection)

    def _select(self, out: StageFolder) -> Selection:
        return select(self.smoothed, self.config.selection)

    @cached_property
    def suppressed(self) -> nn.Module:
        """The model trained with -λ times the loss of the selected tokens (Eq. 9)."""
        return self.stage("train", self.train_suppressed, load_checkpoint)

    @cached_property
    def evaluation(self) -> artifacts.Evaluation:
        """Toxicity and fluency of both models, and the scores against human marks."""
        return self.stage("evaluate", self.evaluate_models, artifacts.open_evaluation)

    @cached_property
    def report(self) -> Report:
        """What it came to, as JSON and as a page."""
        return self.stage("report", self.write_report, artifacts.open_report)
