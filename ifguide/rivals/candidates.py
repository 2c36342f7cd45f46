"""Reading what may follow a text: each candidate behind the text, and behind nothing else.

Shape legend: B sequences, L tokens so far, k candidates a sequence, n tokens to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import encode, special_ids
from ifguide.errors import InputError
from ifguide.models.forward import evaluating, positions_of
from ifguide.models.losses import device_of
from ifguide.models.precision import full_precision
from ifguide.rivals.reward import RewardModel

TRIAL_TOKENS = 16  # at least
TRIAL_CANDIDATES = 3
TRIAL_PADDING = 3
TRIAL_BOUNDS = {  # of the largest difference, as a share of the largest state
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 3e-2,
    torch.float16: 3e-3,
}
WHOLE_TOKENS = 2**14  # in a batch of whole texts


def trial_length(reward: RewardModel, length: int) -> int:
    """Return how long the texts are by which it is tried whether texts of a length share a cache.

    It is the next power of two, as far as there are positions: what a model sees of short texts
    says nothing of long ones.
    """
    positions = positions_of(reward.backbone)
    longest = max(TRIAL_TOKENS, 1 << (length - 1).bit_length())
    return longest if positions is None else min(longest, positions)


def shares_cache(reward: RewardModel, length: int, vocabulary: int) -> bool:
    """Return whether a reward model reads texts by ``read_candidates`` as it reads them whole.

    Two random texts of up to ``length`` tokens, one of them padded, are read both ways. All their
    beginnings are compared, so that what holds of these holds of shorter texts.
    """
    draw, device = torch.Generator().manual_seed(0), device_of(reward.backbone)
    shape = (2, max(1, length - 1))
    tokens = torch.randint(vocabulary, shape, generator=draw).to(device)
    candidates = torch.randint(vocabulary, (2, TRIAL_CANDIDATES), generator=draw).to(device)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, : min(TRIAL_PADDING, shape[1] - 1)] = False
    cache = DynamicCache()
    try:
        texts = read_texts(reward, tokens, mask, cache)
        behind = read_candidates(reward, candidates, mask, cache)
    except Exception:  # noqa: BLE001 - whatever a family raises at a cache or mask of ours
        return False
    whole = read_whole(reward, tokens, mask, candidates)
    plain = torch.zeros_like(texts)
    for row, seen in enumerate(mask):
        plain[row, seen] = reward.states(tokens[row, seen][None])[0]
    bound = TRIAL_BOUNDS[whole.dtype] * whole.abs().max()
    errors = [(behind - whole).abs().max(), (texts - plain)[mask].abs().max()]
    return all(bool(error <= bound) for error in errors)


def read_texts(
    reward: RewardModel, tokens: Int[Tensor, "B L"], mask: Bool[Tensor, "B L"], cache: DynamicCache
) -> Float[Tensor, "B L d"]:
    """Read texts, of which ``mask`` says where they are, into an empty cache; return the states."""
    square = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).to(tokens.device)
    allowed = square.tril() & mask[:, None]
    allowed |= torch.eye(len(square), dtype=torch.bool, device=tokens.device)  # padding: itself
    return _states(reward, tokens, allowed, (mask.cumsum(1) - 1).clamp(min=0), cache)


def read_candidates(
    reward: RewardModel,
    candidates: Int[Tensor, "B k"],
    mask: Bool[Tensor, "B L"],
    cache: DynamicCache,
) -> Float[Tensor, "B k d"]:
    """Read candidates behind the cached texts, each as the text's next token; all are cached."""
    seen = mask[:, None].expand(-1, candidates.shape[1], -1)
    return read_behind(reward, candidates, seen, cache)


def read_behind(
    reward: RewardModel,
    candidates: Int[Tensor, "B n"],
    seen: Bool[Tensor, "B n L"],
    cache: DynamicCache,
) -> Float[Tensor, "B n d"]:
    """Read tokens, each behind what it sees of the cached texts alone; all are cached."""
    alone = torch.eye(candidates.shape[1], dtype=torch.bool, device=candidates.device)
    allowed = torch.cat([seen, alone.expand(len(candidates), -1, -1)], dim=2)
    return _states(reward, candidates, allowed, seen.sum(2), cache)


