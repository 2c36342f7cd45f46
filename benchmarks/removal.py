"""What becomes of the queries' losses where the tokens of the highest scores are not learnt.

The query loss difference of bergson's tables, by tokens: how much the loss of a query's token grows
when training goes without the top 1% of tokens by a way of scoring, less how much it grows without
as many tokens drawn at random. Toxic queries should become less likely, safe ones stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn

from ifguide import QuerySet
from ifguide.evaluation.metrics import percentile_interval
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of, forward_losses
from ifguide.nouns import Interval

SHARE = 0.01  # of the tokens that have a loss
SIDES = ("toxic", "safe")


@torch.inference_mode()
def summed_losses(model: nn.Module, queries: QuerySet) -> list[float]:
    """Return what the losses of each query's counted tokens sum to, in nats."""
    found = []
    with evaluating(model):
        for tokens, weights in zip(queries.tokens, queries.weights, strict=True):
            row = torch.as_tensor(np.asarray(tokens)[None], device=device_of(model)).long()
            counted = torch.as_tensor(np.asarray(weights) > 0)
            found.append(float(forward_losses(model, row)[0].cpu()[counted].double().sum()))
    return found


def counted_tokens(queries: QuerySet) -> Float[np.ndarray, " Q"]:
    """Return how many tokens of each query count."""
    return np.array([(np.asarray(weights) > 0).sum() for weights in queries.weights], dtype=float)


def at_random(
    has_loss: Bool[np.ndarray, "N T"], draws: int, seed: int
) -> list[Bool[np.ndarray, "N T"]]:
    """Return masks of ``SHARE`` of the tokens that have a loss, drawn without repetition."""
    rng, places = np.random.default_rng(seed), np.flatnonzero(has_loss)
    masks = []
    for _ in range(draws):
        mask = np.zeros(has_loss.size, dtype=bool)
        mask[rng.permutation(places)[: int(SHARE * len(places))]] = True
        masks.append(mask.reshape(has_loss.shape))
    return masks


def difference(
    without: Sequence[float],
    random: Sequence[Sequence[float]],
    tokens: Float[np.ndarray, " Q"],
    resamples: int = 1000,
) -> Interval:
    """Return the query loss difference in nats a token, with an interval over the queries.

    Args:
        without: each query's summed loss after training without the tokens.
        random: the same for each random draw; their mean is what ``without`` is held against.
        tokens: how many tokens of each query count.
        resamples: of the bootstrap, which draws the queries and the random draws alike.
    """
    rng = np.random.default_rng(0)
    found, others = np.asarray(without), np.asarray(random)

    def figure(queries: np.ndarray, draws: np.ndarray) -> float:
        grown = found[queries] - others[draws][:, queries].mean(0)
        return float(grown.sum() / tokens[queries].sum())

    every = figure(np.arange(len(found)), np.arange(len(others)))
    drawn = [
        figure(
            rng.integers(len(found), size=len(found)), rng.integers(len(others), size=len(others))
        )
        for _ in range(resamples)
    ]
    return percentile_interval(every, np.array(drawn))


def tabulated(rows: Mapping[str, Mapping[str, Interval]], random_draws: int) -> list[str]:
    """Return the lines of the Markdown section."""
    lines = [
        f"## Without the top {SHARE:.0%} of tokens",
        "",
        f"By how much the loss of a query's token grows, in nats, over {random_draws} trainings",
        "without as many random tokens (query loss difference); in brackets 95% bootstrap",
        "intervals over the queries and the random draws.",
        "",
        "| scores | toxic queries | safe queries |",
        "|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [
            f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"
            for found in (row[side] for side in SIDES)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]
