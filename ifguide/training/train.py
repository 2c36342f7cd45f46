"""The verb ``train``, on top of ``transformers.Trainer``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PreTrainedModel, Trainer

from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.layout import check_layout, is_laid_out
from ifguide.models.readout import head_as, readout_of
from ifguide.models.sharded import is_sharded
from ifguide.nouns import Corpus, Selection, TrainingCurve
from ifguide.training.arguments import training_arguments
from ifguide.training.collate import NO_LOSS, predicted_tokens
from ifguide.training.config import OBJECTIVES, Objective, TrainingConfig
from ifguide.training.curve import Tally, curve_of
from ifguide.training.guard import PerplexityGuard
from ifguide.training.objectives import (
    SuppressionTerm,
    suppression_loss,
    suppression_loss_of_states,
)
from ifguide.training.reference import Start, reference_losses
from ifguide.training.running import own_attributes, run_trainer

BESIDE = ("labels", "suppress", "reference")  # of a batch, what the model is not called with


class SuppressionTrainer(Trainer):
    """A ``transformers.Trainer`` whose batches carry the mask of tokens not to learn.

    A batch holds ``input_ids``, ``labels`` (the same ids, -100 where there is no loss) and
    ``suppress``, all [B, T] on the axis of the predicted token; ``SuppressionCollator`` makes
    them. An objective that compares with the start reads its losses from ``reference``, [B, T].
    Whatever else it holds (``attention_mask``, ``position_ids``, ...) the model is called
    with; what is padding, and where a row goes on with another sequence, is read off it. Works
    with everything that Trainer works with: accumulation, several processes, checkpoints,
    callbacks.

    The tokens' mean losses are logged beside Trainer's own ``loss``: ``benign_loss`` and
    ``suppressed_loss``, in nats, over all tokens since the last log. The model as it is given here
    is what an objective with ``kl`` compares with; a frozen copy of it stays in memory.

    Raises:
        InputError: one process drives several GPUs, or ``kl`` is asked of a model in shards; or,
            at a batch, ``check_layout`` refuses it.
    """

    def __init__(
        self,
        *args: Any,
        objective: Objective | None = None,
        place: str = TrainingConfig.group,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.place = place
        if self.args.n_gpu > 1:  # nn.DataParallel would divide by the tokens of all devices
            raise InputError(
                f"training: this process sees {self.args.n_gpu} GPUs; set CUDA_VISIBLE_DEVICES to "
                "one, or start one process a GPU with torchrun"
            )
        self.objective = objective or Objective()
        self.model_accepts_loss_kwargs = True  # so that Trainer counts an update's tokens for us
        self._tried_layout = False
        self._head = self._head_in_chunks()
        self._start = None if self.objective.kl is None else Start.of(self.model, self._head)
        self._tally = Tally()
        self.add_callback(self._tally)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the tokens' mean losses beside the loss."""
        if "loss" in logs:
            logs.update(self._tally.taken())
        super().log(logs, start_time)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Tensor]], device: torch.device
    ) -> Tensor | int | None:
        """Count an update's tokens with a loss over all processes; Trainer would go by labels."""
        counted = [
            {"labels": torch.where(predicted_tokens(batch), batch["labels"], NO_LOSS)}
            for batch in batch_samples
        ]
        return super()._get_num_items_in_batch(counted, device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the objective's mean over the tokens of the whole update.

        Raises:
            InputError: it is not finite.
        """
        call = {name: value for name, value in inputs.items() if name not in BESIDE}
        self._try_layout(call)
        objective = self.objective.at(self.state.global_step / max(1, self.state.max_steps))
        batch = (
            inputs["input_ids"],
            inputs["suppress"],
            predicted_tokens(inputs),
            objective,
            num_items_in_batch,
            inputs.get("reference"),
        )
        outputs, loss = self._passed(model, call, batch, whole=return_outputs)
        if not torch.isfinite(loss):
            raise InputError(
                f"{self.place}: the loss is {loss.item()} at update {self.state.global_step + 1}; "
                f"{self._mend(bool(inputs['suppress'].any()))}"
            )
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _mend(self, suppressing: bool) -> str:
        rate = f"lower {self.place}.learning_rate"
        weight = f"{self.place}.objective.weight, or use the clamped objective"
        return f"{rate} or {weight}" if suppressing else rate

    def _passed(
        self, model: nn.Module, call: dict[str, Tensor], batch: tuple[Any, ...], whole: bool
    ) -> tuple[Any, Tensor]:
        """Run the model; return its outputs and the loss, in chunks unless they must be whole."""
        see = self._tally.see if model.training else None
        start, head = self._start, self._head
        if head is None or whole:
            with self.accelerator.autocast():
                before = None if start is None else start.logits(call)
            outputs = model(**call, use_cache=False)
            loss = suppression_loss(outputs.logits, *batch, reference_logits=before, see=see)
            return outputs, loss
        with self.accelerator.autocast():
            pair = None if start is None else start.states(call)
        inner: nn.Linear = head

        def loss_of(states: Tensor) -> Tensor:
            return suppression_loss_of_states(states, inner, *batch, start=pair, see=see)

        with head_as(head, loss_of):
            outputs = model(**call, use_cache=False)
        return outputs, outputs.logits

    def _head_in_chunks(self) -> nn.Linear | None:
        """Return the head where the loss can be taken from its inputs, None where from logits."""
        term: SuppressionTerm = OBJECTIVES.get(self.objective.kind, "training.objective.kind")
        gathered = self.is_fsdp_enabled or self.is_deepspeed_enabled  # a head is whole within alone
        if gathered or self.args.torch_compile or not term.by_token:
            return None
        if not isinstance(self.model, PreTrainedModel):
            return None
        with evaluating(self.model):
            return readout_of(self.model).head

    def _try_layout(self, call: dict[str, Tensor]) -> None:
        """Try once whether the model reads sequences right that begin within their rows."""
        network = self.model
        if self._tried_layout or is_sharded(network) or not is_laid_out(call):
            return
        check_layout(network, call)
        self._tried_layout = True


class MaskedBlocks(Dataset[dict[str, Tensor]]):
    """The corpus's blocks with the tokens to suppress, as ``SuppressionTrainer`` reads them."""

    def __init__(
        self,
        corpus: Corpus,
        selection: Selection | None,
        reference: Float[np.ndarray, "N T"] | None = None,
    ) -> None:
        if selection is not None and selection.corpus.fingerprint != corpus.fingerprint:
            raise InputError(
                f"selection: its mask was made for corpus {selection.corpus.fingerprint[:12]}, not "
                f"for this one ({corpus.fingerprint[:12]}); score and select this corpus"
            )
        self.corpus = corpus
        self.suppress = None if selection is None else selection.suppress
        self.reference = reference

    def __len__(self) -> int:
        return len(self.corpus.tokens)

    def __getitem__(self, block: int) -> dict[str, Tensor]:
        tokens = torch.from_numpy(np.array(self.corpus.tokens[block], dtype=np.int64))
        has_loss = torch.from_numpy(np.array(self.corpus.has_loss[block]))
        if self.suppress is None:
            suppress = torch.zeros_like(has_loss)
        else:
            suppress = torch.from_numpy(np.array(self.suppress[block]))
        labels = torch.where(has_loss, tokens, NO_LOSS)
        batch = {"input_ids": tokens, "labels": labels, "suppress": suppress}
        if self.reference is not None:
            batch["reference"] = torch.from_numpy(self.reference[block])
        return batch


def train(
    model: nn.Module,
    corpus: Corpus,
    selection: Selection | None,
    config: TrainingConfig,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
    measure: Callable[[nn.Module], float] | None = None,
    held_out: Corpus | None = None,
    place: str = TrainingConfig.group,
    record: Callable[[TrainingCurve], None] = lambda curve: None,
) -> nn.Module:
    """Train a model in place, without learning the selected tokens, and return it.

    Args:
        model: a causal language model; it is returned in evaluation mode.
        corpus: the blocks to train on.
        selection: the tokens to suppress; None trains on everything.
        config: hyperparameters and the objective.
        folder: where checkpoints lie; training goes on from the last complete one there.
        seed: orders the blocks and draws any dropout.
        progress: called with the number of tokens just done, over all processes.
        measure: gives a model's perplexity on the text that ``config.guard`` watches.
        held_out: the blocks that are evaluated where ``config.trainer`` asks for it.
        place: where the settings stand, for messages: ``baseline``.
        record: given how the training went, from its first update on, on every process.

    Raises:
        InputError: the mask belongs to another corpus, transformers refuses ``config.trainer``, or
            the loss or a weight is not finite.
    """
    if config.mask_from is not None:
        raise InputError("training.mask_from: train() is given its mask; leave the setting out")
    objective = config.objective if selection is not None else Objective(kind="masking")
    with own_attributes(model):
        trainer = SuppressionTrainer(
            model=model,
            args=training_arguments(config, folder, seed, model, place),
            train_dataset=_blocks(model, corpus, selection, config),
            eval_dataset=None if held_out is None else MaskedBlocks(held_out, None),
            objective=objective,
            place=place,
        )
        watch = _guard_of(config, measure, folder, trainer.log)
        for guard in watch:
            trainer.add_callback(guard)
        run_trainer(trainer, folder, place, progress)
        record(curve_of(trainer.state.log_history))
    for guard in watch:
        guard.restore(model)
    return model.eval()


def _blocks(
    model: nn.Module, corpus: Corpus, selection: Selection | None, config: TrainingConfig
) -> MaskedBlocks:
    """Return the corpus's blocks, with the start's losses where the objective needs them."""
    plain, place = MaskedBlocks(corpus, selection), "training.objective.kind"
    term: SuppressionTerm = OBJECTIVES.get(config.objective.kind, place)
    if selection is None or not term.needs_reference:
        return plain
    losses = reference_losses(model, selection, config.batch_size)
    return MaskedBlocks(corpus, selection, losses)


def _guard_of(
    config: TrainingConfig,
    measure: Callable[[nn.Module], float] | None,
    folder: Path,
    tell: Callable[[dict[str, float]], None],
) -> list[PerplexityGuard]:
    """Return the watch that the settings ask for, or none."""
    if config.guard is None:
        return []
    if measure is None:
        raise InputError(
            "training.guard: there is nothing to measure with; give train() a measure of perplexity"
        )
    return [PerplexityGuard(config.guard, measure, folder, tell)]
