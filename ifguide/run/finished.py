"""A finished run, opened to be looked at; nothing in its folder is made or changed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, final

from torch import nn

from ifguide.corpus.prepare import PreparedCorpus, open_prepared
from ifguide.corpus.queries import load_contrast
from ifguide.errors import InputError
from ifguide.evaluation.prompts import Prompt, prompts_of
from ifguide.files import read_json
from ifguide.models.load import load_checkpoint, load_model, model_fingerprint
from ifguide.nouns import Contrast
from ifguide.run.store import MANIFEST
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config

STAGE_OF = {"baseline": "baseline", "suppressed": "train"}


def check_finished(folder: Path, *stages: str) -> None:
    """Refuse a folder in which one of these stages is not finished; the last one is the latest."""
    for stage in stages:
        if not (folder / stage / MANIFEST).exists():
            raise InputError(
                f"{folder}: it has no finished stage '{stage}'; run `ifguide {stages[-1]}` first"
            )


@final
class FinishedRun:
    """What a run has made up to its suppressed model.

    Raises:
        InputError: one of its stages is not finished.
    """

    def __init__(self, folder: Path) -> None:
        check_finished(folder, "corpus", "train")
        self.folder = folder
        self.config: Config = read_config(folder / "config.yaml")
        if self.config.baseline is not None:
            check_finished(folder, "baseline", "train")
        self.data_dir = Path(self.config.data_dir)

    @cached_property
    def text(self) -> PreparedCorpus:
        """The corpus, its tokenizer and the held-out documents."""
        return open_prepared(self.folder / "corpus")

    @cached_property
    def contrast(self) -> Contrast:
        """The two query sets."""
        seed = self.config.seed + 1
        tokenizer = self.text.tokenizer
        return load_contrast(self.config.queries, tokenizer, self.data_dir, seed_of_builtin=seed)

    def prompts(self, name: str) -> list[Prompt]:
        """Return the evaluation's prompt set of this name."""
        wanted = self.config.evaluation.prompt_sets[name]
        return prompts_of(wanted, self.text.held_out, self.data_dir, self.config.seed, name)

    def model(self, name: str) -> nn.Module:
        """Load the ``baseline`` or the ``suppressed`` model."""
        if self._is_given(name):
            config = self.config
            return load_model(
                config.model, self.text.tokenizer, config.corpus.block_length, config.seed
            )
        return load_checkpoint(self.folder / STAGE_OF[name])

    def fingerprint(self, name: str) -> str:
        """Return what a model was made of."""
        if self._is_given(name):
            return model_fingerprint(self.config.model)
        manifest: dict[str, Any] = read_json(self.folder / STAGE_OF[name] / MANIFEST)
        return str(manifest["fingerprint"])

    def _is_given(self, name: str) -> bool:
        """Whether the model is the checkpoint that the run was given."""
        return name == "baseline" and self.config.baseline is None
