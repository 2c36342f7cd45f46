"""How a training goes: what is logged, kept through a kill, and drawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model
from transformers import TrainerCallback

from ifguide.files import read_json
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision
from ifguide.nouns import Selection
from ifguide.training.config import Guard, TrainingConfig
from ifguide.training.curve import curve_of
from ifguide.training.train import train

CONFIG = TrainingConfig(
    batch_size=1,
    learning_rate=1e-3,
    schedule="linear",
    warmup=0.0,
    checkpoint_every=2,
    trainer={"logging_steps": 1.0},
)


def uneven_corpus(blocks=6):
    """Blocks of very different numbers of tokens with a loss; the last has none."""
    corpus = random_corpus(blocks, 12)
    document = corpus.document.copy()
    for block in range(blocks):
        document[block, 12 - 2 * block if block < blocks - 1 else 0 :] = -1
    return replace(corpus, document=document)


def selection_of(corpus):
    suppress, nothing = np.random.default_rng(1).random(corpus.tokens.shape) < 0.3, np.zeros(0)
    return Selection(suppress, 0.0, int(suppress.sum()), nothing.astype(int), nothing, corpus)


def curve(folder, corpus, selection, config=CONFIG, model=None, **more):
    found = []
    model = model or tiny_model("llama", torch.float32)
    train(model, corpus, selection, config, folder=folder, record=found.append, **more)
    (only,) = found
    return only.points


@pytest.mark.parametrize("batch", [1, 4])
def test_losses_are_means_over_tokens_since_the_last_point(tmp_path, batch):
    """With a learning rate of next to nothing: the start's, over the whole corpus."""
    corpus, model = uneven_corpus(), tiny_model("llama")
    selection = selection_of(corpus)
    with torch.no_grad():
        losses = forward_losses(model, torch.from_numpy(corpus.tokens).long()).numpy()
    updates = 6 // batch + bool(6 % batch)
    config = replace(
        CONFIG,
        batch_size=batch,
        learning_rate=1e-300,
        weight_decay=0.0,
        trainer={"logging_steps": float(updates)},
    )
    with full_precision(model):
        (point,) = curve(tmp_path, corpus, selection, config, model)
    chosen = selection.suppress & corpus.has_loss
    assert point.update == updates
    assert point.benign_loss == pytest.approx(losses[corpus.has_loss & ~chosen].mean(), rel=1e-9)
    assert point.suppressed_loss == pytest.approx(losses[chosen].mean(), rel=1e-9)


def test_every_update_of_a_short_training_has_a_point(tmp_path):
    points = curve(tmp_path, random_corpus(), None, replace(CONFIG, trainer={}))
    assert [point.update for point in points] == [1, 2, 3, 4, 5, 6]
    rates = [point.learning_rate for point in points]
    np.testing.assert_allclose(rates, [1e-3 * left / 6 for left in (6, 5, 4, 3, 2, 1)])
    assert {point.suppressed_loss for point in points} == {None}


@pytest.mark.parametrize("killed_in", [3, 4, 5])
def test_a_kill_leaves_the_same_curve(tmp_path, killed_in):
    """Also where it comes between two points, of which the first lies behind the checkpoint."""
    corpus, seen = random_corpus(9), []
    config = replace(CONFIG, trainer={"logging_steps": 3.0})
    whole = curve(tmp_path / "whole", corpus, selection_of(corpus), config)

    def stop(tokens):
        seen.append(tokens)
        if len(seen) == killed_in:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        curve(tmp_path / "killed", corpus, selection_of(corpus), config, progress=stop)
    assert curve(tmp_path / "killed", corpus, selection_of(corpus), config) == whole
    assert [point.update for point in whole] == [3, 6, 9]


def test_the_guard_s_perplexity_is_told_where_it_is_measured(tmp_path):
    values = iter([9.0, 8.0, float("inf"), 7.0])
    config = replace(CONFIG, guard=Guard(text="calm", bound=1e9, every=2))
    points = curve(tmp_path, random_corpus(), None, config, measure=lambda model: next(values))
    found = {p.update: p.guard_perplexity for p in points if p.guard_perplexity is not None}
    assert found == {0: 9.0, 2: 8.0, 6: 7.0}  # what is not finite cannot be drawn


def test_trackers_see_what_is_logged(tmp_path, monkeypatch):
    seen = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.append(dict(logs))

    monkeypatch.setattr(
        "transformers.trainer.get_reporting_integration_callbacks", lambda names: [Tracker]
    )
    corpus = random_corpus()
    config = replace(CONFIG, guard=Guard(text="calm", bound=1e9, every=6))
    curve(tmp_path, corpus, selection_of(corpus), config, measure=lambda model: 5.0)
    told = set().union(*seen)
    assert {"benign_loss", "suppressed_loss", "learning_rate", "guard_perplexity"} <= told


def test_what_trainer_logs_twice_is_one_point():
    history = [{"step": 2, "benign_loss": 2.0}, {"step": 1, "learning_rate": 0.5}]
    history += [{"step": 2, "guard_perplexity": 4.0}, {"step": 2, "train_loss": 1.0}]
    first, second = curve_of(history).points
    assert (first.update, first.learning_rate) == (1, 0.5)
    assert (second.benign_loss, second.guard_perplexity) == (2.0, 4.0)


def test_a_run_keeps_and_draws_its_curves(finished):
    report = read_json(finished / "report.json")
    for stage, model in {"baseline": "baseline", "train": "suppressed"}.items():
        kept = read_json(finished / stage / "curve.json")
        assert report["training"][model] == kept
        assert "curve.json" in read_json(finished / stage / "manifest.json")["files"]
        assert [point["benign_loss"] > 0 for point in kept["points"]]
    assert any("suppressed_loss" in point for point in report["training"]["suppressed"]["points"])
    page = (finished / "report.html").read_text("utf-8")
    assert "How training went" in page
    assert "suppressed, selected tokens" in page
    assert json.dumps(report["training"]).count("learning_rate") >= 2
