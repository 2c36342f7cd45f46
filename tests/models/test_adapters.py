"""LoRA adapters as the tracked weights, against autograd, and an adapter as model.path."""

import copy
import json
import warnings

import numpy as np
import pytest
import torch
from micro import contents, run, write_settings
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny import random_corpus, tiny_model
from transformers import AutoTokenizer

from ifguide import full_precision
from ifguide.influence.config import CurvatureConfig, ScoreConfig
from ifguide.influence.curvature.factors import inverse_transform, uniform_draws
from ifguide.influence.curvature.fit import fit
from ifguide.influence.direction import query_gradient
from ifguide.influence.score import score
from ifguide.models import adapters
from ifguide.models.config import ModelConfig
from ifguide.models.load import load_checkpoint, model_fingerprint
from ifguide.models.losses import forward_losses
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction, QuerySet

ENGINES = ("difference", "jvp", "position")
TARGETS = {
    "llama": ["q_proj", "v_proj", "up_proj", "down_proj"],
    "qwen2": ["k_proj", "o_proj", "gate_proj"],
    "gpt2": ["c_attn", "c_proj"],
}


def with_lora(model, family, **settings):
    torch.manual_seed(1)
    config = LoraConfig(
        r=3,
        target_modules=TARGETS[family],
        init_lora_weights=False,  # a fresh adapter's B is 0, and half of the gradients with it
        fan_in_fan_out=family == "gpt2",
        task_type="CAUSAL_LM",
        **settings,
    )
    return get_peft_model(model, config).eval()


@pytest.fixture(params=sorted(TARGETS))
def model(request):
    return with_lora(tiny_model(request.param), request.param).double()


def draw(model, seed=1):
    rng = torch.Generator().manual_seed(seed)
    tracked = find_tracked(model)
    return Direction(
        {w.name: torch.randn(w.matrix.shape, generator=rng, dtype=torch.float64) for w in tracked}
    )


def gradients_of(model, loss):
    """By name of the parameter, from every parameter that peft made trainable."""
    held = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, held.values(), retain_graph=True)
    return {n.removesuffix(".weight"): g for n, g in zip(held, found, strict=True)}


def test_the_adapter_s_matrices_and_nothing_else_are_tracked(model):
    names = {w.name for w in find_tracked(model)}
    assert names == set(gradients_of(model, forward_losses(model, torch.ones(1, 4).long()).sum()))
    assert all("lora_A" in name or "lora_B" in name for name in names)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_autograd_s(model, engine):
    corpus, direction = random_corpus(blocks=2, length=8, padding=3), draw(model)
    losses = forward_losses(model, torch.from_numpy(corpus.tokens).long())
    losses = losses * torch.from_numpy(corpus.has_loss)
    by_token = [
        sum(float((g * direction.weights[n]).sum()) for n, g in gradients_of(model, unit).items())
        for unit in losses.flatten()
    ]
    expected = np.array(by_token).reshape(losses.shape)
    found = score(model, corpus, direction, ScoreConfig(engine=engine)).values
    bound = 1e-9 * np.abs(expected).max()
    np.testing.assert_allclose(found.sum(1), expected.sum(1), rtol=0, atol=8 * bound)
    if engine != "position":  # whose tokens mean something else
        np.testing.assert_allclose(found, expected, rtol=0, atol=100 * bound)


def test_the_query_gradient_is_autograd_s(model):
    rng = np.random.default_rng(0)
    tokens = [rng.integers(1, 61, n) for n in (5, 8, 6)]
    weights = [np.r_[0.0, rng.random(len(t) - 1)] for t in tokens]
    found = query_gradient(model, find_tracked(model), QuerySet(tokens, weights), 2)
    loss = sum(
        (forward_losses(model, torch.from_numpy(t)[None])[0] * torch.from_numpy(w)).sum()
        for t, w in zip(tokens, weights, strict=True)
    )
    for name, expected in gradients_of(model, loss).items():
        torch.testing.assert_close(found[name], expected)


def test_curvature_is_the_second_moment_of_autograd_s_gradients(model):
    corpus = random_corpus(blocks=4, length=10, padding=4)
    fitted = fit(model, corpus, CurvatureConfig(sample_blocks=4), seed=2)
    expected = dict.fromkeys(fitted.bases, 0.0)
    for row in range(4):
        tokens = torch.from_numpy(corpus.tokens[row : row + 1]).long()
        with full_precision(model):
            logits = model(input_ids=tokens).logits[0]
        uniform = uniform_draws(np.array([row]), 10, 2)[0]
        labels = inverse_transform(logits.detach().softmax(-1), uniform)[:-1]
        losses = torch.nn.functional.cross_entropy(logits[:-1], labels, reduction="none")
        loss = (losses * torch.from_numpy(corpus.has_loss[row, 1:])).sum()
        for name, gradient in gradients_of(model, loss).items():
            basis = fitted.bases[name]
            rotated = basis.output_basis.T @ gradient @ basis.input_basis
            expected[name] = expected[name] + rotated.square() / corpus.has_loss.sum()
    for name, basis in fitted.bases.items():
        torch.testing.assert_close(basis.eigenvalues, expected[name], rtol=1e-8, atol=1e-14)


