"""Training of reward models: the toxicity of a text, learnt at every prefix of it.

Shape legend: B texts a batch, T tokens a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Trainer

from ifguide.corpus.starts import room_behind, text_start
from ifguide.corpus.tokenizers import encode, end_of_text
from ifguide.errors import InputError
from ifguide.models.forward import positions_of
from ifguide.rivals.config import RewardConfig
from ifguide.rivals.reward import RewardModel, reward_from
from ifguide.training.arguments import training_arguments
from ifguide.training.running import own_attributes, run_trainer


def cumulative_error(
    predicted: Float[Tensor, "B T"], toxicity: Float[Tensor, " B"], place: Int[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Return the mean over texts of ``sum_t t (r_t - y)^2 / sum_t t``, t = 1, 2, ... in a text.

    The squared error at every prefix, weighted by its length (Deng & Raffel 2023, section 2.2):
    what a text comes to shows toward its end.

    Args:
        predicted: r, the model's figure after each token.
        toxicity: y, of the whole text.
        place: t, how many tokens of the text were read; 0 where none was, and in padding.
    """
    errors = place * (predicted - toxicity[:, None]) ** 2
    return (errors.sum(1) / place.sum(1)).mean()


def train_reward(
    backbone: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    toxicity: Float[np.ndarray, " n"],
    config: RewardConfig,
    *,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> RewardModel:
    """Train a reward model that starts from a language model, and return it in evaluation mode.

    Cost: three forward passes over the texts' tokens an epoch.

    Args:
        backbone: a causal language model; its base model is copied, and stays as it is.
        tokenizer: the model's; every text follows its ``text_start``.
        texts: n texts.
        toxicity: of each text, in [0, 1].
        config: hyperparameters.
        folder: where checkpoints lie; training goes on from the last complete one there.
        seed: orders the texts and draws any dropout.
        progress: called with the number of tokens just learnt from, padding included.

    Raises:
        InputError: texts and toxicities do not fit one another, all are equally toxic, there are
            fewer than a batch, a text has no token, or the loss or a weight is not finite.
    """
    examples = _examples(tokenizer, texts, toxicity, config)
    positions = positions_of(backbone)
    if positions is not None and config.max_length > positions:
        raise InputError(
            f"compare.reward.max_length: {config.max_length} is more than the model's {positions} "
            f"positions; give at most {positions}"
        )
    reward = reward_from(backbone, tokenizer)
    nn.init.constant_(reward.head.bias, float(toxicity.mean()))
    with own_attributes(reward):
        trainer = _RewardTrainer(
            model=reward,
            args=training_arguments(config, folder, seed, reward),
            train_dataset=examples,
            data_collator=_Padding(end_of_text(tokenizer), len(text_start(tokenizer))),
        )
        run_trainer(trainer, folder, config.group, progress)
    return reward.eval()


class _RewardTrainer(Trainer):
    loss_is_scaled_for_ga = False  # a batch's loss is a mean: an update's is the mean of them

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        predicted = model(inputs["input_ids"])
        loss = cumulative_error(predicted, inputs["toxicity"], inputs["place"])
        if not torch.isfinite(loss):
            raise InputError(
                f"compare.reward: the loss is {loss.item()} at update "
                f"{self.state.global_step + 1}; lower compare.reward.learning_rate"
            )
        return loss


class _Padding:
    """Make a batch of examples, padded on the right, of which ``before`` tokens are no text."""

    def __init__(self, token: int, before: int) -> None:
        self.token, self.before = token, before

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        width = max(len(example["input_ids"]) for example in examples)
        tokens = torch.full((len(examples), width), self.token)
        place = torch.zeros_like(tokens)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            tokens[row, :length] = torch.tensor(example["input_ids"])
            read = torch.arange(length) - (self.before - 1)
            place[row, :length] = read.clamp(min=0)  # 0 before the text's first token
        toxicity = torch.tensor([example["toxicity"] for example in examples])
        return {"input_ids": tokens, "place": place, "toxicity": toxicity}


def _examples(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    toxicity: Float[np.ndarray, " n"],
    config: RewardConfig,
) -> list[dict[str, Any]]:
    if len(texts) != len(toxicity):
        raise InputError(
            f"compare.reward: {len(texts)} texts have {len(toxicity)} toxicities; give each one"
        )
    wrong = np.flatnonzero(~((toxicity >= 0) & (toxicity <= 1)))  # also NaN
    if len(wrong):
        raise InputError(
            f"compare.reward: text {wrong[0]} has toxicity {toxicity[wrong[0]]}; it is a number in "
            "[0, 1]"
        )
    if len(texts) < config.batch_size:
        raise InputError(
            f"compare.reward: {len(texts)} texts are fewer than one batch of {config.batch_size}; "
            "give more, or lower compare.reward.batch_size"
        )
    if np.ptp(toxicity) == 0:
        raise InputError(
            f"compare.reward: all texts have toxicity {toxicity[0]}; give toxic and harmless "
            "ones, or another judge (compare.labeller)"
        )
    start = text_start(tokenizer)
    room = room_behind(start, config.max_length, "compare.reward.max_length")
    examples: list[dict[str, Any]] = [
        {"input_ids": [*start, *encoded.tokens[:room].tolist()], "toxicity": float(score)}
        for encoded, score in zip(encode(tokenizer, texts), toxicity, strict=True)
    ]
    for number, example in enumerate(examples):
        if len(example["input_ids"]) == len(start):
            raise InputError(f"compare.reward: text {number} is empty; remove it")
    return examples
