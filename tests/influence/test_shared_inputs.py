"""Weights that read one input share its factor: found at run time, and nothing comes out else."""

import pytest
import torch
from tiny import random_corpus, tiny_model
from torch import nn

from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature import factors
from ifguide.influence.curvature.fit import fit
from ifguide.models.hooks import first_readers
from ifguide.models.tracked import find_tracked
from ifguide.run import artifacts


class Mixture(nn.Module):
    """Two experts and the router that weighs them: every token goes through all three."""

    def __init__(self, width):
        super().__init__()
        self.router = nn.Linear(width, 2)
        self.experts = nn.ModuleList(nn.Linear(width, width) for _ in range(2))

    def forward(self, x):
        share = self.router(x).softmax(-1)
        return sum(share[..., k, None] * expert(x) for k, expert in enumerate(self.experts))


class Overwriting(nn.Module):
    """Two maps of one tensor, which is written to between them."""

    def __init__(self, width):
        super().__init__()
        self.first, self.second = (nn.Linear(width, width) for _ in range(2))

    def forward(self, x):
        x = 1.0 * x
        y = self.first(x)
        return y + self.second(x.mul_(2.0))


def model_of(kind):
    if kind not in ("mixture", "overwriting"):
        return tiny_model(kind)
    model = tiny_model("llama")
    for layer in model.model.layers:
        layer.mlp = {"mixture": Mixture, "overwriting": Overwriting}[kind](16).double()
    return model


def gradients_of(model):
    generator = torch.Generator().manual_seed(3)
    return {
        w.name: torch.randn(w.matrix.shape, generator=generator, dtype=torch.float64)
        for w in find_tracked(model)
    }


def groups(model):
    found = {}
    for name, first in first_readers(model, find_tracked(model)).items():
        found.setdefault(first, []).append(name.rsplit(".", 1)[-1])
    return sorted({tuple(names) for names in found.values() if len(names) > 1})


QKV = ("q_proj", "k_proj", "v_proj")


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        ("llama", [("gate_proj", "up_proj"), QKV]),
        ("gpt_neox", []),
        ("gpt2", []),
        ("mixture", [QKV, ("router", "0", "1")]),
        ("overwriting", [QKV]),
    ],
)
def test_what_reads_one_tensor_is_found_whatever_it_is_called(kind, shared):
    assert groups(model_of(kind)) == sorted(shared)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gpt2", "mixture", "overwriting"])
@pytest.mark.parametrize("settings", [{}, {"eigenvalues": "token"}, {"kind": "kfac"}])
def test_a_shared_factor_gives_the_direction_of_factors_apart(kind, settings, monkeypatch):
    model, corpus = model_of(kind), random_corpus(blocks=4, length=8, padding=3)
    config = CurvatureConfig(sample_blocks=4, batch_size=3, **settings)
    gradients = gradients_of(model)
    together = fit(model, corpus, config, seed=1)
    alone = {weight.name: weight.name for weight in find_tracked(model)}
    monkeypatch.setattr(factors, "first_readers", lambda model, tracked: alone)
    apart = fit(model, corpus, config, seed=1)
    own, few = (
        len({id(basis.input_basis) for basis in c.bases.values()}) for c in (apart, together)
    )
    saved_a_layer = {"llama": 3, "mixture": 4, "overwriting": 2}.get(kind, 0)
    assert own - few == 2 * saved_a_layer
    found, expected = (c.solve(gradients, 0.1) for c in (together, apart))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)


def test_what_is_shared_is_stored_once_and_read_back_shared(tmp_path):
    model, corpus = tiny_model("llama"), random_corpus()
    gradients = gradients_of(model)
    for config in ({}, {"kind": "kfac", "damping": "factored"}):
        curvature = fit(model, corpus, CurvatureConfig(sample_blocks=6, **config))
        artifacts.save_curvature(tmp_path, curvature)
        again = artifacts.load_curvature(tmp_path)
        assert again.kind == curvature.kind
        tensors = curvature.tensors()
        distinct = {id(t): t.numel() * t.element_size() for t in tensors.values()}
        assert len(distinct) < len(tensors)
        size = (tmp_path / "curvature.safetensors").stat().st_size
        assert sum(distinct.values()) <= size < sum(distinct.values()) + 20_000
        assert len({id(t) for t in again.tensors().values()}) == len(distinct)
        for name, solved in curvature.solve(gradients, 0.1).items():
            assert torch.equal(solved, again.solve(gradients, 0.1)[name])
