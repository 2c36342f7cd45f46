"""What stands between the pipeline's page and the run folder: what each stage makes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from torch import nn
from transformers import PreTrainedModel

from ifguide.corpus.prepare import prepare
from ifguide.distributed import ranks
from ifguide.evaluation.evaluate import evaluate
from ifguide.evaluation.figures import (
    Cost,
    Localisation,
    ModelFigures,
    Report,
    SelectionSummary,
    write_report,
)
from ifguide.evaluation.fluency import perplexity
from ifguide.evaluation.generate import Processors, prompt_room
from ifguide.evaluation.judges.registry import load_judge
from ifguide.evaluation.localisation import localisation_of
from ifguide.evaluation.typed_json import write_typed
from ifguide.files import fingerprint_of, write_text
from ifguide.models.load import load_checkpoint, load_model
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Selection, TokenScores
from ifguide.report.page import render_page
from ifguide.run import artifacts
from ifguide.run.kept import Kept
from ifguide.run.provenance import STAGES
from ifguide.run.store import StageFolder
from ifguide.training.config import Guard, TrainingConfig
from ifguide.training.train import train
from ifguide.version import VERSION


class Steps(Kept):
    """Makes each stage of one run; the method itself is in ``Pipeline``."""

    def check(self) -> None:
        """Refuse what cannot work before any model is trained."""
        for judge in self.config.evaluation.judges:
            load_judge(judge, self.data_dir)
        tokenizer = self.text.tokenizer
        length = self.config.corpus.block_length
        model = load_model(self.config.model, tokenizer, length, self.config.seed)
        find_tracked(model)
        prompt_room(model, self.config.evaluation.sampling.tokens)
        _ = self.contrast, self.prompts, self.lambada, self.held_out

    # made by Pipeline

    @property
    @abstractmethod
    def scores(self) -> TokenScores:
        """The token scores."""

    @property
    @abstractmethod
    def smoothed(self) -> TokenScores:
        """The scores that tokens are selected by."""

    @property
    @abstractmethod
    def selection(self) -> Selection:
        """The tokens to suppress."""

    @property
    @abstractmethod
    def evaluation(self) -> artifacts.Evaluation:
        """The figures of both models."""

    def initial_model(self) -> nn.Module:
        """Return the model that training starts from."""
        length = self.config.corpus.block_length
        return load_model(self.config.model, self.text.tokenizer, length, self.config.seed)

    def start_of(self, config: TrainingConfig) -> nn.Module:
        """Return the model that a training starts from."""
        if config.start == "baseline" and self.config.baseline is not None:
            return load_checkpoint(self.store.root / "baseline")
        return self.initial_model()

    # makers

    def prepare(self, out: StageFolder) -> None:
        """Tokenise and pack the corpus."""
        if ranks.is_main():
            config = self.config
            prepare(config.corpus, config.tokenizer, self.data_dir, config.seed, out.path)

    def train_baseline(self, out: StageFolder) -> None:
        """Train on every token."""
        assert self.config.baseline is not None
        self.train(self.initial_model(), None, self.config.baseline, out)

    def train_suppressed(self, out: StageFolder) -> None:
        """Train without learning the selected tokens."""
        config = self.config.training
        self.train(self.start_of(config), self.selection, config, out)

    def open_scores(self, folder: Path) -> TokenScores:
        """Read the scores of this corpus."""
        return artifacts.load_scores(folder, self.text.corpus)

    def open_selection(self, folder: Path) -> Selection:
        """Read the selection over this corpus."""
        return artifacts.load_selection(folder, self.text.corpus)

    def save_selection(self, folder: Path, selection: Selection) -> None:
        """Write the selection, with each token's score beside it."""
        artifacts.save_selection(folder, selection, self.smoothed)

    def shards(self, out: StageFolder) -> artifacts.ScoreShards:
        """Return where scores go as they are made."""
        shape = self.text.corpus.tokens.shape
        return artifacts.ScoreShards(out.path, shape, self.config.scores.shard_blocks)

    def evaluate_models(self, out: StageFolder) -> None:
        """Evaluate both models and the scores; what is done already is kept."""
        if not ranks.is_main():
            return
        for name in ("baseline", "suppressed"):
            file = out.path / f"{name}.json"
            if not file.exists():
                write_typed(file, self.evaluated(getattr(self, name), name, out))
        write_typed(out.path / "localisation.json", self._localise())

    def evaluated(
        self, model: nn.Module, name: str, out: StageFolder, processors: Processors = tuple
    ) -> ModelFigures:
        """Return a model's entry of the report; its continuations are kept by this name."""
        return evaluate(
            model,
            self.text.tokenizer,
            self.config.evaluation,
            self.prompts,
            self.held_out,
            self.lambada,
            self.config.seed,
            partial(artifacts.kept_samples, out.path, name),
            out.progress,
            processors,
            [load_judge(judge, self.data_dir) for judge in self.config.evaluation.judges],
        )

    def write_report(self, out: StageFolder) -> None:
        """Write report.json and report.html."""
        if not ranks.is_main():
            return
        models, localisation = self.evaluation
        report = Report(
            version=VERSION,
            config_fingerprint=fingerprint_of(self.inputs("evaluate")),
            models=models,
            localisation=localisation,
            selection=SelectionSummary(
                threshold=self.selection.threshold,
                budget=self.selection.budget,
                selected=int(self.selection.suppress.sum()),
                documents=len(self.selection.ranking),
            ),
            cost={name: self._cost(name) for name in STAGES if self._has(name)},
        )
        write_report(out.path / "report.json", report)
        corpus, top = self.text.corpus, self.config.report.top
        page = render_page(
            report, corpus, self.smoothed, self.selection, top, self.config.report.title
        )
        write_text(out.path / "report.html", page)

    # details

    def train(
        self,
        model: nn.Module,
        selection: Selection | None,
        config: TrainingConfig,
        out: StageFolder,
    ) -> None:
        """Train a model without learning what is selected, and write it."""
        trained = train(
            model,
            self.text.corpus,
            selection,
            config,
            folder=out.scratch,
            seed=self.config.seed,
            progress=out.progress,
            measure=self._measure(config.guard),
        )
        self.save_model(out.path, trained)

    def save_model(self, folder: Path, model: nn.Module) -> None:
        """Write a model and the tokenizer as a checkpoint, on the main rank."""
        if ranks.is_main():
            cast(PreTrainedModel, model).save_pretrained(folder)
            self.text.tokenizer.save_pretrained(folder)

    def _measure(self, guard: Guard | None) -> Callable[[nn.Module], float] | None:
        """Return what gives a model's perplexity on the text that is watched, if any is."""
        if guard is None:
            return None
        text, size = self.held_out[guard.text], self.config.evaluation.batch_size
        return lambda model: perplexity(model, text, size)

    def _localise(self) -> Localisation:
        corpus, seed = self.text.corpus, self.config.seed
        if not corpus.marked.any():
            return Localisation()
        found = localisation_of(self.scores, seed)
        if self.smoothed is self.scores:
            return found
        return replace(found, smoothed=localisation_of(self.smoothed, seed))

    def _cost(self, name: str) -> Cost:
        cost = self.store.cost(name)
        return Cost(
            seconds=cost["seconds"],
            tokens=int(cost["tokens"]),
            peak_rss_bytes=int(cost["peak_rss_bytes"]),
        )

    def _has(self, name: str) -> bool:
        return name != "report" and (self.store.root / name).exists()
