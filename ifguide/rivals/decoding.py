"""Reward-augmented decoding (Deng & Raffel 2023, arXiv 2310.09520).

Of the k likeliest next tokens with logits z, one is drawn from ``softmax(z + β (1 - toxicity))``,
where toxicity is what a reward model says of the text so far with that token.

Shape legend: B sequences, L tokens so far, k candidates, V tokens of the vocabulary.
"""

from __future__ import annotations

import logging
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor, PreTrainedTokenizerBase

from ifguide.corpus.starts import padding_of, text_start
from ifguide.errors import InputError
from ifguide.models.forward import evaluating, positions_of
from ifguide.models.losses import device_of, embedding_of
from ifguide.models.precision import full_precision
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.reward import RewardModel

log = logging.getLogger(__name__)

TRIAL_TOKENS = 16  # at least; then as many as the texts have
TRIAL_CANDIDATES = 3
TRIAL_PADDING = 3
TRIAL_BOUNDS = {  # of the largest difference, as a share of the largest state
    torch.float64: 1e-9,
    torch.float32: 1e-5,
    torch.bfloat16: 3e-2,
    torch.float16: 3e-3,
}
WHOLE_TOKENS = 2**14  # in a batch of whole texts


@final
class RewardAugmented(LogitsProcessor):
    """Steers ``generate`` away from toxic tokens; holds a cache, so make one for each call.

    Cost: one pass of the reward model over the prompts, then over k tokens for each token that is
    generated. The candidates of a sequence share its cache: each sees the text and itself only,
    and the one that is drawn stays in the cache. A reward model that cannot read texts so, which
    is tried, costs a pass over k whole texts for each token.

    Prompts may be padded on the left. Without ``attention_mask``, what precedes a text is its
    leading run of padding and of tokens of ``text_start``, of which the last ones, one
    ``text_start``, belong to it.

    Args:
        reward: on any device; it is run in evaluation mode.
        tokenizer: the language model's.
        config: k and β.
        attention_mask: [B, L] of the prompts, 0 for padding.

    Raises:
        InputError: the reward model reads other tokens.
    """

    def __init__(
        self,
        reward: RewardModel,
        tokenizer: PreTrainedTokenizerBase,
        config: DecodingConfig | None = None,
        *,
        attention_mask: Tensor | None = None,
    ) -> None:
        if not tokenizer.get_vocab().items() <= reward.tokenizer.get_vocab().items():
            raise InputError(
                f"reward: it reads the tokens of '{reward.tokenizer.name_or_path}', the language "
                f"model those of '{tokenizer.name_or_path}'; train a reward model with the "
                "language model's tokenizer"
            )
        self.config = config or DecodingConfig()
        self._prefix = _Prefix(reward, tokenizer, attention_mask)

    def __call__(
        self, input_ids: Int[Tensor, "B L"], scores: Float[Tensor, "B V"]
    ) -> Float[Tensor, "B V"]:
        """Return the logits with ``β (1 - toxicity)`` added, and -inf for all but the top k.

        Raises:
            InputError: the text does not fit the reward model's positions.
        """
        known = scores[:, : self._prefix.vocabulary]  # a head may be padded beyond the tokens
        logits, tokens = known.topk(min(self.config.top_k, known.shape[1]))
        toxicity = self._prefix.toxicity(input_ids, tokens).clamp(0, 1)
        steered = logits + self.config.beta * (1 - toxicity).to(logits)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, steered)


