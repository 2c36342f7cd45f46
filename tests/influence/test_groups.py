"""A fit in groups of weights: the same bits, within the bound, and off the disk when it is read."""

import bisect
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import run, write_settings
from safetensors import safe_open
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.groups import groups_within, in_memory
from ifguide.models.hooks import first_readers
from ifguide.models.tracked import find_tracked
from ifguide.run.artifacts import FactorFiles, load_curvature, load_direction

KINDS = [
    {"kind": "kfac"},
    {"kind": "kfac", "damping": "factored"},
    {"kind": "ekfac"},
    {"kind": "ekfac", "eigenvalues": "token"},
    {"kind": "ekfac", "eigenvalue_blocks": "other", "rotation": "bfloat16"},
]


def mebibytes(size):
    return f"{size / 2**20:.6f}MiB"


def grouped(model, config):
    tracked = find_tracked(model)
    return groups_within(tracked, first_readers(model, tracked), config)


def least(model, **given):
    """The least bound in bytes, up to 64, found by trying; and the number of groups it makes."""
    tracked = find_tracked(model)
    first, found = first_readers(model, tracked), {}

    def fits(size):
        config = CurvatureConfig(memory=mebibytes(size), **given)
        try:
            found[size] = len(groups_within(tracked, first, config))
        except InputError:
            return False
        return True

    sizes = range(64, 2**20, 64)
    size = sizes[bisect.bisect_left(sizes, True, key=fits)]
    fits(size)
    return size, found[size]


@pytest.mark.parametrize("given", KINDS, ids=str)
def test_groups_have_the_bits_of_all_at_once(given, tmp_path):
    model, corpus = tiny_model("llama").float(), random_corpus(blocks=12, length=10)
    whole = fit(model, corpus, CurvatureConfig(sample_blocks=5, batch_size=2, **given), seed=3)
    size, count = least(model, **given)
    assert count > 2
    config = CurvatureConfig(sample_blocks=5, batch_size=2, memory=mebibytes(size + 64), **given)
    found = fit(model, corpus, config, seed=3, keep=FactorFiles(tmp_path))
    assert len(list(tmp_path.glob("curvature-*.safetensors"))) == len(grouped(model, config)) > 2
    for one in (found, load_curvature(tmp_path), fit(model, corpus, config, seed=3)):
        assert one.kind == whole.kind
        expected = whole.tensors()
        tensors = one.tensors()
        assert tensors.keys() == expected.keys()
        for name, tensor in tensors.items():
            assert tensor.numpy().tobytes() == expected[name].numpy().tobytes(), name


def test_every_family_s_weights_are_in_groups_with_what_reads_their_input(family):
    model = tiny_model(family)
    tracked = find_tracked(model)
    first = first_readers(model, tracked)
    size, _ = least(model)
    for bound in (size, 3 * size, 2**30):
        made = groups_within(tracked, first, CurvatureConfig(memory=mebibytes(bound + 1)))
        names = [weight.name for group in made for weight in group]
        assert sorted(names) == sorted(weight.name for weight in tracked)
        owner = {weight.name: k for k, group in enumerate(made) for weight in group}
        assert all(owner[name] == owner[reader] for name, reader in first.items())
        for group in made:
            outs = sum(w.matrix.shape[0] ** 2 for w in group)
            ins = sum(w.matrix.shape[1] ** 2 for w in group if first[w.name] == w.name)
            both = sum(w.matrix.numel() for w in group)
            held = max(2 * (outs + ins) + both, outs + ins + 2 * both)
            assert held * tracked[0].parameter.element_size() <= bound + 2
    assert len(made) == 1


def test_a_group_in_memory_keeps_what_weights_share():
    shared, own = torch.ones(2, 2), torch.zeros(2, 2)
    kept = in_memory("ekfac", {"a": shared, "b": own, "c": shared})
    assert kept["a"] is kept["c"]
    assert kept["b"] is not kept["a"]


def test_a_file_of_factors_is_mapped_not_read(tmp_path):
    tensors = {f"{name}/eigenvalues": torch.rand(64, 64) for name in "ab"}
    mapped = FactorFiles(tmp_path)("ekfac", tensors)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    places = [
        tuple(int(edge, 16) for edge in held[0].split("-"))
        for held in maps
        if held[-1].endswith("curvature-00000.safetensors")
    ]
    for name, tensor in mapped.items():
        assert any(low <= tensor.data_ptr() < high for low, high in places), name
        assert torch.equal(tensor, tensors[name])


def test_a_run_in_groups_comes_to_the_same_direction(finished, tmp_path):
    config = write_settings(tmp_path, curvature__memory="0.0115MiB")
    assert run("aim", config, tmp_path / "out") == 0
    files = sorted((tmp_path / "out" / "fit").glob("*.safetensors"))
    assert len(files) > 1
    with safe_open(files[0], "pt") as opened:
        assert opened.keys()
    expected = load_direction(finished / "aim").weights
    found = load_direction(tmp_path / "out" / "aim").weights
    assert {n: t.numpy().tobytes() for n, t in found.items()} == {
        n: t.numpy().tobytes() for n, t in expected.items()
    }
    config = write_settings(tmp_path, curvature__memory="1 GiB")
    before = {file: file.stat().st_mtime_ns for file in files}
    assert run("aim", config, tmp_path / "out") == 0  # it decides nothing: what is there stands
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_progress_comes_to_the_tokens_of_one_fit():
    model, corpus = tiny_model("gpt2"), random_corpus(blocks=8, length=12)
    size, count = least(model)
    done = []
    config = CurvatureConfig(sample_blocks=8, batch_size=8, memory=mebibytes(size))
    fit(model, corpus, config, progress=done.append)
    assert 2 * 8 * 12 - 2 * count <= sum(done) <= 2 * 8 * 12
    assert len(done) == 2 * count


@pytest.mark.parametrize("text", ["16", "16GB", "GiB", "-1GiB", "1e3GiB", "0GiB", "16 gib", ""])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(InputError, match=f"curvature.memory: '{text}' is no amount of memory; gi"):
        CurvatureConfig(memory=text)


@pytest.mark.parametrize(("text", "size"), [("16GiB", 2**34), ("1.5 MiB", 3 * 2**19)])
def test_amounts_of_memory(text, size):
    assert CurvatureConfig(memory=text).memory_bytes == size


def test_a_bound_below_one_weight_is_refused_before_any_pass():
    model, corpus = tiny_model("llama"), random_corpus(blocks=4, length=8)
    config = CurvatureConfig(memory="0.0001MiB")
    with pytest.raises(InputError, match=r"0\.0001MiB is too little for weight '.*q_proj' and wh"):
        fit(model, corpus, config, progress=lambda tokens: pytest.fail("a pass was made"))


@pytest.mark.parametrize("kind", ["identity", "dense"])
def test_a_kind_without_factors_refuses_a_bound(kind):
    with pytest.raises(InputError, match=f"curvature.memory: .* kind is {kind}"):
        CurvatureConfig(kind=kind, memory="1GiB")


def test_bounds_are_read_as_numbers_of_bytes():
    assert np.isclose(CurvatureConfig(memory="0.25 TiB").memory_bytes, 2**38)
