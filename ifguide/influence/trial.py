"""Whether a model can do what a run will ask of it, tried on a few tokens before any training.

No family is named: what a model cannot do shows when it is done.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ifguide.errors import InputError, one_line, reading
from ifguide.influence.config import ENGINES, CurvatureConfig, ScoreConfig
from ifguide.influence.engines.engine import ScoreEngine, WeightDirection
from ifguide.models.forward import evaluating, few_tokens
from ifguide.models.hooks import observed
from ifguide.models.load import load_checkpoint
from ifguide.models.losses import embedding_of, forward_logits, forward_losses
from ifguide.models.precision import is_half, widened
from ifguide.models.quantised import is_quantised
from ifguide.models.tracked import TrackedWeight, find_tracked

TOKENS = 8  # in a block of the trial
# of the largest logit, how far a later token may move one: experts' kernels round otherwise, and
# 8-bit maps choose by all tokens which columns they multiply in half precision
ROUNDING, QUANTISED_ROUNDING = 1e-5, 0.02
SHARE_BOUND = 0.01  # of the largest share of a token in a weight's derivative
SUM_BOUND = 0.05  # of Σ|S|, how far two engines' sums over a block may be apart
SAVED = 2**31  # bytes of weights at most that are saved and loaded for a trial
MOVED = 0.02  # the noise on them, about what models are initialised with
COMES_BACK = 1e-3  # of the largest logit, how far a saved model's may be away
MEND = "use another causal language model (model.path, or model.scratch's model_type)"


def try_out(
    model: nn.Module, curvature: CurvatureConfig | None = None, scores: ScoreConfig | None = None
) -> None:
    """Try a model on blocks of a few tokens; nothing of it changes.

    Args:
        model: of any family.
        curvature: its hooks are tried; by default they are not.
        scores: its engine is tried; by default none is.

    Raises:
        InputError: the model cannot be run, sees later tokens, or cannot do what the curvature or
            the engine needs; the line says what it can.
    """
    tokens = few_tokens(model, TOKENS)
    with evaluating(model):
        _check_causal(model, tokens)
        tracked = find_tracked(model)
        if curvature is not None and curvature.kind != "identity":
            problem = _problem_of_hooks(model, tracked, tokens)
            if problem:
                raise InputError(
                    f"curvature.kind: {curvature.kind} cannot be fitted on this model ({problem}); "
                    f"set curvature.kind to identity, or {MEND}"
                )
        if scores is not None and scores.logprobs is None:
            _check_engine(model, tracked, tokens, scores)


def try_saving(model: nn.Module, *, trust_remote_code: bool = False) -> None:
    """Save a copy of a model, load it again, and compare what the two say of a few tokens.

    Some families come back with other weights, and without a word: with a row of the embedding set
    to zero, say. So what training would change is first moved away from where it is initialised.
    A model of more than ``SAVED`` bytes is not tried, which would take minutes; nor is a quantised
    one, which cannot be moved.

    Args:
        model: of any family; nothing of it changes.
        trust_remote_code: run the code that it came with.

    Raises:
        InputError: it cannot be saved, or is another model afterwards.
    """
    weights = model.state_dict().values()
    if is_quantised(model) or sum(w.numel() * w.element_size() for w in weights) > SAVED:
        return
    tokens = few_tokens(model, TOKENS)
    fault = "it cannot be saved and loaded again"
    with (
        reading("model", MEND, fault=fault, lines=1),
        TemporaryDirectory() as folder,
        torch.random.fork_rng(),
        torch.no_grad(),
    ):
        saved: Any = copy.deepcopy(model).eval()
        for parameter in saved.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=MOVED)
        before = forward_logits(saved, tokens)
        saved.save_pretrained(folder)
        del saved
        again = load_checkpoint(Path(folder), trust_remote_code=trust_remote_code)
        apart = (before - forward_logits(again, tokens).to(before)).abs().max()
    if not apart <= COMES_BACK * before.abs().max():
        raise InputError(f"model: saved and loaded again it is another model; {MEND}")


def _check_causal(model: nn.Module, tokens: Int[Tensor, "2 T"]) -> None:
    """Refuse a model in which another last token changes what is said of the tokens before it."""
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % len(embedding_of(model).weight)
    wide = widened(model)  # where nothing is lost
    try:
        with torch.no_grad():
            before, after = (forward_logits(wide, ids)[:, :-1] for ids in (tokens, other))
    except Exception as error:
        raise InputError(f"model: it does not run on text: {one_line(error, 1)}; {MEND}") from error
    if before.numel() == 0:
        return
    moved, size = (before - after).abs().max(), before.abs().max()
    if moved > (QUANTISED_ROUNDING if is_quantised(model) else ROUNDING) * size:
        raise InputError(
            "model: another last token changes what it says of the tokens before, so it is no "
            f"causal language model; {MEND}"
        )


def _problem_of_hooks(
    model: nn.Module, tracked: Sequence[TrackedWeight], tokens: Int[Tensor, "2 T"]
) -> str:
    """Say why the curvature's hooks do not see what they must; "" where they do.

    The blocks are run together and alone: the rows that a hook is given must be its block's.
    """

    direction = _direction(tracked)

    def shares(block: Int[Tensor, "B T"]) -> dict[str, Float[Tensor, "B T"]]:
        found: dict[str, Tensor] = {}

        def consume(weight: TrackedWeight, a_BTI: Tensor, d_BTO: Tensor) -> None:
            share = ((a_BTI @ direction[weight.name].T) * d_BTO).sum(-1)
            found[weight.name] = found.get(weight.name, 0) + share.float()

        with observed(model, tracked, consume), torch.enable_grad():
            forward_losses(model, block).sum().backward()
        return found

    try:
        together, alone = shares(tokens), [shares(tokens[:1]), shares(tokens[1:])]
    except InputError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a family raises is what it cannot do
        return one_line(error, 1)
    expected = {name: torch.cat([one[name] for one in alone]) for name in together}
    rounding = 1e-6 * max(float(share.abs().max()) for share in expected.values())
    for name, share in together.items():
        apart, size = (share - expected[name]).abs().max(), expected[name].abs().max()
        if not is_half(model) and apart > SHARE_BOUND * size + rounding:
            return f"the inputs of weight '{name}' are not told apart by block"
    return ""


def _check_engine(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    tokens: Int[Tensor, "2 T"],
    config: ScoreConfig,
) -> None:
    direction = _direction(tracked)
    problem = _problem_of_engine(model, tracked, direction, tokens, config)
    if not problem:
        return
    works = [
        name
        for name, asked in (
            ("jvp", config.by("jvp")),
            ("position", config.by("position")),
            ("difference with scores.step: 0.01", ScoreConfig(engine="difference", step=0.01)),
        )
        if asked.engine != config.engine or asked.step != config.step
        if not _problem_of_engine(model, tracked, direction, tokens, asked)
    ]
    mend = f"set scores.engine to {', or to '.join(works)}" if works else MEND
    raise InputError(
        f"scores.engine: {config.engine} does not work with this model ({problem}); {mend}"
    )


def _direction(tracked: Sequence[TrackedWeight]) -> WeightDirection:
    """Return a random matrix of rank 1 for each weight."""
    draw = torch.Generator().manual_seed(0)
    direction = {}
    for weight in tracked:
        out, into = (torch.randn(size, generator=draw) for size in weight.matrix.shape)
        direction[weight.name] = torch.outer(out.to(weight.parameter), into.to(weight.parameter))
    return direction


def _problem_of_engine(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: WeightDirection,
    tokens: Int[Tensor, "2 T"],
    config: ScoreConfig,
) -> str:
    """Say why an engine does not work with a model; "" where it does.

    A step that is calibrated against ``jvp`` needs that engine too.
    """
    if config.engine == "difference" and config.step is None:
        return _problem_of_engine(model, tracked, direction, tokens, config.by("jvp"))
    try:
        sums = _scores(model, tracked, direction, tokens, config)
    except Exception as error:  # noqa: BLE001 - whatever a family raises is what it cannot do
        return one_line(error, 1)
    if not sums.isfinite().all():
        return "its scores are not finite"
    if config.engine != "jvp" or is_half(model):
        return ""
    try:
        exact = _scores(model, tracked, direction, tokens, config.by("position"))
    except Exception:  # noqa: BLE001 - then there is nothing to compare with
        return ""
    apart = (sums.sum(1) - exact.sum(1)).abs()
    agree = (apart <= SUM_BOUND * sums.abs().sum(1)).all()
    return "" if agree else "its derivatives are not those of the backward pass"


def _scores(
    model: nn.Module,
    tracked: Sequence[TrackedWeight],
    direction: WeightDirection,
    tokens: Int[Tensor, "2 T"],
    config: ScoreConfig,
) -> Float[Tensor, "2 T"]:
    chosen: ScoreEngine = ENGINES.get(config.engine, "scores.engine")
    blocks = tokens if chosen.calibrated else None
    engine, _ = chosen.prepare(model, tracked, direction, blocks, config)
    return engine(tokens, torch.ones_like(tokens, dtype=torch.bool)).double()