class _Prefix:
    """What a reward model remembers of the texts so far, and of the last candidates.

    All candidates of a text are read at once behind one cache, by a mask and positions of ours, if
    the reward model then says what it says of whole texts (``_shares``). Where it does not, as
    with a window of attention or distances that it counts itself, whole texts are read.
    """

    def __init__(
        self,
        reward: RewardModel,
        tokenizer: PreTrainedTokenizerBase,
        attention_mask: Tensor | None,
    ) -> None:
        self.reward, self._given = reward, attention_mask
        self.vocabulary = int(embedding_of(reward.backbone).weight.shape[0])
        self._start = text_start(tokenizer)
        # tokens that may follow a text's end, or precede it
        self._silent = [*self._start, padding_of(tokenizer)]
        if tokenizer.pad_token_id is not None:
            self._silent.append(int(tokenizer.pad_token_id))
        self._tokens: Tensor | None = None  # [B, L]
        self._mask = self._candidates = torch.empty(0)  # [B, L]; [B, k]
        self._cache = DynamicCache()
        self._shared, self._tried = True, 0  # whether texts of so many tokens may share it

    def toxicity(
        self, tokens: Int[Tensor, "B L"], candidates: Int[Tensor, "B k"]
    ) -> Float[Tensor, "B k"]:
        """Return the toxicity of each text with each candidate behind it."""
        device = device_of(self.reward.backbone)
        tokens, candidates = tokens.to(device), candidates.to(device)
        with torch.no_grad(), evaluating(self.reward), full_precision(self.reward):
            continues = self._continues(tokens)
            if not continues:
                self._mask = self._text_of(tokens)
                self._check_fits(int(self._mask.sum(1).max()))
            length = int(self._mask.sum(1).max()) + 1
            self._check_fits(length)
            if self._shares(length):
                if not continues:
                    self._cache = DynamicCache()
                    read_texts(self.reward, tokens, self._mask, self._cache)
                states = read_candidates(self.reward, candidates, self._mask, self._cache)
            else:
                states = read_whole(self.reward, tokens, self._mask, candidates)
            found = self.reward.head(states).squeeze(-1)
        self._tokens, self._candidates = tokens, candidates
        return found

    def _continues(self, tokens: Int[Tensor, "B L"]) -> bool:
        """Keep of the last candidates those that were drawn, if these texts go on with them."""
        before = self._tokens
        if before is None or tokens.shape != (len(before), before.shape[1] + 1):
            return False
        drawn = self._candidates == tokens[:, -1:]
        found = drawn.any(1)
        ended = torch.isin(tokens[:, -1], torch.tensor(self._silent, device=tokens.device))
        if not (torch.equal(tokens[:, :-1], before) and (found | ended).all()):
            return False
        if self._shared:
            length = before.shape[1]
            kept = torch.arange(length + 1, device=tokens.device).repeat(len(tokens), 1)
            kept[:, -1] = length + drawn.int().argmax(1)
            for layer in self._cache.layers:
                layer.keys, layer.values = _at(layer.keys, kept), _at(layer.values, kept)
        self._mask = torch.cat([self._mask, found[:, None]], dim=1)
        return True

    def _shares(self, length: int) -> bool:
        """Return whether texts of so many tokens are read behind a shared cache as they are whole.

        It is tried on random tokens, up to the next power of two: what a model sees of short texts
        says nothing of long ones.
        """
        if self._shared and length > self._tried:
            positions = positions_of(self.reward.backbone)
            longest = max(TRIAL_TOKENS, 1 << (length - 1).bit_length())
            self._tried = longest if positions is None else min(longest, positions)
            self._shared = shares_cache(self.reward, self._tried, self.vocabulary)
            if not self._shared:
                log.info("reward: the reward model reads whole texts, once a candidate")
        return self._shared

    def _text_of(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Return which tokens the reward model reads."""
        within = self._within(tokens)
        if self.reward.starts and self._given is not None:
            return within
        silent = torch.isin(tokens, torch.tensor(self._silent, device=tokens.device)) | ~within
        leading = silent.cumprod(1).bool()
        if not self.reward.starts:
            return ~leading
        end = leading.sum(1, keepdim=True)
        before = torch.arange(tokens.shape[1], device=tokens.device) - end  # -1 is a text's last
        for place, token in enumerate(reversed(self._start), 1):
            leading = leading & ~((before == -place) & (tokens == token))
        return ~leading

    def _within(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Return the mask that was given; what was generated since belongs to the text."""
        within = torch.ones_like(tokens, dtype=torch.bool)
        if self._given is not None:
            given = self._given.to(tokens.device).bool()
            if len(given) != len(tokens) or given.shape[1] > tokens.shape[1]:
                raise InputError(
                    f"reward: attention_mask of shape {tuple(given.shape)} for prompts of shape "
                    f"{tuple(tokens.shape)}; make a RewardAugmented for each call of generate"
                )
            within[:, : given.shape[1]] = given
        return within

    def _check_fits(self, length: int) -> None:
        positions = positions_of(self.reward.backbone)
        if positions is not None and length > positions:
            raise InputError(
                f"reward: a text of {length} tokens does not fit the reward model's {positions} "
                "positions; shorten the prompts, or train one with more"
            )


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
    alone = torch.eye(candidates.shape[1], dtype=torch.bool, device=candidates.device)
    seen = mask[:, None].expand(-1, len(alone), -1)
    allowed = torch.cat([seen, alone.expand(len(candidates), -1, -1)], dim=2)
    length = mask.sum(1, keepdim=True).expand_as(candidates)
    return _states(reward, candidates, allowed, length, cache)


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
    size = max(1, WHOLE_TOKENS // max(map(len, pairs)))
    states = []
    for first in range(0, len(pairs), size):
        part = pairs[first : first + size]
        last = torch.tensor([len(pair) - 1 for pair in part], device=tokens.device)
        read = reward.states(torch.nn.utils.rnn.pad_sequence(part, batch_first=True))
        states.append(read[torch.arange(len(part), device=tokens.device), last])
    return torch.cat(states).unflatten(0, tuple(candidates.shape))


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


def _at(states: Float[Tensor, "B h all d"], kept: Int[Tensor, "B n"]) -> Float[Tensor, "B h n d"]:
    index: Any = kept[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
    return states.gather(2, index)
