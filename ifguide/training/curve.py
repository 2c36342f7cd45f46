"""How a training goes: the losses of its benign and its suppressed tokens, and what else is logged.

Sums run from one log of ``Trainer`` to the next, over all processes. A checkpoint holds those since
the last log, so that an interrupted training goes on to the same curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ifguide.distributed import ranks
from ifguide.files import read_json, write_json
from ifguide.nouns import TrainingCurve, TrainingPoint

SUMS = "losses.json"  # in a checkpoint: the sums since the last log
NAMES = ("benign_loss", "suppressed_loss")
FIGURES = tuple(field.name for field in fields(TrainingPoint) if field.name != "update")


class Tally(TrainerCallback):
    """Sums of this process's token losses since the last log, and how many there were."""

    def __init__(self) -> None:
        self._sums = torch.zeros(2, 2, dtype=torch.float64)  # benign, selected; sum, count
        self._seen: list[Tensor] = []  # as _sums, where they were computed

    def see(self, losses: Float[Tensor, " n"], selected: Bool[Tensor, " n"]) -> None:
        """Take in some tokens' losses, in nats, and which of the tokens are selected."""
        kind = torch.float32 if losses.device.type == "mps" else torch.float64
        of_selected, count = (losses * selected).sum(dtype=kind), selected.sum()
        rows = (losses.sum(dtype=kind) - of_selected, len(losses) - count, of_selected, count)
        sums = torch.stack([row.to(kind) for row in rows])
        self._seen = [sums if not self._seen else self._seen[0] + sums]

    def taken(self) -> dict[str, float]:
        """Return the mean losses over all processes, of what there was, and begin anew."""
        sums = ranks.sum_over_ranks(self._gathered().clone())
        self._sums.zero_()
        return {
            name: float(total / count)
            for name, (total, count) in zip(NAMES, sums, strict=True)
            if count
        }

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with the sums that the checkpoint holds, if training goes on from one."""
        file = _file(args, state)
        self._seen = []
        self._sums.zero_()
        if state.global_step and ranks.is_main() and file.exists():
            self._sums += torch.tensor(read_json(file), dtype=torch.float64)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the sums of all processes into the checkpoint."""
        sums = ranks.sum_over_ranks(self._gathered().clone())
        if ranks.is_main():
            write_json(_file(args, state), sums.tolist())

    def _gathered(self) -> Float[Tensor, "2 2"]:
        for sums in self._seen:
            self._sums += sums.view(2, 2).cpu()
        self._seen = []
        return self._sums


def _file(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / SUMS


def curve_of(history: Iterable[Mapping[str, Any]]) -> TrainingCurve:
    """Return how a training went by Trainer's ``log_history``; what is not finite is left out.

    >>> curve_of([{"step": 1, "benign_loss": 2.5, "epoch": 0.1}, {"step": 1, "learning_rate": 0.1}])
    TrainingCurve(points=(TrainingPoint(update=1, benign_loss=2.5, suppressed_loss=None, \
learning_rate=0.1, guard_perplexity=None),))
    """
    found: dict[int, dict[str, float]] = {}
    for entry in history:
        told = {name: float(entry[name]) for name in FIGURES if name in entry}
        finite = {name: value for name, value in told.items() if math.isfinite(value)}
        if finite:
            found.setdefault(int(entry["step"]), {}).update(finite)
    return TrainingCurve(
        points=tuple(TrainingPoint(update=update, **found[update]) for update in sorted(found))
    )