def read_whole(
    reward: RewardModel,
    tokens: Int[Tensor, "B L"],
    mask: Bool[Tensor, "B L"],
    candidates: Int[Tensor, "B k"],
) -> Float[Tensor, "B k d"]:
    """Read each text with each candidate from its beginning; return the states of the candidates.

    No mask is given: what pads the shorter texts stands behind them.
    """
    texts = [row[seen] for row, seen in zip(tokens, mask, strict=True)]
    pairs = [
        torch.cat([text, candidate[None]])
        for text, row in zip(texts, candidates, strict=True)
        for candidate in row
    ]
    return last_states(reward, pairs).unflatten(0, tuple(candidates.shape))


def last_states(reward: RewardModel, texts: Sequence[Int[Tensor, " _"]]) -> Float[Tensor, "n d"]:
    """Read n texts from their beginning; return the state of each one's last token."""
    size = max(1, WHOLE_TOKENS // max(map(len, texts)))
    states = []
    for first in range(0, len(texts), size):
        part = texts[first : first + size]
        last = torch.tensor([len(text) - 1 for text in part], device=part[0].device)
        read = reward.states(torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True))
        states.append(read[torch.arange(len(part), device=read.device), last.to(read.device)])
    return torch.cat(states)


def toxicity_of_texts(
    reward: RewardModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Int[Tensor, " _"]],
    candidates: Sequence[Int[Tensor, " _"]],
    *,
    cut: bool = False,
) -> list[Float[Tensor, " _"]]:
    """Return what a reward model of another tokenizer says of texts with each candidate behind.

    What a text's tokens spell is cut into tokens again by the reward model's own tokenizer, so
    that a word which a candidate completes is read as one. Tokens that stand for no text are left
    out of it. Bytes of half a character are read as U+FFFD.

    Args:
        reward: whose tokenizer cuts.
        tokenizer: whose tokens ``texts`` and ``candidates`` are.
        texts: what has been said so far.
        candidates: of each text.
        cut: read the end of a text that does not fit the reward model's positions.

    Raises:
        InputError: a text does not fit, and is not to be cut.
    """
    silent, device = special_ids(tokenizer), device_of(reward.backbone)

    def spelt(ids: list[int]) -> str:
        kept = [token for token in ids if token not in silent]
        return str(tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    every = [
        spelt([*text.tolist(), candidate])
        for text, of_one in zip(texts, candidates, strict=True)
        for candidate in of_one.tolist()
    ]
    distinct = {text: number for number, text in enumerate(dict.fromkeys(every))}
    start = text_start(reward.tokenizer)
    before = start if reward.starts else ()
    read = [found.tokens.tolist() for found in encode(reward.tokenizer, list(distinct))]
    room = room_of(reward, len(before)) if cut else None
    ids = [[*before, *(one if room is None else one[-room:])] for one in read]
    rows = [torch.tensor(one or start, device=device).long() for one in ids]
    check_fits(reward, max(map(len, rows)))
    with torch.no_grad(), evaluating(reward), full_precision(reward):
        toxicity = reward.head(last_states(reward, rows)).squeeze(-1)
    found = toxicity[[distinct[text] for text in every]]
    return list(found.split([len(of_one) for of_one in candidates]))


def room_of(reward: RewardModel, before: int) -> int | None:
    """Return how many tokens a text may have behind so many others; None is no limit."""
    positions = positions_of(reward.backbone)
    return None if positions is None else max(1, positions - before)


def check_fits(reward: RewardModel, length: int) -> None:
    """Refuse a text of more tokens than a reward model has positions.

    Raises:
        InputError: it has too many.
    """
    positions = positions_of(reward.backbone)
    if positions is not None and length > positions:
        raise InputError(
            f"reward: a text of {length} tokens does not fit the reward model's {positions} "
            "positions; shorten the prompts, or train one with more"
        )


def _states(
    reward: RewardModel,
    tokens: Int[Tensor, "B n"],
    allowed: Bool[Tensor, "B n all"],
    positions: Int[Tensor, "B n"],
    cache: DynamicCache,
) -> Float[Tensor, "B n d"]:
    dtype = reward.head.weight.dtype
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    mask.masked_fill_(~allowed, torch.finfo(dtype).min)
    return reward.states(tokens, mask[:, None], positions, cache)
