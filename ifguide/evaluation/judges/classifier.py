"""A judge that is a sequence-classification model, whatever its checkpoint's layout."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.tokenizers import loading
from ifguide.errors import InputError
from ifguide.models.digest import digest_of
from ifguide.models.forward import positions_of

Activation: TypeAlias = Literal["sigmoid", "softmax", "none"]

BATCH = 32
NO_TOKEN = -1
NAMED_BY = "evaluation.judges, compare.labeller or --judges"  # where judges' names are given
UNLIMITED = 2**20  # tokens; tokenizers without a limit say 1e30
# A label is found by its whole name; an earlier group wins over a later one.
TOXIC_LABELS = (
    {"toxic", "toxicity"},
    {"hate", "hateful", "hate_speech", "offensive", "abusive", "harmful", "unsafe"},
)


@final
class ClassifierJudge:
    """What a sequence-classification model says of one of its labels.

    Independent labels are the judge's categories; exclusive ones say nothing that the toxic one's
    probability does not, and what a regression gives beside it need not be a toxicity.

    Args:
        name: of the judge.
        model: gives logits over labels, and may give more behind them; runs where it is.
        tokenizer: the model's.
        labels: their names.
        label: the toxic label's number.
        activation: what makes scores of the logits; ``none`` where the model gives scores itself.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        label: int,
        *,
        activation: Activation,
    ) -> None:
        self.name, self.label, self.activation = name, label, activation
        self.categories = tuple(labels) if activation == "sigmoid" and len(labels) > 1 else ()
        self._labels = len(labels)
        self._model, self._tokenizer = model.eval(), tokenizer
        self._longest = _longest_input(model, tokenizer)
        _nothing_is_padding(model)

    @cached_property
    def weights(self) -> str:
        """The sha256 of the model's weights."""
        return digest_of(self._model)

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the toxic label's score; of a text too long for the model, of its beginning."""
        return self.columns(texts)[:, self.label]

    def columns(self, texts: Sequence[str]) -> Float[np.ndarray, "n labels"]:
        """Return the score of every label.

        Only texts of as many tokens share a batch. So none is padded, and each gets the score that
        it gets alone, whichever side, token or mask the model would want padding by.

        Raises:
            ValueError: a text has no tokens, not even special ones.
        """
        scores = np.zeros((len(texts), self._labels))
        if not len(texts):
            return scores
        encoded = self._encoded(texts, truncation=True, max_length=self._longest)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        if not all(lengths):
            raise ValueError("the text has no tokens")
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        for _, group in groupby(order, key=lengths.__getitem__):
            alike = list(group)
            for first in range(0, len(alike), BATCH):
                batch = alike[first : first + BATCH]
                fields = {name: [rows[k] for k in batch] for name, rows in encoded.items()}
                scores[batch] = self._scores(fields)
        return scores

    def too_long(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return which texts have more tokens than the model reads; it reads their beginnings."""
        if not len(texts):
            return np.zeros(0, dtype=bool)
        whole = self._encoded(texts, verbose=False)["input_ids"]
        return np.array([len(ids) > self._longest for ids in whole])

    def _encoded(self, texts: Sequence[str], **cut: Any) -> Any:
        """Tokenise texts; a special token that a text spells out stays text."""
        return self._tokenizer(list(texts), split_special_tokens=True, **cut)

    @torch.no_grad()
    def _scores(self, fields: dict[str, list[list[int]]]) -> Float[np.ndarray, "n labels"]:
        device: Any = self._model.device
        given = {name: torch.tensor(rows, device=device) for name, rows in fields.items()}
        logits = self._model(**given).logits.double()
        if self.activation == "sigmoid":
            logits = logits.sigmoid()
        elif self.activation == "softmax":
            logits = logits.softmax(-1)
        return logits[:, : self._labels].cpu().numpy()


def activation_of(config: Any) -> Activation:
    """Return what a checkpoint's ``problem_type`` says, or else its number of labels.

    It is what transformers' own text-classification pipeline does: a single label that is not
    said to be a regression's is a probability of its own.
    """
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


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
        raise InputError(
            f"judge '{name}': no label '{wanted}' among {', '.join(labels)}; name one of them "
            f"behind the # ({NAMED_BY})"
        )
    plain = [label.lower().replace(" ", "_").replace("-", "_") for label in labels]
    for group in TOXIC_LABELS:
        found = [number for number, label in enumerate(plain) if label in group]
        if len(found) == 1:
            return found[0]
    raise InputError(
        f"judge '{name}': which of its labels means toxic is not clear ({', '.join(labels)}); add "
        f"#LABEL to the judge's name ({NAMED_BY})"
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


def loading_judge(name: str, place: str) -> AbstractContextManager[None]:
    """Turn whatever is raised while a judge's checkpoint is loaded into one line (``loading``)."""
    mend = "give a checkpoint on this machine, or a name on the hub (which needs the network)"
    return loading(f"judge '{name}': {place}", mend, "give --trust-remote-code to `ifguide judge`")


def _nothing_is_padding(model: nn.Module) -> None:
    """Let a model without a padding id read batches: no token of theirs is padding.

    Models that classify by a text's last token look for it before the padding, and refuse batches
    where they do not know what padding is.
    """
    whole: Any = model.config
    for config in (whole, whole.get_text_config()):
        if config.pad_token_id is None:
            config.pad_token_id = NO_TOKEN


def _longest_input(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens the model reads; RoBERTa's positions begin behind its padding id."""
    positions = positions_of(model)
    offsets = [
        module.padding_idx + 1
        for path, module in model.named_modules()
        if path.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    room = UNLIMITED if positions is None else positions - max(offsets, default=0)
    return int(min(room, tokenizer.model_max_length, UNLIMITED))
