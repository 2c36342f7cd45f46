from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from ifguide.errors import InputError
from ifguide.evaluation.fluency import last_word_figures, perplexity
from ifguide.models.precision import full_precision
from ifguide.nouns import Corpus

Build = Callable[..., nn.Module]
BuildCorpus = Callable[..., Corpus]


def padded_corpus(build_corpus: BuildCorpus, vocabulary: int) -> Corpus:
    rng = np.random.default_rng(0)
    document = np.array([[0] * 6, [0, 0, 1, 1, 1, 1], [1, 1, 1, -1, -1, -1]])
    return build_corpus(rng.integers(vocabulary, size=(3, 6)), document)


def test_perplexity_is_the_exponential_of_the_mean_loss(
    family: str,
    build_model: Build,
    build_corpus: BuildCorpus,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model, corpus = build_model(family), padded_corpus(build_corpus, len(tokenizer))
    losses = []
    for block, counted in zip(corpus.tokens, corpus.has_loss, strict=True):
        for j in np.flatnonzero(counted):  # each token from the tokens before it, alone
            with torch.no_grad(), full_precision(model):
                logits = model(torch.tensor([block[:j].tolist()])).logits[0, -1].numpy()
            top = logits.max()
            losses.append(top + np.log(np.exp(logits - top).sum()) - logits[block[j]])
    assert len(losses) == 5 + 5 + 2
    for batch_size in (1, 2, 8):
        found = perplexity(model, corpus, batch_size)
        assert found == pytest.approx(np.exp(np.mean(losses)), rel=1e-9)


def test_half_precision_is_reduced_in_float32(
    build_model: Build, build_corpus: BuildCorpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    corpus = padded_corpus(build_corpus, len(tokenizer))
    exact = perplexity(build_model(), corpus, 2)
    assert perplexity(build_model(dtype=torch.float32), corpus, 2) == pytest.approx(exact, rel=1e-5)
    assert perplexity(build_model(dtype=torch.bfloat16), corpus, 2) == pytest.approx(exact, rel=0.1)


def test_bad_losses_name_the_block(
    build_model: Build, build_corpus: BuildCorpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, corpus = build_model(), padded_corpus(build_corpus, len(tokenizer))
    corpus.tokens[:] = 1
    corpus.tokens[1, 3] = 7
    with torch.no_grad():
        model.get_input_embeddings().weight[7] = float("nan")
        model.lm_head.weight = nn.Parameter(torch.zeros_like(model.lm_head.weight))
    with pytest.raises(InputError, match="block 1 of the held-out text"):
        perplexity(model, corpus, 2)


def test_diverged_model_is_refused(
    build_model: Build, build_corpus: BuildCorpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model()
    with torch.no_grad():
        model.lm_head.weight *= 1e5
    with pytest.raises(InputError, match="diverged"):
        perplexity(model, padded_corpus(build_corpus, len(tokenizer)), 2)


def test_nothing_to_predict(build_model: Build, build_corpus: BuildCorpus) -> None:
    with pytest.raises(InputError, match="no token to predict"):
        perplexity(build_model(), build_corpus([[1, 0]], [[0, -1]]), 2)


class Parrot(nn.Module):
    """Predicts the tokens of known texts, whatever their batch, and a wrong token elsewhere."""

    def __init__(self, model: nn.Module, known: list[list[int]]) -> None:
        super().__init__()
        self.inner, self.config, self.known = model, model.config, known

    def get_input_embeddings(self) -> nn.Module:
        return self.inner.get_input_embeddings()

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
        output = self.inner(input_ids=input_ids, use_cache=use_cache)
        output.logits = torch.zeros_like(output.logits)
        output.logits[..., 5] = 1.0
        for row, ids in enumerate(input_ids.tolist()):
            for text in self.known:
                for k in range(1, len(text)):
                    if ids[:k] == text[:k]:
                        output.logits[row, k - 1, text[k]] = 2.0
        return output


def last_word_accuracy(*given: Any) -> float:
    return last_word_figures(*given).accuracy


def test_last_word_needs_all_its_tokens(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = ["The fox jumps over the fence", "a lazy dog ", "say “quotes”", "not alone"]
    ids = [[tokenizer.eos_token_id, *tokenizer(text.rstrip())["input_ids"]] for text in texts]
    whole = Parrot(build_model(), ids)
    for batch_size in (1, 3, 4):
        assert last_word_accuracy(whole, tokenizer, texts, batch_size) == 1.0
    assert last_word_accuracy(Parrot(build_model(), ids[:1]), tokenizer, texts, 2) == 0.25
    broken = [*ids[0][:-1], 5]  # right up to the last token of the last word
    assert last_word_accuracy(Parrot(build_model(), [broken]), tokenizer, texts[:1], 2) == 0.0


def test_only_the_last_word_counts(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    text, word = "The fox jumps over the fence", " fence"
    before, target = (tokenizer(part)["input_ids"] for part in (text.removesuffix(word), word))
    assert len(target) > 1

    class LastOnly(Parrot):
        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            output = super().forward(input_ids, use_cache)
            output.logits[:, : len(before)] = 0.0  # type: ignore[attr-defined]
            return output

    known = [[tokenizer.eos_token_id, *before, *target]]
    assert last_word_accuracy(LastOnly(build_model(), known), tokenizer, [text], 1) == 1.0


def test_the_last_token_counts_whatever_the_word_s_others_are(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    texts = ["The fox jumps over the fence", "a lazy dog"]
    ids = [[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]] for text in texts]

    class EndOnly(Parrot):
        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            output = super().forward(input_ids, use_cache)
            for row, length in enumerate(map(len, self.known)):
                output.logits[row, : length - 2] = 0.0  # type: ignore[attr-defined]
            return output

    found = last_word_figures(EndOnly(build_model(), sorted(ids, key=len)), tokenizer, texts, 2)
    assert found.last_token_accuracy == 1.0
    assert found.accuracy == 0.0


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_last_word_agrees_with_greedy_decoding(
    family: str, build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Texts whose last word the model wrote itself, and the same with another last word."""
    model, hits = build_model(family), []
    for prompt in ("The quick brown", "You are a silly", "near the river", "said the fox, and"):
        ids = [tokenizer.eos_token_id, *tokenizer(prompt)["input_ids"]]
        with torch.no_grad():
            likeliest = model(torch.tensor([ids])).logits[0, -1].argsort(descending=True).tolist()
        words = [k for k in likeliest if tokenizer.decode([k]).strip().isalpha()]
        words = [k for k in words if tokenizer.decode([k])[0] == " "]
        hits.append((prompt + tokenizer.decode([words[0]]), likeliest[0] == words[0]))
        hits.append((prompt + tokenizer.decode([words[-1]]), False))
    found = last_word_accuracy(model, tokenizer, [text for text, _ in hits], 3)
    assert found == np.mean([hit for _, hit in hits])


def test_long_texts_keep_their_end(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model()
    assert last_word_accuracy(model, tokenizer, ["fox " * 200 + "dog"], 1) in (0.0, 1.0)
    with pytest.raises(InputError, match="text 1 has more tokens"):
        last_word_accuracy(model, tokenizer, ["a dog", "the " + "zqj" * 60], 1)


def test_texts_without_words(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="text 1 has no word"):
        last_word_accuracy(build_model(), tokenizer, ["a b", " \n"], 1)
    with pytest.raises(InputError, match="there is no text"):
        last_word_accuracy(build_model(), tokenizer, [], 1)
