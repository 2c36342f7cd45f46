"""IF-Guide from top to bottom (Coalson et al. 2025, arXiv 2506.01790).

Each step is made when a later one asks for it, kept in the run folder, and reused while all that
went into it is the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ifguide import artifacts, distributed, steps
from ifguide.config import Config
from ifguide.corpus.prepare import PreparedCorpus, open_prepared
from ifguide.curvature import fit
from ifguide.direction import aim
from ifguide.errors import InputError
from ifguide.linalg.operators import Curvature
from ifguide.models.load import load_checkpoint
from ifguide.nouns import Direction, Selection, TokenScores
from ifguide.report.ranked import ranked_documents
from ifguide.report.terminal import inspect_lines
from ifguide.scores import score
from ifguide.selection import select
from ifguide.settings import to_yaml
from ifguide.steps import STAGES
from ifguide.store import Store


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
        return self.stage(
            "fit",
            lambda out: fit(
                self.baseline,
                self.text.corpus,
                self.config.curvature,
                seed=self.config.seed,
                progress=out.progress,
            ),
            artifacts.load_curvature,
            artifacts.save_curvature,
        )

    @cached_property
    def direction(self) -> Direction:
        """v = (H + μ)⁻¹ (g_tox - g_safe): where learning toxicity moves the weights."""
        return self.stage(
            "aim",
            lambda out: aim(self.baseline, self.contrast, self.curvature, self.config.direction),
            artifacts.load_direction,
            artifacts.save_direction,
        )

    @cached_property
    def scores(self) -> TokenScores:
        """S_ij = v . grad l_ij: what each training token teaches, along v (Eq. 8)."""
        return self.stage(
            "score",
            lambda out: score(
                self.baseline,
                self.text.corpus,
                self.direction,
                self.config.scores,
                sink=self.shards(out),
                progress=out.progress,
            ),
            lambda folder: artifacts.load_scores(folder, self.text.corpus),
            artifacts.save_scores,
        )

    @cached_property
    def selection(self) -> Selection:
        """The tokens that training should not learn (Algorithm 1)."""
        return self.stage(
            "select",
            lambda out: select(self.scores, self.config.selection),
            lambda folder: artifacts.load_selection(folder, self.text.corpus),
            lambda folder, made: artifacts.save_selection(folder, made, self.scores),
        )

    @cached_property
    def suppressed(self) -> nn.Module:
        """The model trained with -λ times the loss of the selected tokens (Eq. 9)."""
        return self.stage("train", self.train_suppressed, load_checkpoint)

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """Toxicity and fluency of both models, and the scores against human marks."""
        return self.stage("evaluate", self.evaluate_models, steps.open_evaluation)

    @cached_property
    def report(self) -> dict[str, Any]:
        """What it came to, as JSON and as a page."""
        return self.stage("report", self.write_report, steps.open_report)


def run(
    config: Config, out: Path, until: str = "report", *, quiet: bool = False, replace: bool = False
) -> Any:
    """Run the stages up to ``until`` in the folder ``out``; what is there already is reused.

    Returns:
        what the last stage made (for ``report``, the contents of report.json) on the main rank,
        None on the others.

    Raises:
        InputError: something given cannot be used; it is found before a model is trained where
            that is possible.
    """
    distributed.start()
    with Store(out, to_yaml(config), replace=replace) as store:
        pipeline = Pipeline(config, store, quiet=quiet)
        pipeline.check()
        result = getattr(pipeline, STAGES[until][0])
        if not distributed.is_main():
            result = None
        elif until == "report":
            for name in ("report.json", "report.html"):
                shutil.copyfile(out / "report" / name, out / name)
    distributed.stop()
    return result


def inspect(out: Path, top: int, ids: Sequence[str], *, colour: bool) -> Iterator[str]:
    """Yield lines that show the highest-ranked documents of a finished run, or those named."""
    for needed in ("corpus", "score", "select"):
        if not (out / needed / "manifest.json").exists():
            raise InputError(
                f"{out}: it has no finished stage '{needed}'; run `ifguide select` first"
            )
    corpus = open_prepared(out / "corpus").corpus
    selection = artifacts.load_selection(out / "select", corpus)
    scores = artifacts.load_scores(out / "score", corpus)
    documents = ranked_documents(corpus, scores, selection, 0 if ids else top, ids)
    yield from inspect_lines(documents, selection.threshold, colour=colour)
