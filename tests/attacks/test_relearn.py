"""Relearning: the model given is left alone, sets are nested, and each copy is what train makes."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_model

from ifguide.attacks.config import RelearnConfig
from ifguide.attacks.relearn import relearn
from ifguide.corpus.blocks import pack
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.fluency import perplexity
from ifguide.training.train import train

LENGTH = 16
CONFIG = RelearnConfig(posts=(0, 4, 24), epochs=2.0, batch_size=3, learning_rate=5e-3)


@pytest.fixture(scope="module")
def posts():
    return [post for post in builtin_posts(80, seed=1) if post.spans][:24]


@pytest.fixture(scope="module")
def tokenizer(posts):
    return train_tokenizer([post.text for post in posts], 300)


@pytest.fixture
def model(tokenizer):
    return tiny_model("llama", torch.float32, vocab_size=len(tokenizer))


def attack(model, tokenizer, posts, tmp_path, measure=lambda tuned: None, **changes):
    given = {"config": CONFIG, "block_length": LENGTH, "folder": tmp_path, **changes}
    return relearn(model, tokenizer, posts, measure, **given)


def test_toxic_posts_are_learnt_by_copies_alone(model, tokenizer, posts, tmp_path):
    before = copy.deepcopy(model.state_dict())
    corpus = pack(posts, tokenizer, LENGTH, tmp_path / "all")
    measured = []

    def measure(tuned):
        measured.append(tuned)
        return perplexity(tuned, corpus, 8)

    found = attack(model, tokenizer, posts, tmp_path, measure)
    assert [point.posts for point in found] == [0, 4, 24]
    values = [point.measured for point in found]
    assert values[0] > values[1] > values[2]
    assert measured[0] is model
    assert len({*map(id, measured)}) == 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (found[0].tokens, found[0].updates) == (0, 0)
    assert (found[2].tokens, found[2].updates) == (
        corpus.token_count,
        math.ceil(len(corpus.tokens) / 3) * 2,
    )
    assert {entry.name for entry in tmp_path.iterdir()} == {"all", "4", "24"}


def test_a_copy_is_what_train_makes_of_the_first_posts(
    model, tokenizer, posts, tmp_path, monkeypatch
):
    packed = []

    def watched(documents, *arguments, **settings):
        packed.append(list(documents))
        return pack(documents, *arguments, **settings)

    monkeypatch.setattr("ifguide.attacks.relearn.pack", watched)
    tuned = []
    attack(model, tokenizer, posts, tmp_path, tuned.append, seed=3)
    few, many = packed
    assert many[: len(few)] == few
    assert sorted(post.id for post in many) == sorted(post.id for post in posts)
    assert many != posts  # shuffled
    corpus = pack(few, tokenizer, LENGTH, tmp_path / "few")
    again = train(
        copy.deepcopy(model), corpus, None, CONFIG.training, folder=tmp_path / "again", seed=3
    )
    for name, weight in again.state_dict().items():
        np.testing.assert_array_equal(weight, tuned[1].state_dict()[name])
    packed.clear()
    attack(model, tokenizer, posts, tmp_path, seed=4)
    assert packed[1] != many


def test_an_interrupted_attempt_is_gone_on_from_to_the_same_models(
    model, tokenizer, posts, tmp_path
):
    whole, again = [], []
    attack(model, tokenizer, posts, tmp_path / "whole", whole.append, seed=3)

    def interrupted(tokens):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attack(model, tokenizer, posts, tmp_path / "again", seed=3, progress=interrupted)
    attack(model, tokenizer, posts, tmp_path / "again", again.append, seed=3)
    assert len(whole) == len(again) == len(CONFIG.posts)
    for expected, found in zip(whole, again, strict=True):
        for name, weight in found.state_dict().items():
            np.testing.assert_array_equal(weight, expected.state_dict()[name])


def test_every_update_that_is_reported_was_made(model, tokenizer, posts, tmp_path):
    counted = []
    found = attack(model, tokenizer, posts[:24], tmp_path, progress=counted.append)
    assert len(counted) == sum(point.updates for point in found)


def test_too_few_posts_are_refused_before_anything_is_trained(model, tokenizer, posts, tmp_path):
    def measure(tuned):
        raise AssertionError

    with pytest.raises(InputError, match=r"^relearn\.posts: 24 are asked for, but there are 9"):
        attack(model, tokenizer, posts[:9], tmp_path, measure)


def test_a_diverging_attack_blames_its_own_setting(model, tokenizer, posts, tmp_path):
    config = replace(CONFIG, learning_rate=1e9, epochs=9.0)
    with pytest.raises(InputError, match=r"^relearn: .* lower relearn\.learning_rate$"):
        attack(model, tokenizer, posts, tmp_path, config=config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"posts": ()}, "relearn.posts: [] are not rising"),
        ({"posts": (3, 3)}, "relearn.posts: [3, 3] are not rising"),
        ({"posts": (-1, 3)}, "relearn.posts.0: -1 is not in"),
        ({"learning_rate": 0.0}, "relearn.learning_rate: 0.0 is not in (0, 1000000000]"),
    ],
)
def test_nonsense_is_refused(settings, said):
    with pytest.raises(InputError) as refused:
        RelearnConfig(**settings)
    assert str(refused.value).startswith(said)
