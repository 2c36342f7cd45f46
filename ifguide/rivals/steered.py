"""How fluent a language model is whose decoding a reward model steers.

A steered model draws the next token x from the k likeliest ones S alone, by ``softmax(z_S + β r)``
with r = 1 - toxicity. Whatever it does not weigh up it never draws, so that the probability of a
text that people wrote would be 0. As perplexity is nowhere else measured through the cut that
sampling makes (the nucleus), it is not here: what is drawn of S is steered, and the others keep
the probability that the language model gives them,

    Pr(x) = p(S) softmax_S(z_S + β r)(x)  for x in S,    Pr(x) = p(x)  elsewhere.

It sums to 1, and is the language model's own where β is 0 or all of S is equally toxic. Which last
words the model finds likeliest is asked of the steered S itself.

Shape legend: N blocks, T tokens a block, L tokens of a text, m places in it, k candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerBase

from ifguide.corpus.starts import text_start
from ifguide.evaluation.figures import Fluency
from ifguide.evaluation.fluency import LastWords, corpus_perplexity, last_words
from ifguide.models.forward import evaluating
from ifguide.models.losses import device_of, embedding_of, forward_logits
from ifguide.models.precision import full_precision
from ifguide.nouns import Corpus
from ifguide.rivals.candidates import (
    read_behind,
    read_texts,
    read_whole,
    room_of,
    shares_cache,
    toxicity_of_texts,
    trial_length,
)
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.decoding import reads_tokens_of
from ifguide.rivals.reward import RewardModel

READ_TOGETHER = 1024  # candidates behind one text; results do not depend on it


def steered_fluency(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    reward: RewardModel,
    config: DecodingConfig,
    held_out: Mapping[str, Corpus],
    lambada: Sequence[str] | None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Fluency:
    """Return perplexity and last-word accuracy of a model through its steered decoding.

    Each document of a block is a text of its own to the reward model, as it was in training. Of one
    that is longer than its positions it reads what comes last before the candidate.

    Cost: a pass of the model over the tokens, and of the reward model over k + 1 times as many;
    one that cannot read candidates behind a shared cache reads k whole texts a token.

    Args:
        model: any causal language model of transformers.
        tokenizer: the model's.
        reward: steers.
        config: k and β.
        held_out: texts by name, packed with the model's tokenizer.
        lambada: texts whose last word is to be predicted; None leaves it out.
        progress: called with the number of tokens just done.

    Raises:
        InputError: as ``perplexity`` and ``last_word_figures``.
    """
    steered = _Steered(model, tokenizer, reward, config)
    with torch.no_grad(), evaluating(model), evaluating(reward):
        found = {
            name: corpus_perplexity(corpus, partial(steered.losses, corpus), 1, progress)
            for name, corpus in held_out.items()
        }
        if lambada is None:
            return Fluency(perplexity=found)
        known = steered.last_words(lambada, progress)
    return Fluency(
        perplexity=found,
        lambada_accuracy=known.accuracy,
        lambada_last_token=known.last_token_accuracy,
    )


@final
@dataclass(frozen=True)
class _Steered:
    """A language model and what steers it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    reward: RewardModel
    config: DecodingConfig
    tried: dict[int, bool] = field(default_factory=dict)  # whether texts so long share a cache

    def losses(self, corpus: Corpus, rows: slice) -> Float[np.ndarray, "n T"]:
        """Return ``-log Pr`` of each token with a loss in nats, 0 for the others."""
        tokens = torch.as_tensor(np.array(corpus.tokens[rows]), device=device_of(self.model)).long()
        found = np.zeros(tuple(tokens.shape))
        for row, (logits, ids) in enumerate(
            zip(forward_logits(self.model, tokens), tokens, strict=True)
        ):
            document, counted = np.asarray(corpus.document[rows][row]), corpus.has_loss[rows][row]
            for first, last in _stretches(document):
                places = np.flatnonzero(counted[first:last])
                if len(places):
                    at = torch.as_tensor(first + places, device=ids.device)
                    losses = self._losses(logits[at - 1], ids[first:last], places, ids[at])
                    found[row, first + places] = losses.double().cpu().numpy()
        return found

    def last_words(self, texts: Sequence[str], progress: Callable[[int], None]) -> LastWords:
        """Return how many last words are the likeliest tokens of the steered ones."""
        before, words, tokens = len(text_start(self.tokenizer)), 0, 0
        for ids, target in last_words(self.model, self.tokenizer, texts):
            row = torch.tensor(ids, device=device_of(self.model))
            logits = forward_logits(self.model, row[None])[0, target - 1 : -1]
            candidates, steered = self._steer(
                logits, row[before:], np.arange(target - before, len(ids) - before)
            )
            likeliest = candidates.gather(1, steered.argmax(1, keepdim=True))[:, 0].tolist()
            words += likeliest == ids[target:]
            tokens += likeliest[-1] == ids[-1]
            progress(len(ids))
        return LastWords(words / len(texts), tokens / len(texts))

    def _losses(
        self,
        logits: Float[Tensor, "m V"],
        text: Int[Tensor, " L"],
        places: Int[np.ndarray, " m"],
        targets: Int[Tensor, " m"],
    ) -> Float[Tensor, " m"]:
        candidates, steered = self._steer(logits, text, places)
        own = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        weighed = own.gather(1, candidates).logsumexp(1)
        drawn = candidates == targets[:, None]
        within = torch.where(drawn, steered.log_softmax(1), -torch.inf).amax(1) + weighed
        outside = own.gather(1, targets[:, None])[:, 0]
        return -torch.where(drawn.any(1), within, outside)

    def _steer(
        self, logits: Float[Tensor, "m V"], text: Int[Tensor, " L"], places: Int[np.ndarray, " m"]
    ) -> tuple[Int[Tensor, "m k"], Float[Tensor, "m k"]]:
        """Return the candidates at some places of a text, and what they are drawn by.

        Args:
            logits: of what comes at each place.
            text: tokens of one text, without what stands before it.
            places: rising; a candidate at place p follows ``text[:p]``.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        known = logits[:, : len(self.tokenizer)]
        values, candidates = known.topk(min(self.config.top_k, known.shape[1]))
        toxicity = self._toxicity(text, places, candidates).clamp(0, 1).to(values)
        return candidates, values + self.config.beta * (1 - toxicity)

    def _toxicity(
        self, text: Int[Tensor, " L"], places: Int[np.ndarray, " m"], candidates: Tensor
    ) -> Float[Tensor, "m k"]:
        if not reads_tokens_of(self.reward, self.tokenizer):
            texts = [text[:place] for place in places.tolist()]
            found = toxicity_of_texts(
                self.reward, self.tokenizer, texts, list(candidates), cut=True
            )
            return torch.stack(found)
        device = device_of(self.reward.backbone)
        start = torch.tensor(
            text_start(self.tokenizer) if self.reward.starts else (), device=device
        )
        start, text, candidates = start.long(), text.to(device), candidates.to(device)
        room = room_of(self.reward, len(start) + 1)
        near = len(places) if room is None else int((places <= room).sum())
        with full_precision(self.reward):
            states = []
            if near:
                whole = torch.cat([start, text[: int(places[near - 1])]])
                behind = torch.as_tensor(places[:near], device=device) + len(start)
                states.append(self._states(whole, behind, candidates[:near]))
            for place, some in zip(places[near:].tolist(), candidates[near:], strict=True):
                whole = torch.cat([start, text[place - (room or 0) : place]])[None]
                every = torch.ones_like(whole, dtype=torch.bool)
                states.append(read_whole(self.reward, whole, every, some[None]))
            return self.reward.head(torch.cat(states)).squeeze(-1)

    def _states(
        self, whole: Int[Tensor, " L"], behind: Int[Tensor, " m"], candidates: Int[Tensor, "m k"]
    ) -> Float[Tensor, "m k d"]:
        """Return the reward model's states of candidates, each behind so many of the tokens."""
        length = len(whole)
        if not length or not self._shares(length + 1):
            rows = [
                read_whole(
                    self.reward,
                    whole[None],
                    (torch.arange(length, device=whole.device) < n)[None],
                    c,
                )
                for n, c in zip(behind, candidates[:, None], strict=True)
            ]
            return torch.cat(rows)
        cache, every = DynamicCache(), torch.ones(1, length, dtype=torch.bool, device=whole.device)
        read_texts(self.reward, whole[None], every, cache)
        size, states = max(1, READ_TOGETHER // candidates.shape[1]), []
        for at, some in zip(behind.split(size), candidates.split(size), strict=True):
            seen = torch.arange(length, device=whole.device) < at[:, None]  # [m, L]
            seen = seen.repeat_interleave(some.shape[1], 0)[None]
            read = read_behind(self.reward, some.flatten()[None], seen, cache)
            states.append(read[0].unflatten(0, tuple(some.shape)))
            for layer in cache.layers:
                layer.keys, layer.values = (x[:, :, :length] for x in (layer.keys, layer.values))
        return torch.cat(states)

    def _shares(self, length: int) -> bool:
        """Return whether candidates behind texts of so many tokens are read behind one cache."""
        longest = trial_length(self.reward, length)
        if longest not in self.tried:
            vocabulary = int(embedding_of(self.reward.backbone).weight.shape[0])
            self.tried[longest] = shares_cache(self.reward, longest, vocabulary)
        return self.tried[longest]


def _stretches(document: Int[np.ndarray, " T"]) -> Iterator[tuple[int, int]]:
    """Yield the first and last column + 1 of each document of a block."""
    edges = np.flatnonzero(np.diff(document)) + 1
    for first, last in zip([0, *edges], [*edges, len(document)], strict=True):
        if document[first] >= 0:
            yield int(first), int(last)
