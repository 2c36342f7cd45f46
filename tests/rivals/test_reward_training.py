"""Reward training: its loss by hand, and a rule that it must find."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.rivals.config import RewardConfig
from ifguide.rivals.reward_training import cumulative_error, train_reward

CONFIG = RewardConfig(
    batch_size=4,
    epochs=1.0,
    learning_rate=1e-3,
    max_length=32,
    schedule="constant_with_warmup",
    warmup=0.0,
)
WORDS = ["the", "fox", "ran", "over", "a", "hill", "and", "you", "are", "lazy"]
TOXIC = "goose"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([f" {word}" * 9 for word in [*WORDS, TOXIC]], 400)


def model_for(tokenizer, family="gpt_neox", **changes):
    return tiny_model(family, torch.float32, vocab_size=len(tokenizer), **changes)


def texts_with_rule(count, seed):
    """Random words; a text is toxic from the given word on."""
    rng = np.random.default_rng(seed)
    texts, toxicity = [], []
    for number in range(count):
        words = rng.choice(WORDS, rng.integers(4, 9)).tolist()
        if number % 2:
            words.insert(int(rng.integers(0, len(words))), TOXIC)
        texts.append(" " + " ".join(words))
        toxicity.append(float(number % 2))
    return texts, np.array(toxicity)


def test_the_error_is_weighted_by_the_length_of_the_prefix():
    predicted = torch.tensor([[9.0, 0.5, 0.2, 0.0], [9.0, 1.0, 9.0, 9.0]], dtype=torch.float64)
    place = torch.tensor([[0, 1, 2, 3], [0, 1, 0, 0]])
    toxicity = torch.tensor([1.0, 0.25], dtype=torch.float64)
    first = (1 * 0.5**2 + 2 * 0.8**2 + 3 * 1.0**2) / 6
    expected = (first + 0.75**2) / 2
    assert cumulative_error(predicted, toxicity, place).item() == pytest.approx(expected)


def by_hand(reward, tokenizer, texts, toxicity):
    """One text at a time, without padding."""
    total = 0.0
    for text, score in zip(texts, toxicity, strict=True):
        ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]][:32]])
        weights = torch.arange(ids.shape[1])
        total = total + (weights * (reward(ids)[0] - score) ** 2).sum() / weights.sum()
    return total / len(texts)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_training_is_adamw_on_that_error(tokenizer, tmp_path, accumulation):
    texts, toxicity = texts_with_rule(8, seed=0)
    toxicity = toxicity * 0.75 + 0.125  # exact in float32: the bias's first gradient is 0
    config = replace(CONFIG, batch_size=8 // accumulation, accumulation=accumulation, epochs=3.0)
    model = model_for(tokenizer).double()  # Adam makes much of a small gradient's rounding
    trained = train_reward(model, tokenizer, texts, toxicity, config, folder=tmp_path / "a")
    nothing = replace(config, learning_rate=1e-30)
    expected = train_reward(model, tokenizer, texts, toxicity, nothing, folder=tmp_path / "b")
    assert expected.head.bias.item() == pytest.approx(0.5)  # the mean is where it begins
    decayed = [p for n, p in expected.named_parameters() if "norm" not in n and "bias" not in n]
    others = [p for n, p in expected.named_parameters() if "norm" in n or "bias" in n]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.95),
        weight_decay=0.01,
    )
    for _ in range(3):
        optimizer.zero_grad()
        by_hand(expected, tokenizer, texts, toxicity).backward()
        torch.nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
        optimizer.step()
    torch.testing.assert_close(
        dict(trained.named_parameters()), dict(expected.named_parameters()), rtol=1e-4, atol=1e-5
    )


def test_it_finds_the_word_that_makes_a_text_toxic(tokenizer, tmp_path):
    texts, toxicity = texts_with_rule(200, seed=1)
    config = replace(CONFIG, batch_size=10, epochs=8.0, learning_rate=5e-3)
    model = model_for(tokenizer, hidden_size=32)
    before = deepcopy(model.state_dict())
    reward = train_reward(model, tokenizer, texts, toxicity, config, folder=tmp_path)
    assert not reward.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    unseen, labels = texts_with_rule(60, seed=2)
    found = []
    for text, label in zip(unseen, labels, strict=True):
        ids = [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]
        with torch.no_grad():
            figures = reward(torch.tensor([ids]))[0]
        found.append((figures[-1].item() >= 0.5) == bool(label))
        if label:  # and what follows it
            word = len(tokenizer(text[: text.index(TOXIC) + len(TOXIC)])["input_ids"])
            assert figures[word:].mean() > figures[:word].mean() + 0.2
    assert np.mean(found) > 0.95


class KilledError(Exception):
    """Stands for a kill: nothing after it runs."""


def test_an_interrupted_run_ends_with_the_same_bits(tokenizer, tmp_path):
    texts, toxicity = texts_with_rule(20, seed=3)
    config, model = replace(CONFIG, checkpoint_every=2), model_for(tokenizer)

    def trained(folder, progress=lambda tokens: None):
        return train_reward(
            model, tokenizer, texts, toxicity, config, folder=folder, seed=5, progress=progress
        )

    done, left = [], []

    def killing(tokens):
        if len(done) == 3:
            raise KilledError
        done.append(tokens)

    whole = trained(tmp_path / "whole")
    with pytest.raises(KilledError):
        trained(tmp_path / "part", killing)
    resumed = trained(tmp_path / "part", left.append)
    assert (len(done), len(left)) == (3, 3)
    torch.testing.assert_close(
        dict(resumed.named_parameters()), dict(whole.named_parameters()), rtol=0, atol=0
    )


def test_long_texts_lose_their_end(tokenizer, tmp_path):
    done = []
    texts = [" fox" * 50, " hill" * 3, " lazy" * 9, " goose" * 20]
    train_reward(
        model_for(tokenizer),
        tokenizer,
        texts,
        np.array([0.0, 0.0, 0.0, 1.0]),
        replace(CONFIG, max_length=12),
        folder=tmp_path,
        progress=done.append,
    )
    assert done == [4 * 12]


def test_data_that_cannot_be_learnt_from_are_refused(tokenizer, tmp_path):
    texts, toxicity = texts_with_rule(6, seed=0)

    def refused(said, texts=texts, toxicity=toxicity, **changes):
        config = replace(CONFIG, **changes)
        with pytest.raises(InputError, match=said):
            train_reward(model_for(tokenizer), tokenizer, texts, toxicity, config, folder=tmp_path)

    refused("6 texts have 5 toxicities", toxicity=toxicity[:5])
    refused("text 1 has toxicity 1.5", toxicity=toxicity * 1.5)
    refused("text 0 has toxicity nan", toxicity=toxicity * np.nan)
    refused("all texts have toxicity 0.0", toxicity=toxicity * 0)
    refused("6 texts are fewer than one batch of 7", batch_size=7)
    refused("text 2 is empty", texts=[*texts[:2], "", *texts[3:]])
    refused(r"max_length: 40 is more than the model's 32 positions", max_length=40)
    refused(r"reward: the loss is (nan|inf) at update \d", learning_rate=1e9, epochs=2.0)