def test_float32_adapters_in_a_bfloat16_model():
    """The adapter's type says nothing of the model's: steps are calibrated as in bfloat16."""
    half = with_lora(tiny_model("llama", torch.bfloat16), "llama")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16, torch.float32}
    corpus, direction = random_corpus(blocks=8, length=12), draw(half)
    wide = copy.deepcopy(half).float()
    expected = score(wide, corpus, direction).values.sum(1)
    for engine in ENGINES:
        made = score(half, corpus, direction, ScoreConfig(engine=engine))
        said = made.metadata.get("refused_difference", made.metadata)
        assert (engine == "difference") == ("spearman" in said)
        error = np.abs(made.values.sum(1) - expected).max() / np.abs(expected).max()
        assert error < 0.1
    curvature = fit(half, corpus, CurvatureConfig(sample_blocks=8)).tensors()
    assert {t.dtype for t in curvature.values()} == {torch.float32}


def test_gradient_checkpointing_changes_nothing():
    model, corpus = with_lora(tiny_model(), "llama").double(), random_corpus()
    direction, config = draw(model), CurvatureConfig(sample_blocks=6)
    query = QuerySet([corpus.tokens[0].astype(np.int64)], [np.r_[0.0, np.ones(11)]])

    def results():
        made = [score(model, corpus, direction, ScoreConfig(engine=e)).values for e in ENGINES]
        gradient = query_gradient(model, find_tracked(model), query, 1)
        return [*made, *gradient.values(), *fit(model, corpus, config).tensors().values()]

    before = results()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, to itself
        model.gradient_checkpointing_enable()
        model.train()  # the verbs go to evaluation by themselves
        for found, expected in zip(results(), before, strict=True):
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert model.training


# an adapter's folder as model.path


@pytest.fixture
def adapted(finished, tmp_path):
    """The settings of a run from an adapter of a finished run's baseline."""
    model = with_lora(load_checkpoint(finished / "baseline"), "llama")
    model.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(finished / "baseline").save_pretrained(tmp_path / "adapter")
    folder = str(tmp_path / "adapter")
    changed = {"model__path": folder, "model__scratch": None, "tokenizer__path": folder}
    return write_settings(tmp_path, **changed, tokenizer__vocab_size=None, baseline=None)


def test_a_run_from_an_adapter(adapted, finished, tmp_path):
    assert run("run", adapted, tmp_path / "run") == 0
    direction = load_file(tmp_path / "run/aim/direction.safetensors")
    assert len(direction) == 2 * len(TARGETS["llama"])
    assert all("lora_" in name for name in direction)
    trained = load_file(tmp_path / "run/train/adapter_model.safetensors")
    given = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert trained.keys() == given.keys()
    assert any(not torch.equal(trained[name], given[name]) for name in given)
    again = load_checkpoint(tmp_path / "run/train")
    base = load_checkpoint(finished / "baseline").state_dict()
    for name, weight in again.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(weight, base[name.replace(".base_layer", "")])
    assert not any("adapter" in name for name in contents(finished))


def test_an_adapter_is_known_by_its_base_too(adapted, tmp_path):
    config = ModelConfig(path=str(tmp_path / "adapter"))
    file = tmp_path / "adapter" / adapters.ADAPTER
    held = json.loads(file.read_text())
    tiny_model(dtype=torch.float32).save_pretrained(tmp_path / "base")
    file.write_text(json.dumps({**held, "base_model_name_or_path": str(tmp_path / "base")}))
    before = model_fingerprint(config)
    tiny_model(dtype=torch.float32, seed=1).save_pretrained(tmp_path / "base")
    assert model_fingerprint(config) != before


def test_an_adapter_without_peft_or_base_is_refused(adapted, refused, tmp_path, monkeypatch):
    file = tmp_path / "adapter" / adapters.ADAPTER
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "base_model_name_or_path": None}))
    said = refused("fit", adapted, "--out", tmp_path / "run", "--quiet")
    assert said == f"{file}: base_model_name_or_path is missing; name the base"
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    said = refused("fit", adapted, "--out", tmp_path / "other", "--quiet")
    assert "is an adapter, which needs peft; pip install 'ifguide[lora]', or merge it" in said
