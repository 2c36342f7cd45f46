"""How a run's stages are kept and reopened, and what the run reads beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ifguide.corpus.blocks import open_corpus, pack
from ifguide.corpus.prepare import PreparedCorpus
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.tokenizers import load_tokenizer, tokenizer_fingerprint
from ifguide.distributed import ranks
from ifguide.evaluation.prompts import Prompt, held_out_documents, lambada_texts, prompts_of
from ifguide.influence.perturbed import LogprobFiles
from ifguide.models.load import model_fingerprint
from ifguide.nouns import Contrast, Corpus
from ifguide.run.progress import progress_line
from ifguide.run.provenance import COUNTED, STAGES, stage_inputs, total_tokens
from ifguide.run.store import StageFolder, Store
from ifguide.settings.config import Config

Noun = TypeVar("Noun")


class Kept(ABC):
    """Keeps and reopens each stage of one run, and reads what the stages are made from."""

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
            if save is not None and ranks.is_main():
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

    @property
    @abstractmethod
    def text(self) -> PreparedCorpus:
        """The prepared corpus."""

    # what the run reads

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

        return self.stage("held_out", self._pack_held_out, load)

    # details

    def _pack_held_out(self, out: StageFolder) -> None:
        if not ranks.is_main():
            return
        for name, wanted in self.config.evaluation.perplexity.items():
            documents = held_out_documents(wanted, self.text.held_out, self.data_dir, name)
            pack(documents, self.text.tokenizer, self.config.corpus.block_length, out.path / name)

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

    def _total_tokens(self, name: str) -> int | None:
        if name not in COUNTED:
            return None
        return total_tokens(self.config, name, self.text.corpus.tokens.size)
