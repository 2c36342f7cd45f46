"""A judge that is a sequence-classification model, whatever its checkpoint's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.tokenizers import refuse_own_code
from ifguide.errors import InputError

BATCH = 32
UNLIMITED = 2**20  # tokens; tokenizers without a limit say 1e30
# A label is found by its whole name; an earlier group wins over a later one.
TOXIC_LABELS = (
    {"toxic", "toxicity"},
    {"hate", "hateful", "hate_speech", "offensive", "abusive", "harmful", "unsafe"},
)


@final
class ClassifierJudge:
    """The probability that a sequence-classification model gives to one of its labels.

    Independent labels are the judge's categories; exclusive ones say nothing that the toxic one's
    probability does not.

    Args:
        name: of the judge.
        model: gives logits over labels, and may give more behind them; runs where it is.
        tokenizer: the model's.
        labels: their names.
        label: the toxic label's number.
        independent: labels are independent (sigmoid), not exclusive (softmax).
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        label: int,
        *,
        independent: bool,
    ) -> None:
        self.name, self.label, self.independent = name, label, independent
        self.categories = tuple(labels) if independent and len(labels) > 1 else ()
        self._labels = len(labels)
        self._model, self._tokenizer = model.eval(), tokenizer
        self._longest = _longest_input(model, tokenizer)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
            config: Any = model.config
            config.pad_token_id = tokenizer.eos_token_id

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the toxic label's probability; what exceeds the model's positions is cut off."""
        return self.columns(texts)[:, self.label]

    def columns(self, texts: Sequence[str]) -> Float[np.ndarray, "n labels"]:
        """Return the probability of every label."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        scores = np.zeros((len(texts), self._labels))
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            scores[batch] = self._probabilities([texts[number] for number in batch])
        return scores

    @torch.no_grad()
    def _probabilities(self, texts: list[str]) -> Float[np.ndarray, "n labels"]:
        encoded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self._model.device)
        logits = self._model(**encoded).logits.double()
        chances = logits.sigmoid() if self.independent else logits.softmax(-1)
        return chances[:, : self._labels].cpu().numpy()


def toxic_label(name: str, labels: Sequence[str], wanted: str) -> int:
    """Return the number of the wanted label, or of the only one whose name says toxic.

    Args:
        name: of the judge.
        labels: of its model.
        wanted: a label or its number; "" where none is asked for.

    Raises:
        InputError: there is no such label, or which one means toxic is not clear.
    """
    if wanted:
        if wanted in labels:
            return labels.index(wanted)
        if wanted.isdecimal() and int(wanted) < len(labels):
            return int(wanted)
        raise InputError(f"judge '{name}': no label '{wanted}' among {', '.join(labels)}")
    plain = [label.lower().replace(" ", "_").replace("-", "_") for label in labels]
    for group in TOXIC_LABELS:
        found = [number for number, label in enumerate(plain) if label in group]
        if len(found) == 1:
            return found[0]
    raise InputError(
        f"judge '{name}': which of its labels means toxic is not clear ({', '.join(labels)}); add "
        "#LABEL to the judge's name"
    )


def files_of(folder: Path) -> list[Path]:
    """Return the files that make up a checkpoint folder; none where there is no such folder.

    Hidden files and what lies in folders below it are no part of it.
    """
    if not folder.is_dir():
        return []
    return [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]


def placed(model: nn.Module) -> nn.Module:
    """Move a judge's model to the GPU where there is one."""
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def not_loaded(name: str, place: str, error: BaseException) -> InputError:
    """Return what is said of a checkpoint that a library could not load, in one line.

    Raises:
        InputError: it could not because code that comes with it would have to run.
    """
    mend = "give --trust-remote-code to `ifguide judge`"
    refuse_own_code(error, f"judge '{name}': {place}", mend)
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(
        f"judge '{name}': {place} cannot be loaded: {line}; give a checkpoint on this machine, or "
        "a name on the hub (which needs the network)"
    )


def _longest_input(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens the model reads; RoBERTa's positions begin behind its padding id."""
    positions = getattr(model.config, "max_position_embeddings", None)
    offsets = [
        module.padding_idx + 1
        for path, module in model.named_modules()
        if path.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    room = UNLIMITED if positions is None else positions - max(offsets, default=0)
    return int(min(room, tokenizer.model_max_length, UNLIMITED))
