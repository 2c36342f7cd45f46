"""``difference`` in bfloat16 autocast: its step, what it states, and when it is not used."""

import shutil

import numpy as np
import pytest
import torch
from micro import run
from scipy.stats import spearmanr
from tiny import calibrated_on, random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence import calibrate
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import score
from ifguide.models.losses import forward_losses
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction

BFLOAT16 = ScoreConfig(engine="difference", precision="bfloat16")


@pytest.fixture(scope="module")
def corpus():
    """Sequences that can be learnt: each token leads to the next by one of two steps."""
    made = random_corpus(blocks=40, length=24)
    steps = np.random.default_rng(0).choice([3, 7], made.tokens.shape)
    made.tokens[:] = (made.tokens[:, :1] + steps.cumsum(1)) % 60 + 1
    return made


@pytest.fixture(scope="module")
def model(corpus):
    """A model that has learnt some of it, so that its scores are more than noise."""
    made = tiny_model("gpt_neox", torch.float32, hidden_size=64, intermediate_size=128)
    optimizer = torch.optim.AdamW(made.parameters(), 5e-3)
    tokens = torch.from_numpy(corpus.tokens).long()
    first = forward_losses(made, tokens).mean().item()
    for _ in range(20):
        loss = forward_losses(made, tokens).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.5 * first
    return made.eval()


@pytest.fixture(scope="module")
def direction(model, corpus):
    """The gradient of some blocks' loss, as a query's is."""
    tracked = find_tracked(model)
    loss = forward_losses(model, torch.from_numpy(corpus.tokens[:4]).long()).mean()
    gradients = torch.autograd.grad(loss, [w.parameter for w in tracked])
    return Direction({w.name: g for w, g in zip(tracked, gradients, strict=True)})


def test_the_calibrated_step_keeps_the_ranking_and_says_how_well(model, corpus, direction):
    whole = score(model, corpus, direction).values
    made = score(model, corpus, direction, BFLOAT16)
    exact, found = whole[corpus.has_loss], made.values[corpus.has_loss]
    assert spearmanr(found, exact).statistic >= 0.98
    probe = calibrated_on(model, corpus)
    rank = spearmanr(made.values[probe], whole[probe]).statistic
    assert made.metadata["engine"] == "difference"
    assert made.metadata["precision"] == "bfloat16"
    assert made.metadata["spearman"] == pytest.approx(rank, abs=1e-6)
    # it is bfloat16, and would be lost in its rounding at a step that suits float32
    wide = score(model, corpus, direction, ScoreConfig(engine="difference", tolerance=0.01))
    assert wide.metadata["step"] <= made.metadata["step"]
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 0.5
    small = ScoreConfig(engine="difference", precision="bfloat16", step=1e-4)
    assert score(model, corpus, direction, small).metadata["spearman"] < rank


def test_below_the_bound_it_is_jvp_in_float32(model, corpus, direction, monkeypatch, caplog):
    monkeypatch.setattr(calibrate, "RANK_BOUND", 0.999999)
    made = score(model, corpus, direction, BFLOAT16)
    assert made.metadata["engine"] == "jvp"
    assert 0.9 < made.metadata["refused_difference"]["spearman"] < 0.999999
    assert "falling back to jvp" in caplog.text
    np.testing.assert_array_equal(made.values, score(model, corpus, direction).values)


def test_a_given_step_is_kept_and_its_agreement_stated(model, corpus, direction, caplog):
    config = ScoreConfig(engine="difference", precision="bfloat16", step=1e-6)
    made = score(model, corpus, direction, config)
    assert made.metadata["engine"] == "difference"
    assert made.metadata["step"] == 1e-6
    assert made.metadata["spearman"] < 0.98
    assert "it is kept because scores.step gives it" in caplog.text


def test_the_command_line_states_it(finished, micro_config, tmp_path, capfd):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    options = ["--scores.engine", "difference", "--scores.precision", "bfloat16", "--replace"]
    assert run("score", micro_config, out, *options, "--scores.step", "0.03") == 0
    said = capfd.readouterr().out
    assert said.startswith("Spearman with float32 jvp on a probe: 0.")
    assert said.count("\n") == 1


@pytest.mark.parametrize("engine", ["jvp", "position"])
def test_other_engines_have_no_bfloat16(engine):
    with pytest.raises(
        InputError, match=f"scores.precision: bfloat16 is not for the engine {engine}"
    ):
        ScoreConfig(engine=engine, precision="bfloat16")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_type_are_refused(dtype, corpus):
    model = tiny_model("llama", dtype)
    along = {w.name: torch.ones_like(w.matrix) for w in find_tracked(model)}
    with pytest.raises(InputError, match=r"scores\.precision: bfloat16 is for models of float32"):
        score(model, corpus, Direction(along), BFLOAT16)
