"""Curvature against dense float64 algebra."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCABULARY, random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig
from ifguide.influence.curvature.eigen import eigenbases, eigenbasis
from ifguide.influence.curvature.factors import inverse_transform, uniform_draws
from ifguide.influence.curvature.fit import fit, sample_rows
from ifguide.influence.curvature.kronecker import KroneckerEigenbasis
from ifguide.influence.curvature.operators import Identity, curvature_from
from ifguide.models.losses import forward_logits
from ifguide.models.tracked import find_tracked


def gradients_like(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {
        w.name: torch.randn(w.matrix.shape, generator=generator, dtype=torch.float64)
        for w in find_tracked(model)
    }


def sampled_gradients(model, corpus, rows, seed):
    """Each block's gradient with the labels that the fit draws, by plain autograd."""
    tracked = find_tracked(model)
    for row in rows:
        tokens = torch.from_numpy(corpus.tokens[row : row + 1]).long()
        logits = forward_logits(model, tokens)
        uniform = uniform_draws(np.array([row]), corpus.tokens.shape[1], seed)[0]
        labels = inverse_transform(logits.detach()[0].softmax(-1), uniform)[:-1]
        losses = torch.nn.functional.cross_entropy(logits[0, :-1], labels, reduction="none")
        loss = (losses * torch.from_numpy(corpus.has_loss[row, 1:])).sum()
        gradients = torch.autograd.grad(loss, [w.parameter for w in tracked])
        yield {w.name: w.oriented(g) for w, g in zip(tracked, gradients, strict=True)}


