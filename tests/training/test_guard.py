"""The watch over perplexity: what it measures, when it warns, and what a stop leaves."""

import json
import logging
import random
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from damage import damage
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.training.config import Guard, TrainingConfig
from ifguide.training.train import train

CONFIG = TrainingConfig(
    batch_size=2, epochs=2.0, learning_rate=1e-3, schedule="constant_with_warmup", warmup=0.0
)  # six updates of six blocks
GUARD = Guard(text="calm", bound=1.1, every=2)


def told(values):
    """A measure that says these values one after the other, and the models it has seen."""
    seen, left = [], list(values)

    def measure(model):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return left.pop(0)

    return measure, seen


def trained(folder, config, measure, start=None):
    model = start or tiny_model("llama", torch.float32)
    return train(model, random_corpus(), None, config, folder=folder, measure=measure)


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def history_of(folder):
    return json.loads((folder / "guard.json").read_text())


def test_it_measures_at_the_start_at_every_few_updates_and_at_the_end(tmp_path):
    measure, seen = told([9.0, 8.0, 7.0, 6.0])
    config = replace(CONFIG, guard=replace(GUARD, every=4))
    model = trained(tmp_path, config, measure)
    assert history_of(tmp_path) == [[0, 9.0], [4, 8.0], [6, 7.0]]
    torch.testing.assert_close(seen[-1], weights_of(model), rtol=0, atol=0)


def test_it_warns_past_the_bound_over_the_lowest_and_goes_on(tmp_path, caplog):
    plain = trained(tmp_path / "plain", CONFIG, None)
    measure, _ = told([9.0, 10.0, 8.0, 8.88])
    with caplog.at_level(logging.WARNING, "ifguide"):
        model = trained(tmp_path, replace(CONFIG, guard=GUARD), measure)
    assert [record.getMessage() for record in caplog.records] == [
        "training: perplexity of 'calm' is 10.00 after update 2, 1.111 times its lowest",
        "training: perplexity of 'calm' is 8.88 after update 6, 1.110 times its lowest",
    ]
    torch.testing.assert_close(weights_of(model), weights_of(plain), rtol=0, atol=0)


def test_a_stop_goes_back_to_the_last_weights_within_the_bound(tmp_path):
    measure, seen = told([9.0, 8.0, 8.9, 7.0])
    model = trained(tmp_path, replace(CONFIG, guard=replace(GUARD, stop=True)), measure)
    assert [step for step, _ in history_of(tmp_path)] == [0, 2, 4]
    torch.testing.assert_close(weights_of(model), seen[1], rtol=0, atol=0)
    assert not model.training


def test_a_stop_survives_an_interruption(tmp_path):
    """The checkpoint of the update that stopped it is gone on from: it stops again."""
    config = replace(CONFIG, guard=replace(GUARD, stop=True), checkpoint_every=2)
    start = tiny_model("llama", torch.float32)
    expected = trained(tmp_path, config, told([9.0, 8.0, 8.9])[0], deepcopy(start))
    assert (tmp_path / "checkpoint-4").exists()
    again = trained(tmp_path, config, told([])[0], deepcopy(start))
    torch.testing.assert_close(weights_of(again), weights_of(expected), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["guard.json", "sound.safetensors"])
@pytest.mark.parametrize("way", ["bit", "cut", "gone"])
def test_what_it_has_measured_is_taken_from_whole_checkpoints_alone(name, way, tmp_path):
    """Whatever an interruption leaves of its files, in a checkpoint or beside it."""
    config = replace(CONFIG, guard=replace(GUARD, stop=True), checkpoint_every=2)
    start = tiny_model("llama", torch.float32)
    expected = trained(tmp_path, config, told([9.0, 8.0, 8.9])[0], deepcopy(start))
    for place in (tmp_path, tmp_path / "checkpoint-4"):
        damage(place / name, way, random.Random(0))
    again = trained(tmp_path, config, told([8.9, 5.0])[0], deepcopy(start))
    torch.testing.assert_close(weights_of(again), weights_of(expected), rtol=0, atol=0)
    assert history_of(tmp_path) == [[0, 9.0], [2, 8.0], [4, 8.9]]


def test_a_watch_without_a_measure_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"training\.guard"):
        trained(tmp_path, replace(CONFIG, guard=GUARD), None)
