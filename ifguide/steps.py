"""What stands between the pipeline's page and the run folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn
from transformers import PreTrainedModel

from ifguide import artifacts, distributed
from ifguide.config import Config
from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.prepare import PreparedCorpus, prepare
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.tokenizers import load_tokenizer, tokenizer_fingerprint
from ifguide.evaluation.evaluate import evaluate
from ifguide.evaluation.fluency import perplexity
from ifguide.evaluation.generate import Processors, prompt_room
from ifguide.evaluation.judges import load_judge
from ifguide.evaluation.localisation import localisation_of
from ifguide.evaluation.prompts import Prompt, held_out_documents, lambada_texts, prompts_of
from ifguide.files import fingerprint_of, write_json, write_text
from ifguide.models.load import load_checkpoint, load_model, model_fingerprint
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast, Corpus, Selection, TokenScores
from ifguide.progress import progress_line
from ifguide.provenance import COUNTED, STAGES, stage_inputs, total_tokens
from ifguide.report.page import render_page
from ifguide.scores.pair import LogprobFiles
from ifguide.store import StageFolder, Store
from ifguide.training import Guard, TrainingConfig, train
from ifguide.version import VERSION

Noun = TypeVar("Noun")


class Steps(ABC):
    """Makes, keeps and reopens each stage of one run; the method itself is in ``Pipeline``."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        quiet: bool = False,
        logprobs: LogprobFiles | None = None,
    ) -> None:
        self.config, self.store, self.quiet = config, store, quiet
        self.logprobs = logprobs
        self.data_dir = Path(config.data_dir)

    def stage(
        self,
        name: str,
        make: Callable[[StageFolder], Any],
        load: Callable[[Path], Noun],
        save: Callable[[Path, Any], None] | None = None,
    ) -> Noun:
        """Return a stage's noun from its folder, made first if it is not there as it should be."""
        before, total = self._pull(name), lambda: self._total_tokens(name)
        return self.kept(name, self.inputs(name), make, load, save, before=before, total=total)

    def kept(
        self,
        name: str,
        inputs: Mapping[str, Any],
        make: Callable[[StageFolder], Any],
        load: Callable[[Path], Noun],
        save: Callable[[Path, Any], None] | None = None,
        *,
        before: Callable[[], object] = lambda: None,
        total: Callable[[], int | None] = lambda: None,
    ) -> Noun:
        """Return what ``inputs`` decide from the folder ``name``, made first if need be.

        ``before`` makes what it is made from; ``total`` is the tokens it takes.
        """

        def made(out: StageFolder) -> None:
            with progress_line(name, total(), quiet=self.quiet, done=out.tokens) as out.line:
                noun = make(out)
            if save is not None and distributed.is_main():
                save(out.path, noun)

        return load(self.store.stage(name, inputs, made, before=before))

    def inputs(self, name: str) -> dict[str, Any]:
        """Return all that decides what a stage makes: its settings and the stages before it."""
        read = {
            "tokenizer": lambda: self._tokenizer_fingerprint,
            "model": lambda: self._model_fingerprint,
            "queries": lambda: self.contrast.fingerprint,
            "prompts": lambda: self.prompts,
            "logprobs": lambda: self._logprobs_fingerprint,
        }
        return stage_inputs(self.config, read, name)

    def check(self) -> None:
        """Refuse what cannot work before any model is trained."""
        for judge in self.config.evaluation.judges:
            load_judge(judge)
        tokenizer = self.text.tokenizer
        length = self.config.corpus.block_length
        model = load_model(self.config.model, tokenizer, length, self.config.seed)
        find_tracked(model)
        prompt_room(model, self.config.evaluation.sampling.tokens)
        _ = self.contrast, self.prompts, self.lambada, self.held_out

    # made by Pipeline

    @property
    @abstractmethod
    def text(self) -> PreparedCorpus:
        """The prepared corpus."""

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
    def evaluation(self) -> dict[str, Any]:
        """The figures of both models."""

    # inputs

    @cached_property
    def contrast(self) -> Contrast:
        """The two query sets."""
        config = self.config
        return load_contrast(
            config.queries, self.text.tokenizer, self.data_dir, seed_of_builtin=config.seed + 1
        )

    @cached_property
    def prompts(self) -> dict[str, list[Prompt]]:
        """The named prompt sets of the evaluation."""
        wanted = self.config.evaluation.prompt_sets
        return {
            name: prompts_of(p, self.text.held_out, self.data_dir, self.config.seed, name)
            for name, p in wanted.items()
        }

    @cached_property
    def lambada(self) -> list[str] | None:
        """The texts whose last word is to be predicted, if any are asked for."""
        return lambada_texts(self.config.evaluation, self.data_dir)

    @cached_property
    def held_out(self) -> dict[str, Corpus]:
        """The packed texts that perplexity is measured on, by name."""

        def load(folder: Path) -> dict[str, Corpus]:
            return {name: open_corpus(folder / name) for name in self.config.evaluation.perplexity}

        return self.stage("held_out", main_only(self._pack_held_out), load)

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
        if distributed.is_main():
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
        if not distributed.is_main():
            return
        for name in ("baseline", "suppressed"):
            file = out.path / f"{name}.json"
            if not file.exists():
                write_json(file, self.evaluated(getattr(self, name), name, out))
        write_json(out.path / "localisation.json", self._localise())

    def evaluated(
        self, model: nn.Module, name: str, out: StageFolder, processors: Processors = tuple
    ) -> dict[str, Any]:
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
        )

    def write_report(self, out: StageFolder) -> None:
        """Write report.json and report.html."""
        if not distributed.is_main():
            return
        report = {
            "version": VERSION,
            "config_fingerprint": fingerprint_of(self.inputs("evaluate")),
            **self.evaluation,
            "selection": {
                "threshold": self.selection.threshold,
                "budget": self.selection.budget,
                "selected": int(self.selection.suppress.sum()),
                "documents": len(self.selection.ranking),
            },
            "cost": {name: self.store.cost(name) for name in STAGES if self._has(name)},
        }
        write_json(out.path / "report.json", report)
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
        if distributed.is_main():
            cast(PreTrainedModel, model).save_pretrained(folder)
            self.text.tokenizer.save_pretrained(folder)

    def _measure(self, guard: Guard | None) -> Callable[[nn.Module], float] | None:
        """Return what gives a model's perplexity on the text that is watched, if any is."""
        if guard is None:
            return None
        text, size = self.held_out[guard.text], self.config.evaluation.batch_size
        return lambda model: perplexity(model, text, size)

    def _pack_held_out(self, out: StageFolder) -> None:
        for name, wanted in self.config.evaluation.perplexity.items():
            documents = held_out_documents(wanted, self.text.held_out, self.data_dir, name)
            pack(documents, self.text.tokenizer, self.config.corpus.block_length, out.path / name)

    def _localise(self) -> dict[str, Any]:
        corpus, seed = self.text.corpus, self.config.seed
        if not corpus.marked.any():
            return {}
        found = localisation_of(self.scores, seed)
        if self.smoothed is self.scores:
            return found
        return {**found, "smoothed": localisation_of(self.smoothed, seed)}

    @cached_property
    def _tokenizer_fingerprint(self) -> str:
        given = self.config.tokenizer
        return tokenizer_fingerprint(load_tokenizer(given)) if given.path else ""

    @cached_property
    def _model_fingerprint(self) -> str:
        return model_fingerprint(self.config.model)

    @cached_property
    def _logprobs_fingerprint(self) -> list[str]:
        return self.logprobs.fingerprint() if self.logprobs else []

    def _pull(self, name: str) -> Callable[[], None]:
        def pull() -> None:
            for earlier in STAGES[name][1]:
                getattr(self, STAGES[earlier][0])

        return pull

    def _has(self, name: str) -> bool:
        return name != "report" and (self.store.root / name).exists()

    def _total_tokens(self, name: str) -> int | None:
        if name not in COUNTED:
            return None
        return total_tokens(self.config, name, self.text.corpus.tokens.size)


def main_only(make: Callable[[StageFolder], None]) -> Callable[[StageFolder], None]:
    """Run a maker on the main rank alone."""
    return lambda out: make(out) if distributed.is_main() else None
