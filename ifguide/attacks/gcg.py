"""GCG: a suffix to a prompt that makes the model go on with a given target.

Greedy coordinate gradient (Zou et al. 2023, "Universal and Transferable Adversarial Attacks on
Aligned Language Models", arXiv 2307.15043, Algorithm 1): the gradient of the target's loss with
respect to the suffix's one-hot tokens proposes single swaps, and the best of those drawn, by its
exact loss, is kept if it is better. Shape legend: m tokens of the suffix, V the vocabulary, C
suffixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ifguide.attacks.config import GcgConfig
from ifguide.attacks.swaps import Search, draw_swaps
from ifguide.attacks.texts import text_of
from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import encode, ids_of, special_ids
from ifguide.errors import InputError
from ifguide.models.forward import evaluating, positions_of
from ifguide.models.losses import embedding_of
from ifguide.models.readout import readout_of

Survives = Callable[[Int[Tensor, "C m"]], Bool[Tensor, " C"]]


@dataclass(frozen=True)
class Suffix:
    """What a search found.

    Args:
        tokens: the suffix.
        text: the suffix as text; empty where there is no tokenizer.
        losses: mean loss of a target token in nats, before the first step and after each; never
            rises.
        succeeded: whether the model, taking its likeliest token each time, goes on with the target.
        first_success: the number of steps after which it first did; None if it never did.
        evaluated: tokens of all sequences whose loss was computed.
    """

    tokens: tuple[int, ...]
    text: str
    losses: tuple[float, ...]
    succeeded: bool
    first_success: int | None
    evaluated: int


def gcg(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    target: str,
    config: GcgConfig | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Suffix:
    """Search a suffix such that the model goes on from prompt + suffix with the target.

    Args:
        model: any causal language model of transformers; it is not changed.
        tokenizer: the model's; the prompt follows what it puts before a text (``text_start``).
        prompt: what the suffix is put after. Where the model's positions do not suffice for all,
            the prompt keeps its end.
        target: the text to go on with, beginning with its space where that belongs to it.
        config: how to search.
        seed: draws the candidates.
        progress: called with the number of tokens just evaluated.

    Raises:
        InputError: no room for suffix and target, or the first suffix does not survive as text.
    """
    config = config or GcgConfig()
    wanted = ids_of(tokenizer, target)
    before, initial = _start(model, tokenizer, prompt, len(wanted), config)
    begin = len(text_start(tokenizer))
    survives = _round_trip(tokenizer, before[begin:]) if config.round_trip else None
    found = find_suffix(
        model,
        before,
        initial,
        wanted,
        config,
        allowed=_allowed(model, tokenizer),
        survives=survives,
        seed=seed,
        progress=progress,
    )
    return replace(found, text=text_of(tokenizer, found.tokens))


def is_attackable(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    target: str,
    config: GcgConfig,
) -> bool:
    """Whether ``gcg`` can begin: whether the prompt and the first suffix survive as text."""
    wanted = len(ids_of(tokenizer, target))
    before, initial = _start(model, tokenizer, prompt, wanted, config)
    survives = _round_trip(tokenizer, before[len(text_start(tokenizer)) :])
    return not config.round_trip or bool(survives(torch.tensor([initial]))[0])


def find_suffix(
    model: nn.Module,
    before: Sequence[int],
    initial: Sequence[int],
    target: Sequence[int],
    config: GcgConfig,
    *,
    allowed: Bool[Tensor, " V"] | None = None,
    survives: Survives | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Suffix:
    """Do what ``gcg`` does, on token ids.

    Args:
        model: the model; its vocabulary is V.
        before: what the suffix follows, the tokens before a text included.
        initial: the first suffix, m tokens.
        target: what is to follow, at least one token.
        config: how to search.
        allowed: tokens that a swap may put in; all by default.
        survives: says which suffixes may be kept; all by default.
        seed, progress: see ``gcg``.

    Raises:
        InputError: no target, ``initial`` does not survive, or a loss is not finite.
    """
    if not target:
        raise InputError("gcg: the target has no token; give a text to go on with")
    if survives is not None and not bool(survives(torch.tensor([[*initial]]))[0]):
        raise InputError(
            "gcg.initial: as text it is not cut into the same tokens again; give another, or set "
            "gcg.round_trip to false"
        )
    search = Search(readout_of(model), before, target, config.batch_size, progress)
    if allowed is None:
        allowed = torch.ones(embedding_of(model).weight.shape[0], dtype=torch.bool)
    draws = torch.Generator().manual_seed(seed)
    suffix = torch.tensor([*initial], device=search.before.device)
    with evaluating(model):
        losses, stuck = [float(search.losses(suffix[None])[0])], False
        succeeded = search.succeeds(suffix)
        first = 0 if succeeded else None
        while len(losses) <= config.steps and not stuck and not (succeeded and config.stop_early):
            swapped, stuck = draw_swaps(
                search.gradient(suffix), suffix, allowed, config.top_k, config.candidates, draws
            )
            if survives is not None:
                swapped = swapped[survives(swapped.cpu()).to(swapped.device)]
            found = search.losses(swapped)
            losses.append(min([losses[-1], *found.tolist()]))
            if losses[-1] < losses[-2]:
                suffix, stuck = swapped[int(found.argmin())], False
                succeeded = search.succeeds(suffix)
                first = len(losses) - 1 if succeeded and first is None else first
    tokens = tuple(suffix.tolist())
    return Suffix(tokens, "", tuple(losses), succeeded, first, search.evaluated)


def _start(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    target: int,
    config: GcgConfig,
) -> tuple[list[int], list[int]]:
    """Return what stands before a text and the prompt, which loses its beginning where there is
    no room, and a suffix."""
    positions, m, start = positions_of(model), config.suffix_tokens, text_start(tokenizer)
    ids = ids_of(tokenizer, prompt)
    if positions is not None:
        room = positions - len(start) - m - target
        if room < 0:
            raise InputError(
                f"gcg.suffix_tokens: suffix and target have {m + target} tokens, the model "
                f"{positions} positions; lower gcg.suffix_tokens or gcg.target_tokens"
            )
        if len(ids) > room:  # cut as text too, so that what is left is cut into the same tokens
            ids = ids_of(tokenizer, text_of(tokenizer, ids[len(ids) - room :]))[:room]
    initial = ids_of(tokenizer, config.initial * m)[:m]
    if len(initial) < m:
        raise InputError(
            f"gcg.initial: {m} times '{config.initial}' are only {len(initial)} tokens; give "
            "another text"
        )
    return [*start, *ids], initial


def _allowed(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> Bool[Tensor, " V"]:
    """Tokens that stand for text: of the tokenizer, and not special."""
    allowed = torch.zeros(embedding_of(model).weight.shape[0], dtype=torch.bool)
    of_text = set(tokenizer.get_vocab().values()) - special_ids(tokenizer)
    allowed[[id for id in of_text if id < len(allowed)]] = True
    return allowed


def _round_trip(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int]) -> Survives:
    """Make a test of which suffixes are, as text after the prompt's, cut into the same tokens."""

    def survives(suffixes: Int[Tensor, "C m"]) -> Bool[Tensor, " C"]:
        rows = [[*prompt, *suffix] for suffix in suffixes.tolist()]
        if not rows:
            return torch.zeros(0, dtype=torch.bool)
        texts = [text_of(tokenizer, row) for row in rows]
        again = encode(tokenizer, texts)
        return torch.tensor([r == cut.tokens.tolist() for r, cut in zip(rows, again, strict=True)])

    return survives
