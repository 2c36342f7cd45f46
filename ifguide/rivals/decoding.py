"""Reward-augmented decoding (Deng & Raffel 2023, arXiv 2310.09520).

Of the k likeliest next tokens with logits z, one is drawn from ``softmax(z + β (1 - toxicity))``,
where toxicity is what a reward model says of the text so far with that token. As the authors have
it, a nucleus is cut of the language model's own probabilities first: what lies outside is never
weighed up.

Shape legend: B sequences, L tokens so far, k candidates, V tokens of the vocabulary.
"""

from __future__ import annotations

import logging
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessor,
    PreTrainedTokenizerBase,
    TopPLogitsWarper,
)

from ifguide.corpus.starts import padding_of, text_start
from ifguide.corpus.tokenizers import vocabulary_of
from ifguide.errors import InputError
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of, embedding_of
from ifguide.models.precision import full_precision
from ifguide.rivals.candidates import (
    check_fits,
    read_candidates,
    read_texts,
    read_whole,
    shares_cache,
    toxicity_of_texts,
    trial_length,
)
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.reward import RewardModel

log = logging.getLogger(__name__)


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

    A reward model that reads other tokens than the language model is given the text: each
    candidate's whole text is tokenised and read anew, k passes over it for each token.

    Args:
        reward: on any device; it is run in evaluation mode.
        tokenizer: the language model's.
        config: k and β.
        attention_mask: [B, L] of the prompts, 0 for padding.
        top_p: only the smallest set of tokens with at least this probability is weighed up.
    """

    def __init__(
        self,
        reward: RewardModel,
        tokenizer: PreTrainedTokenizerBase,
        config: DecodingConfig | None = None,
        *,
        attention_mask: Tensor | None = None,
        top_p: float = 1.0,
    ) -> None:
        self.config, self.top_p = config or DecodingConfig(), top_p
        reads = _Prefix if reads_tokens_of(reward, tokenizer) else _Retokenised
        self._prefix = reads(reward, tokenizer, attention_mask)

    def __call__(
        self, input_ids: Int[Tensor, "B L"], scores: Float[Tensor, "B V"]
    ) -> Float[Tensor, "B V"]:
        """Return the logits with ``β (1 - toxicity)`` added, and -inf for all but the top k.

        Raises:
            InputError: the text does not fit the reward model's positions.
        """
        if self.top_p < 1:
            scores = TopPLogitsWarper(self.top_p)(input_ids, scores)  # type: ignore[arg-type]
        known = scores[:, : self._prefix.vocabulary]  # a head may be padded beyond the tokens
        logits, tokens = known.topk(min(self.config.top_k, known.shape[1]))
        toxicity = self._prefix.toxicity(input_ids, tokens).clamp(0, 1)
        steered = logits + self.config.beta * (1 - toxicity).to(logits)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens, steered)


def reads_tokens_of(reward: RewardModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a reward model reads a language model's tokens as they are."""
    return tokenizer.get_vocab().items() <= reward.tokenizer.get_vocab().items()


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
                check_fits(self.reward, int(self._mask.sum(1).max()))
            length = int(self._mask.sum(1).max()) + 1
            check_fits(self.reward, length)
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

        It is tried on random tokens.
        """
        if self._shared and length > self._tried:
            self._tried = trial_length(self.reward, length)
            self._shared = shares_cache(self.reward, self._tried, self.vocabulary)
            if not self._shared:
                log.info("reward: the reward model reads whole texts, once a candidate")
        return self._shared

    def _text_of(self, tokens: Int[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
        """Return which tokens the reward model reads."""
        within = within_prompts(tokens, self._given)
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


class _Retokenised:
    """What a reward model of another tokenizer makes of texts: it is given their characters.

    A candidate that stands for no text, such as end-of-text, has the toxicity of the text so far.
    """

    def __init__(
        self,
        reward: RewardModel,
        tokenizer: PreTrainedTokenizerBase,
        attention_mask: Tensor | None,
    ) -> None:
        self.reward, self._tokenizer, self._given = reward, tokenizer, attention_mask
        self.vocabulary = vocabulary_of(tokenizer)

    def toxicity(
        self, tokens: Int[Tensor, "B L"], candidates: Int[Tensor, "B k"]
    ) -> Float[Tensor, "B k"]:
        """Return the toxicity of each text with each candidate behind it."""
        within = within_prompts(tokens, self._given)
        texts = [row[seen] for row, seen in zip(tokens, within, strict=True)]
        found = toxicity_of_texts(self.reward, self._tokenizer, texts, list(candidates))
        return torch.stack(found).to(candidates.device)


def within_prompts(tokens: Int[Tensor, "B L"], given: Tensor | None) -> Bool[Tensor, "B L"]:
    """Return the mask that was given; what was generated since belongs to the text."""
    within = torch.ones_like(tokens, dtype=torch.bool)
    if given is not None:
        given = given.to(tokens.device).bool()
        if len(given) != len(tokens) or given.shape[1] > tokens.shape[1]:
            raise InputError(
                f"reward: attention_mask of shape {tuple(given.shape)} for prompts of shape "
                f"{tuple(tokens.shape)}; make a RewardAugmented for each call of generate"
            )
        within[:, : given.shape[1]] = given
    return within


def _at(states: Float[Tensor, "B h all d"], kept: Int[Tensor, "B n"]) -> Float[Tensor, "B h n d"]:
    index: Any = kept[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
    return states.gather(2, index)
