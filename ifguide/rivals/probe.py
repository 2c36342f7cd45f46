"""A linear probe: logistic regression on the model's hidden states, learnt from the queries."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError, one_line
from ifguide.models.forward import check_queries_fit, evaluating
from ifguide.models.losses import device_of
from ifguide.models.precision import full_precision
from ifguide.nouns import Contrast, Corpus, QuerySet, TokenScores
from ifguide.rivals.token_loss import BATCH_TOKENS, over_blocks


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How the probe is fitted.

    Args:
        penalties: strengths of the L2 penalty, ``penalty / 2 * |w|^2`` beside the summed log loss
            of standardised features; the one with the best average precision over ``folds`` is
            taken.
        folds: parts of the queries, each held out once; with a single penalty none is.
        iterations: at most this many of L-BFGS.
    """

    penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    folds: int = 3
    iterations: int = 300

    def __post_init__(self) -> None:
        if not self.penalties or min(self.penalties) <= 0:
            raise InputError(f"probe: penalties {self.penalties} are not all above 0; try (100.0,)")
        if self.folds < 2:
            raise InputError(f"probe: folds is {self.folds}; give 2 or more")
        if self.iterations < 1:
            raise InputError(f"probe: iterations is {self.iterations}; give 1 or more")


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """``log-odds of "toxic" = weight . h + bias`` of a hidden state h."""

    weight: Float[np.ndarray, " d"]
    bias: float
    penalty: float


def probe(
    model: nn.Module,
    corpus: Corpus,
    contrast: Contrast,
    config: ProbeConfig | None = None,
    *,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Score every token by a linear probe's log-odds, in nats, that it is toxic.

    A token's feature is the last hidden state of the network *at* the token: the model has read it
    and predicts the next one. The queries' tokens that carry weight are the examples, labelled by
    their side. Tokens without a loss hold 0.

    Raises:
        InputError: scikit-learn is not installed, or the queries leave a side without a token.
    """
    config = config or ProbeConfig()
    features, toxic, group = query_states(model, contrast)
    fitted = fit_probe(features, toxic, group, config)
    device = device_of(model)
    weight = torch.as_tensor(fitted.weight, device=device)

    def log_odds(tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        return hidden_states(model, tokens).double() @ weight + fitted.bias

    values = over_blocks(model, corpus, log_odds, progress)
    described = {"control": "probe", "penalty": fitted.penalty, "queries": contrast.fingerprint}
    return TokenScores(values, corpus, described)


def fit_probe(
    features: Float[np.ndarray, "n d"],
    toxic: Bool[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    config: ProbeConfig | None = None,
) -> LinearProbe:
    """Fit a logistic regression on standardised features, its penalty by cross-validation.

    Args:
        features: one row an example.
        toxic: its label.
        group: the query it came from; a query is never split between folds.
        config: penalties and folds.

    Raises:
        InputError: scikit-learn is not installed, or only one label is there.
    """
    config = config or ProbeConfig()
    learn = _scikit_learn("linear_model")
    if toxic.all() or not toxic.any():
        raise InputError("probe: a side of the queries has no token with weight; add queries")
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (features - mean) / scale

    def fit(penalty: float, rows: Bool[np.ndarray, " n"]) -> Any:
        regression = learn.LogisticRegression(C=1 / penalty, max_iter=config.iterations, tol=1e-6)
        return regression.fit(standard[rows], toxic[rows])

    penalty = _best_penalty(standard, toxic, group, config, fit)
    regression = fit(penalty, np.ones(len(toxic), dtype=bool))
    weight = regression.coef_[0].astype(np.float64) / scale
    return LinearProbe(weight, float(regression.intercept_[0] - weight @ mean), penalty)


def query_states(
    model: nn.Module, contrast: Contrast
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return the hidden states at the queries' weighted tokens, whether each is of the toxic side,
    and the number of its query."""
    check_queries_fit(model, contrast.toxic, contrast.safe)
    parts = [
        (states[counted], np.full(int(counted.sum()), toxic), np.full(int(counted.sum()), number))
        for side, toxic in ((contrast.toxic, True), (contrast.safe, False))
        for number, states, counted in _states(model, side)
    ]
    features, labels, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    return features, labels, numbers


def hidden_states(model: nn.Module, tokens_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T d"]:
    """Return what the network hands to the LM head; sequences may be padded on the right."""
    network: Any = model
    with full_precision(model):
        return network.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state


def _states(
    model: nn.Module, side: QuerySet
) -> Iterator[tuple[int, Float[np.ndarray, "T d"], Bool[np.ndarray, " T"]]]:
    """Yield a query's number, hidden states and counted tokens; equal lengths run together."""
    by_length = sorted(range(len(side.tokens)), key=lambda q: len(side.tokens[q]))
    with evaluating(model):
        for length, same in itertools.groupby(by_length, key=lambda q: len(side.tokens[q])):
            queries = list(same)
            size = max(1, BATCH_TOKENS // length)
            for batch in (queries[k : k + size] for k in range(0, len(queries), size)):
                tokens = np.stack([side.tokens[q] for q in batch])
                with torch.no_grad():
                    ids = torch.as_tensor(tokens, device=device_of(model)).long()
                    states = hidden_states(model, ids)
                for q, found in zip(batch, states.float().cpu().numpy(), strict=True):
                    yield q, found, np.asarray(side.weights[q]) > 0


def _best_penalty(
    features: Float[np.ndarray, "n d"],
    toxic: Bool[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    config: ProbeConfig,
    fit: Callable[[float, Bool[np.ndarray, " n"]], Any],
) -> float:
    """Return the penalty whose held-out log-odds have the highest mean average precision."""
    if len(config.penalties) == 1:
        return config.penalties[0]
    metrics = _scikit_learn("metrics")
    fold = group % config.folds
    usable = [
        (fold != k, fold == k)
        for k in range(config.folds)
        if all(0 < toxic[part].sum() < part.sum() for part in (fold != k, fold == k))
    ]

    def quality(penalty: float) -> float:
        return sum(
            metrics.average_precision_score(
                toxic[held_out], fit(penalty, kept).decision_function(features[held_out])
            )
            for kept, held_out in usable
        )

    return max(config.penalties, key=quality)


def _scikit_learn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise InputError(
            f"probe: scikit-learn is not installed ({one_line(error)}); run "
            "pip install 'ifguide[probe]'"
        ) from error