@settings(max_examples=20, deadline=None)
@given(out=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_kronecker_solve_equals_the_dense_one(out, width, seed):
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    bases = [eigenbasis(f @ f.T)[1] for f in (draw(out, out), draw(width, width))]
    basis = KroneckerEigenbasis(*bases, draw(out, width).square())
    dense_basis = torch.kron(bases[0], bases[1])
    dense = dense_basis @ torch.diag(basis.eigenvalues.flatten()) @ dense_basis.T
    gradient = draw(out, width)
    damped = dense + 0.3 * basis.eigenvalues.mean() * torch.eye(out * width, dtype=torch.float64)
    expected = torch.linalg.solve(damped, gradient.flatten()).view(out, width)
    torch.testing.assert_close(basis.solve(gradient, 0.3), expected)
    damped = dense + 0.3 * torch.eye(out * width, dtype=torch.float64)
    expected = torch.linalg.solve(damped, gradient.flatten()).view(out, width)
    torch.testing.assert_close(basis.solve(gradient, 0.3, relative=False), expected)


@pytest.mark.parametrize("kind", ["kfac", "ekfac"])
def test_where_the_factorisation_is_exact_it_equals_the_dense_inverse(kind):
    """Blocks of two equal tokens: every input a is the same, so F = E[δ δᵀ] ⊗ a aᵀ exactly."""
    model = tiny_model("gpt_neox")
    corpus = random_corpus(blocks=12, length=2)
    corpus.tokens[:, 0] = 7
    curvature = fit(model, corpus, CurvatureConfig(kind=kind, sample_blocks=12), seed=5)
    blocks = list(sampled_gradients(model, corpus, range(12), 5))
    for name, gradient in gradients_like(model).items():
        flat = torch.stack([block[name].flatten() for block in blocks])
        fisher = flat.T @ flat / 12
        damped = fisher + 0.1 * fisher.diagonal().mean() * torch.eye(len(fisher)).double()
        expected = torch.linalg.solve(damped, gradient.flatten()).view_as(gradient)
        found = curvature.solve({name: gradient}, 0.1)[name]
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("length", [6, 12, 20, 32])  # shorter and longer than the weights' sides
def test_ekfac_eigenvalues_are_the_second_moments_in_the_basis(length):
    model, corpus = tiny_model("llama"), random_corpus(length=length, padding=4)
    curvature = fit(model, corpus, CurvatureConfig(sample_blocks=6), seed=2)
    blocks = list(sampled_gradients(model, corpus, range(6), 2))
    count = corpus.has_loss.sum()
    for name, basis in curvature.bases.items():
        rotated = [basis.output_basis.T @ b[name] @ basis.input_basis for b in blocks]
        expected = sum(r.square() for r in rotated) / count
        torch.testing.assert_close(basis.eigenvalues, expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("length", [2, 12])
def test_eigenvalues_token_by_token_are_the_squares_of_each_position_s_part(length):
    """By plain autograd: δ_t is the loss's gradient in the weight's output at t."""
    model, corpus = tiny_model("llama"), random_corpus(blocks=4, length=length)
    config = CurvatureConfig(sample_blocks=4, batch_size=3, eigenvalues="token")
    curvature = fit(model, corpus, config, seed=2)
    whole = fit(model, corpus, CurvatureConfig(sample_blocks=4), seed=2)
    total = dict.fromkeys(curvature.bases, 0)
    for row in range(4):
        for name, (a, d) in parts_of(model, corpus, row, 2).items():
            basis = curvature.bases[name]
            parts = torch.einsum("to,ti->toi", d @ basis.output_basis, a @ basis.input_basis)
            total[name] = total[name] + parts.square().sum(0)
    for name, basis in curvature.bases.items():
        expected = total[name] / corpus.has_loss.sum()
        torch.testing.assert_close(basis.eigenvalues, expected, rtol=1e-8, atol=1e-14)
        if length == 2:  # one position has all of a block's gradient
            torch.testing.assert_close(basis.eigenvalues, whole.bases[name].eigenvalues)


def parts_of(model, corpus, row, seed):
    """Each weight's inputs [T, in] and output gradients [T, out], with the labels of the fit."""
    tracked, seen = find_tracked(model), {}
    handles = [
        w.module.register_forward_hook(
            lambda module, args, output, name=w.name: seen.update({name: (args[0][0], output)})
        )
        for w in tracked
    ]
    logits = forward_logits(model, torch.from_numpy(corpus.tokens[row : row + 1]).long())
    for handle in handles:
        handle.remove()
    uniform = uniform_draws(np.array([row]), corpus.tokens.shape[1], seed)[0]
    labels = inverse_transform(logits.detach()[0].softmax(-1), uniform)[:-1]
    losses = torch.nn.functional.cross_entropy(logits[0, :-1], labels, reduction="none")
    loss = (losses * torch.from_numpy(corpus.has_loss[row, 1:])).sum()
    deltas = torch.autograd.grad(loss, [output for _, output in seen.values()])
    return {
        name: (a.detach(), d[0]) for (name, (a, _)), d in zip(seen.items(), deltas, strict=True)
    }


def test_eigenvalues_of_other_blocks_are_their_moments_in_the_sample_s_basis():
    model, corpus = tiny_model("llama"), random_corpus(blocks=8)
    config = CurvatureConfig(sample_blocks=4, eigenvalue_blocks="other")
    curvature = fit(model, corpus, config, seed=2)
    own = fit(model, corpus, CurvatureConfig(sample_blocks=4), seed=2)
    others = sorted({*range(8)} - {*sample_rows(8, 4, 2).tolist()})
    assert len(others) == 4
    blocks = list(sampled_gradients(model, corpus, others, 2))
    for name, basis in curvature.bases.items():
        assert torch.equal(basis.output_basis, own.bases[name].output_basis)
        rotated = [basis.output_basis.T @ b[name] @ basis.input_basis for b in blocks]
        expected = sum(r.square() for r in rotated) / corpus.has_loss[others].sum()
        torch.testing.assert_close(basis.eigenvalues, expected, rtol=1e-8, atol=1e-14)
    with pytest.raises(InputError, match=r"lower curvature\.sample_blocks to 4 or fewer"):
        fit(model, corpus, CurvatureConfig(sample_blocks=5, eigenvalue_blocks="other"))


def test_factored_damping_equals_the_dense_inverse_of_the_damped_product():
    model, corpus = tiny_model("gpt_neox"), random_corpus(blocks=6)
    curvature = fit(
        model, corpus, CurvatureConfig(kind="kfac", sample_blocks=6, damping="factored")
    )
    plain = fit(model, corpus, CurvatureConfig(kind="kfac", sample_blocks=6))
    gradients, damping = gradients_like(model), 0.07
    for name, gradient in gradients.items():
        output, inner = (
            getattr(curvature.factors[name], f) for f in ("output_factor", "input_factor")
        )
        basis = plain.bases[name]
        whole = basis.output_basis.T @ output @ basis.output_basis  # the factors that K-FAC has
        torch.testing.assert_close(whole, torch.diag(whole.diagonal()), rtol=0, atol=1e-12)
        mu = damping * basis.eigenvalues.mean()
        pi = (inner.diagonal().mean() / output.diagonal().mean()).sqrt()
        eyes = (torch.eye(len(f), dtype=torch.float64) for f in (output, inner))
        S, A = output + mu.sqrt() / pi * next(eyes), inner + pi * mu.sqrt() * next(eyes)
        expected = torch.linalg.solve(torch.kron(S, A), gradient.flatten()).view_as(gradient)
        found = curvature.solve({name: gradient}, damping)[name]
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def symmetric(size, dtype, seed=0, scale=1.0):
    rows = torch.randn(2 * size, size, generator=torch.Generator().manual_seed(seed))
    return scale * (rows.T @ rows).to(dtype)


def test_eigenvectors_of_many_sizes_are_those_of_each():
    factors = [
        symmetric(n, d, k)
        for k, n in enumerate((3, 7, 3, 1, 7))
        for d in (torch.float32, torch.float64)
    ]
    for factor, (values, vectors) in zip(factors, eigenbases(factors), strict=True):
        assert values.dtype == vectors.dtype == factor.dtype
        wide = factor.double()
        expected = torch.linalg.eigvalsh(wide)
        torch.testing.assert_close(values.double(), expected, rtol=1e-5, atol=1e-5)
        product = vectors.double() @ torch.diag(values.double()) @ vectors.double().T
        torch.testing.assert_close(product, wide, rtol=0, atol=1e-5 * expected.max().item())


@pytest.mark.parametrize("threads", [1, 2])
def test_what_float32_gets_wrong_is_done_in_float64(monkeypatch, threads):
    factors = [symmetric(6, torch.float32, k) for k in range(3)]
    sound, asked, real = eigenbases(factors), [], torch.linalg.eigh

    def poor(stack):
        asked.append(stack.dtype)
        values, vectors = real(stack)
        if stack.dtype == torch.float32:
            vectors[1] += 1e-3  # of one of the three
        return values, vectors

    monkeypatch.setattr(torch.linalg, "eigh", poor)
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    again = eigenbases(factors)
    monkeypatch.undo()
    assert torch.get_num_threads() in (before, threads)
    torch.set_num_threads(before)
    assert asked == [torch.float32, torch.float64]
    for (values, vectors), (one, other) in zip(again, sound, strict=True):
        torch.testing.assert_close(values, one, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(vectors.abs(), other.abs(), rtol=1e-3, atol=1e-4)

    def failing(stack):
        if stack.dtype == torch.float32:
            raise torch.linalg.LinAlgError("no convergence")
        return real(stack)

    monkeypatch.setattr(torch.linalg, "eigh", failing)
    for (values, _), (one, _) in zip(eigenbases(factors), sound, strict=True):
        torch.testing.assert_close(values, one, rtol=1e-5, atol=1e-5)


def test_ekfac_is_never_further_from_the_sampled_fisher_than_kfac():
    """Its eigenvalues are the least-squares fit in the basis (George et al. 2018)."""
    model, corpus = tiny_model("llama"), random_corpus(blocks=4)
    blocks = list(sampled_gradients(model, corpus, range(4), 0))
    fits = {
        k: fit(model, corpus, CurvatureConfig(kind=k, sample_blocks=4)) for k in ("kfac", "ekfac")
    }
    name = "model.layers.0.self_attn.k_proj"
    flat = torch.stack([b[name].flatten() for b in blocks])
    fisher = flat.T @ flat / corpus.has_loss.sum()
    distance = {}
    for kind, curvature in fits.items():
        basis = curvature.bases[name]
        full = torch.kron(basis.output_basis, basis.input_basis)
        distance[kind] = (full @ torch.diag(basis.eigenvalues.flatten()) @ full.T - fisher).norm()
    assert distance["ekfac"] < distance["kfac"]


def test_the_dense_fisher_is_the_expectation_over_labels():
    """Against the definition: sum over every label of p(label) g gᵀ, token by token."""
    model = tiny_model("gpt2", n_layer=1, n_embd=4, n_head=1, vocab_size=11)
    corpus = random_corpus(blocks=2, length=4, vocabulary=11, padding=1)
    dense = fit(model, corpus, CurvatureConfig(kind="dense", sample_blocks=2))
    weight = find_tracked(model)[0]
    total = 0
    for row in range(2):
        logits = forward_logits(model, torch.from_numpy(corpus.tokens[row : row + 1]).long())[0]
        for position in np.flatnonzero(corpus.has_loss[row]) - 1:
            log_p = logits[position].log_softmax(-1)
            for label in range(11):
                g = torch.autograd.grad(log_p[label], weight.parameter, retain_graph=True)[0]
                flat = weight.oriented(g).flatten()
                total = total + log_p[label].exp().detach() * torch.outer(flat, flat)
    expected = total / corpus.has_loss.sum()
    torch.testing.assert_close(dense.matrices[weight.name], expected, rtol=1e-8, atol=1e-12)


def test_sampled_labels_follow_the_model():
    torch.manual_seed(0)
    p = torch.randn(9).softmax(-1)
    drawn = inverse_transform(p.expand(40_000, 9), uniform_draws(np.array([3]), 40_000, 0)[0])
    frequency = torch.bincount(drawn, minlength=9) / len(drawn)
    torch.testing.assert_close(frequency, p, atol=0.012, rtol=0)


@settings(max_examples=6, deadline=None)
@given(batch_size=st.integers(1, 7))
def test_factors_do_not_depend_on_the_batch(batch_size):
    model, corpus = tiny_model("qwen2"), random_corpus(blocks=6, padding=7)
    one = fit(model, corpus, CurvatureConfig(sample_blocks=6, batch_size=6)).tensors()
    two = fit(model, corpus, CurvatureConfig(sample_blocks=6, batch_size=batch_size)).tensors()
    for name in one:
        if name.endswith("eigenvalues"):
            torch.testing.assert_close(one[name], two[name], rtol=1e-6, atol=1e-12)


def test_padding_blocks_change_nothing():
    model = tiny_model("llama")
    short, long = random_corpus(blocks=4), random_corpus(blocks=5, padding=12)
    long.tokens[:4], long.document[:4] = short.tokens, short.document
    config = CurvatureConfig(sample_blocks=5)
    one, two = fit(model, short, config).tensors(), fit(model, long, config).tensors()
    for name in one:
        if name.endswith("eigenvalues"):
            torch.testing.assert_close(one[name], two[name], rtol=1e-8, atol=1e-14)


def test_every_kind_survives_storing():
    model = tiny_model("gpt2", n_layer=1, n_embd=4, n_head=1, vocab_size=11)
    corpus = random_corpus(blocks=2, length=4, vocabulary=11)
    gradients = gradients_like(model)
    for kind in ("identity", "kfac", "kfac-factored", "ekfac", "dense"):
        settings = {} if kind == "identity" else {"sample_blocks": 2}
        settings |= {"damping": "factored"} if kind == "kfac-factored" else {}
        curvature = fit(model, corpus, CurvatureConfig(kind=kind.partition("-")[0], **settings))
        again = curvature_from(curvature.kind, curvature.tensors())
        assert again.kind == kind
        for name, solved in curvature.solve(gradients, 0.1).items():
            assert torch.equal(solved, again.solve(gradients, 0.1)[name])
    assert Identity().solve(gradients, 0.1) == gradients


def test_the_sample_is_spread_seeded_and_without_repetition():
    rows = sample_rows(1000, 50, 3)
    assert len(set(rows)) == 50
    assert rows.max() > 800
    assert (rows == sample_rows(1000, 50, 3)).all()
    assert (sample_rows(10, 99, 0) == np.arange(10)).all()


def test_bad_input_is_named():
    model, corpus = tiny_model("llama"), random_corpus()
    with pytest.raises(InputError, match=r"curvature\.sample_blocks"):
        CurvatureConfig(sample_blocks=0)
    with pytest.raises(InputError, match=r"curvature\.damping: 'factored' would be ignored"):
        CurvatureConfig(damping="factored")
    with pytest.raises(InputError, match=r"curvature\.eigenvalues: 'token' would be ignored"):
        CurvatureConfig(kind="kfac", eigenvalues="token")
    large = tiny_model("llama", hidden_size=256, intermediate_size=512)
    with pytest.raises(InputError, match="use ekfac"):
        fit(large, corpus, CurvatureConfig(kind="dense"))
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="is not finite"):
        fit(model, corpus, CurvatureConfig(sample_blocks=2))
    assert VOCABULARY == 61


def test_a_rotation_in_bfloat16_moves_eigenvalues_by_its_rounding_alone():
    model = tiny_model("llama").float()
    corpus = random_corpus(12, 16)
    full, rounded = (
        fit(model, corpus, CurvatureConfig(sample_blocks=12, rotation=rotation), seed=1)
        for rotation in ("full", "bfloat16")
    )
    for name, basis in full.bases.items():
        other = rounded.bases[name]
        torch.testing.assert_close(other.output_basis, basis.output_basis, rtol=0, atol=0)
        assert other.eigenvalues.dtype == torch.float32
        assert not torch.equal(other.eigenvalues, basis.eigenvalues)
        error = (other.eigenvalues - basis.eigenvalues).abs().sum() / basis.eigenvalues.sum()
        assert error < 2**-7  # squares of values rounded to 8 bits
