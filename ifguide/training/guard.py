"""A watch over held-out perplexity while tokens are being suppressed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ifguide.distributed import ranks
from ifguide.files import read_json, write_json
from ifguide.training.config import Guard

HISTORY = "guard.json"  # [[update, perplexity], ...]
SOUND = "sound.safetensors"  # the last weights within the bound
log = logging.getLogger(__name__)


class PerplexityGuard(TrainerCallback):
    """Measure, warn, and stop; what was measured lies in ``folder`` and in its checkpoints."""

    def __init__(
        self,
        guard: Guard,
        measure: Callable[[nn.Module], float],
        folder: Path,
        tell: Callable[[dict[str, float]], None] = lambda figures: None,
    ) -> None:
        self.guard, self.measure, self.folder, self.tell = guard, measure, folder, tell
        self.history: list[tuple[int, float]] = []
        self.stopped = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take in what was measured before, or measure the start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if state.global_step == 0:
            self._look(0, kwargs["model"], control)
            return
        if ranks.is_main():
            self._copy(self._checkpoint(state), self.folder)
        for step, value in read_json(self._checkpoint(state) / HISTORY):
            self._judge(step, value, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where it is time."""
        step = state.global_step
        if step % self.guard.every == 0 or step == state.max_steps:
            self._look(step, kwargs["model"], control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put what was measured into the checkpoint, whose checksums are taken after this."""
        if ranks.is_main():
            self._copy(self.folder, self._checkpoint(state))

    def _copy(self, folder: Path, to: Path) -> None:
        for name in (HISTORY, SOUND) if self.guard.stop else (HISTORY,):
            shutil.copyfile(folder / name, to / name)

    def _checkpoint(self, state: TrainerState) -> Path:
        return self.folder / f"checkpoint-{state.global_step}"

    def _look(self, step: int, model: nn.Module, control: TrainerControl) -> None:
        value = self.measure(model)
        self.tell({"guard_perplexity": value})
        sound = self._judge(step, value, control)
        if not sound:
            log.warning(
                "training: perplexity of '%s' is %.2f after update %d, %.3f times its lowest",
                self.guard.text,
                value,
                step,
                value / min(seen for _, seen in self.history),
            )
        if ranks.is_main():
            if sound and self.guard.stop:
                save_model(model, str(self.folder / SOUND))
            write_json(self.folder / HISTORY, self.history)

    def _judge(self, step: int, value: float, control: TrainerControl) -> bool:
        """Take a measurement in, and return whether it is within the bound."""
        self.history.append((step, value))
        sound = value <= self.guard.bound * min(seen for _, seen in self.history)
        if not sound:
            self.stopped = control.should_training_stop = self.guard.stop
        return sound

    def restore(self, model: nn.Module) -> None:
        """Go back to the last sound weights, if training was stopped."""
        ranks.barrier()
        if self.stopped:
            load_model(model, str(self.folder / SOUND))
