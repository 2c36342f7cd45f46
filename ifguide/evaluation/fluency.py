"""What a model still knows: perplexity on held-out text and last-word accuracy.

Shape legend: B sequences a batch, T tokens a sequence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ifguide.corpus.starts import padding_of, text_start
from ifguide.corpus.tokenizers import encode
from ifguide.errors import InputError
from ifguide.models.forward import evaluating, positions_of
from ifguide.models.losses import device_of, forward_logits, token_losses
from ifguide.nouns import Corpus

LARGEST_MEAN_LOSS = 700.0  # exp of more overflows


def perplexity(
    model: nn.Module,
    corpus: Corpus,
    batch_size: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> float:
    """Return ``exp(mean l_ij)`` over the tokens of the corpus that have a loss.

    Losses are in nats, in float32 (float64 for a float64 model), and summed in float64.

    Raises:
        InputError: no token has a loss, or a loss is not finite (the block is named).
    """
    with evaluating(model), torch.no_grad():
        return corpus_perplexity(
            corpus, lambda rows: _losses(model, _tokens(model, corpus, rows)), batch_size, progress
        )


def corpus_perplexity(
    corpus: Corpus,
    losses: Callable[[slice], Float[np.ndarray, "n T"]],
    batch_size: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> float:
    """Return ``exp(mean l_ij)``, where ``losses`` gives the losses of some blocks in nats.

    The rest is as for ``perplexity``.
    """
    total, count = 0.0, int(corpus.has_loss.sum())
    if count == 0:
        raise InputError("perplexity: the held-out text has no token to predict; give longer texts")
    for first in range(0, len(corpus.tokens), batch_size):
        rows = slice(first, min(first + batch_size, len(corpus.tokens)))
        sums = np.where(corpus.has_loss[rows], losses(rows), 0.0).sum(axis=1)
        if not np.isfinite(sums).all():
            block = first + int(np.flatnonzero(~np.isfinite(sums))[0])
            raise InputError(
                f"perplexity: block {block} of the held-out text has a loss that is not "
                "finite; use a sound checkpoint, or model.dtype float32"
            )
        total += float(sums.sum())
        progress((rows.stop - rows.start) * corpus.tokens.shape[1])
    if total / count > LARGEST_MEAN_LOSS:
        raise InputError(
            f"perplexity: the mean loss is {total / count:.0f} nats; the model has diverged, train "
            "it with a smaller learning rate or penalty"
        )
    return math.exp(total / count)


@dataclass(frozen=True)
class LastWords:
    """What a model makes of last words, as shares of the texts.

    Args:
        accuracy: each token of the last word is the likeliest after the true tokens before it.
        last_token_accuracy: the text's last token is, as the IF-Guide authors count it.
    """

    accuracy: float
    last_token_accuracy: float


def last_word_figures(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    batch_size: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> LastWords:
    """Return the share of texts whose last word the model predicts (LAMBADA, Paperno et al. 2016).

    A text follows ``text_start``; one that does not fit the model's positions keeps its end.

    Raises:
        InputError: there is no text, or one has no word before its last one (it is named by its
            number from 0).
    """
    sequences = last_words(model, tokenizer, texts)
    sequences.sort(key=lambda item: len(item[0]))
    words = last_tokens = 0
    with evaluating(model), torch.no_grad():
        for first in range(0, len(sequences), batch_size):
            batch = sequences[first : first + batch_size]
            tokens = _padded([ids for ids, _ in batch], padding_of(tokenizer), device_of(model))
            likeliest = forward_logits(model, tokens).argmax(-1)
            for row, (ids, target) in enumerate(batch):
                span = slice(target - 1, len(ids) - 1)
                found = likeliest[row, span].tolist()
                words += found == ids[target:]
                last_tokens += found[-1] == ids[-1]
            progress(tokens.numel())
    return LastWords(words / len(texts), last_tokens / len(texts))


def last_words(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[tuple[list[int], int]]:
    """Return each text as the model reads it, and where in it the last word's tokens begin.

    Raises:
        InputError: as ``last_word_figures``, or a last word does not fit the model's positions.
    """
    if not texts:
        raise InputError("evaluation.lambada: there is no text; name a file with one text a record")
    positions = positions_of(model)
    return [_with_last_word(tokenizer, text, n, positions) for n, text in enumerate(texts)]


def _tokens(model: nn.Module, corpus: Corpus, rows: slice) -> Int[Tensor, "B T"]:
    return torch.as_tensor(np.array(corpus.tokens[rows]), device=device_of(model)).long()


def _losses(model: nn.Module, tokens_BT: Int[Tensor, "B T"]) -> Float[np.ndarray, "B T"]:
    """Return token losses; logits turn into losses a sequence at a time to spare memory."""
    logits_BTV = forward_logits(model, tokens_BT)
    rows = zip(logits_BTV.split(1), tokens_BT.split(1), strict=True)
    return torch.cat([token_losses(*row) for row in rows]).double().cpu().numpy()


def _with_last_word(
    tokenizer: PreTrainedTokenizerBase, text: str, number: int, positions: int | None
) -> tuple[list[int], int]:
    """Return a text behind what stands before it, and where the tokens of its last word begin."""
    text = text.rstrip()
    if not text:
        raise InputError(f"evaluation.lambada: text {number} has no word; remove the record")
    word = len(text) - len(text.split()[-1])
    if not text[:word].strip():
        raise InputError(
            f"evaluation.lambada: text {number} is a single word, and nothing stands before it to "
            "predict it from; remove the record"
        )
    (encoded,) = encode(tokenizer, [text])
    start = text_start(tokenizer)
    ids = encoded.tokens.tolist()
    of_word = np.flatnonzero(encoded.end > word)
    if not len(of_word):
        raise InputError(f"evaluation.lambada: text {number} ends in no token; remove the record")
    dropped = max(0, len(start) + len(ids) - positions) if positions else 0
    if dropped > of_word[0]:
        raise InputError(
            f"evaluation.lambada: the last word of text {number} has more tokens than the model "
            f"has positions ({positions}); remove the record"
        )
    return [*start, *ids[dropped:]], len(start) + int(of_word[0]) - dropped


def _padded(
    sequences: Sequence[Sequence[int]], padding: int, device: torch.device
) -> Int[Tensor, "B T"]:
    width = max(map(len, sequences))
    rows = [[*ids, *[padding] * (width - len(ids))] for ids in sequences]
    return torch.tensor(rows, device=device)
