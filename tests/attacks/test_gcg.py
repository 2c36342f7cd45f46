"""GCG against finite differences of a relaxed one-hot input, brute force, and generation."""

import itertools

import numpy as np
import pytest
import torch
from tiny import VOCABULARY, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ifguide.attacks.config import GcgConfig
from ifguide.attacks.gcg import find_suffix, gcg
from ifguide.attacks.swaps import draw_swaps, swap_gradient
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.config import Sampling
from ifguide.evaluation.generate import sample_continuations
from ifguide.models.losses import forward_losses
from ifguide.models.precision import full_precision

BEFORE, TARGET = [0, 7, 12], [30, 4]
M = 3


def one_hot_loss(model, onehot, where, tokens):
    """The loss of the last two tokens where the input is relaxed, written out."""
    scale = getattr(model.get_input_embeddings(), "embed_scale", 1.0)
    table = model.get_input_embeddings().weight * scale
    inputs = table[tokens].clone()
    inputs[where] = onehot @ table
    with full_precision(model):
        logits = model(inputs_embeds=inputs[None], use_cache=False).logits[0]
    p = logits.log_softmax(-1)
    return -(p[-3, tokens[-2]] + p[-2, tokens[-1]]) / 2


def test_the_gradient_is_that_of_a_relaxed_one_hot_input(family):
    model = tiny_model(family)
    tokens = torch.tensor([*BEFORE, 9, 9, 41, *TARGET])
    where = slice(3, 6)
    found = swap_gradient(model, tokens, where, 2)
    onehot = torch.eye(VOCABULARY, dtype=torch.float64)[tokens[where]].requires_grad_()
    (expected,) = torch.autograd.grad(one_hot_loss(model, onehot, where, tokens), onehot)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert not found.requires_grad
    step, onehot = 1e-5, onehot.detach()
    for i, v in itertools.product(range(M), (0, 9, 60)):
        moved = [onehot.clone(), onehot.clone()]
        moved[0][i, v] += step
        moved[1][i, v] -= step
        with torch.no_grad():
            plus, minus = (one_hot_loss(model, m, where, tokens) for m in moved)
        assert float(found[i, v]) == pytest.approx(float(plus - minus) / (2 * step), rel=1e-5)
    assert all(p.grad is None for p in model.parameters())


def exact_losses(model, suffixes):
    rows = torch.tensor([[*BEFORE, *suffix, *TARGET] for suffix in suffixes])
    with torch.no_grad():
        return forward_losses(model, rows)[:, -2:].mean(1)


def test_one_token_over_fifty_is_what_brute_force_finds():
    for seed in range(3):
        model = tiny_model("llama", seed=seed, vocab_size=50)
        losses = exact_losses(model, [[v] for v in range(50)])
        config = GcgConfig(steps=5, top_k=50, candidates=50, batch_size=7, stop_early=False)
        found = find_suffix(model, BEFORE, [1], TARGET, config)
        assert found.tokens == (int(losses.argmin()),)
        assert found.losses[-1] == pytest.approx(float(losses.min()), rel=1e-12)
        assert found.losses[0] == pytest.approx(float(losses[1]), rel=1e-12)


def test_two_tokens_end_where_no_swap_helps():
    model = tiny_model("gpt2", vocab_size=50)
    config = GcgConfig(steps=50, top_k=50, candidates=1000, stop_early=False)
    found = find_suffix(model, BEFORE, [1, 2], TARGET, config)
    a, b = found.tokens
    every = [[v, b] for v in range(50)] + [[a, v] for v in range(50)]
    assert float(exact_losses(model, every).min()) == pytest.approx(found.losses[-1], rel=1e-12)
    assert len(found.losses) < 51  # it stopped there
    assert found.losses[-1] == found.losses[-2]


@pytest.mark.parametrize("family_name", ["gpt_neox", "gemma2"])
def test_the_loss_never_rises_and_is_the_suffix_s_own(family_name):
    model = tiny_model(family_name).train()
    config = GcgConfig(steps=12, top_k=8, candidates=6, stop_early=False)
    found = find_suffix(model, BEFORE, [1] * M, TARGET, config, seed=4)
    assert model.training
    model.eval()
    assert len(found.losses) == 13
    assert np.all(np.diff(found.losses) <= 0)
    assert found.losses[-1] < found.losses[0]
    assert found.losses[-1] == pytest.approx(float(exact_losses(model, [found.tokens])[0]))
    assert found.evaluated == (1 + 12 * 6) * (len(BEFORE) + M + len(TARGET))
    model.train()
    assert find_suffix(model, BEFORE, [1] * M, TARGET, config, seed=4) == found
    assert find_suffix(model, BEFORE, [1] * M, TARGET, config, seed=5).losses != found.losses


def test_swaps_are_the_steepest_allowed_ones_and_all_different():
    gradient = torch.tensor([[0.0, -5, -4, -3, -2], [9, 8, 7, 6, 5]])
    suffix = torch.tensor([2, 0])
    allowed = torch.tensor([True, True, True, True, False])
    swapped, every = draw_swaps(gradient, suffix, allowed, 2, 99, torch.Generator())
    assert every
    assert sorted(swapped.tolist()) == [[1, 0], [2, 2], [2, 3], [3, 0]]
    some, every = draw_swaps(gradient, suffix, allowed, 2, 3, torch.Generator())
    assert not every
    assert len({*map(tuple, some.tolist())}) == 3
    none, every = draw_swaps(gradient, suffix, torch.eye(5)[0] > 0, 2, 3, torch.Generator())
    assert none.shape == (0, 2)
    assert every


def test_only_surviving_suffixes_are_kept():
    model = tiny_model("llama", vocab_size=50)
    config = GcgConfig(steps=6, top_k=50, candidates=200, stop_early=False)

    def survives(suffixes):
        return (suffixes % 2 == 1).all(dim=1)

    found = find_suffix(model, BEFORE, [1, 1], TARGET, config, survives=survives)
    assert all(token % 2 for token in found.tokens)
    assert found.losses[-1] < found.losses[0]
    nothing = find_suffix(
        model, BEFORE, [1, 1], TARGET, config, survives=lambda s: (s == 1).all(dim=1)
    )
    assert (nothing.tokens, len(nothing.losses)) == ((1, 1), 2)
    with pytest.raises(InputError, match=r"^gcg.initial: as text it is not cut"):
        find_suffix(model, BEFORE, [1, 2], TARGET, config, survives=survives)


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["the cat sat on the mat and then that cat ate", "you absolute donkey, you!!"]
    return train_tokenizer(texts, 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    return tiny_model("llama", vocab_size=len(tokenizer) + 5, initializer_range=0.5, **ids)


def test_a_found_text_makes_the_model_say_the_target(model, tokenizer):
    config = GcgConfig(suffix_tokens=4, steps=200, top_k=64, candidates=64)
    prompt, target = "the cat sat", " on"
    found = gcg(model, tokenizer, prompt, target, config)
    assert found.succeeded
    assert len(found.tokens) == 4
    assert tokenizer(prompt + found.text)["input_ids"][-4:] == list(found.tokens)
    length = len(tokenizer(target)["input_ids"])
    greedy = Sampling(samples=1, tokens=length, temperature=0.0)
    ((said,),) = sample_continuations(model, tokenizer, [prompt + found.text], greedy, 0)
    assert said == target


@pytest.mark.parametrize("steps", [1, 200])
def test_success_is_what_greedy_generation_says(steps, model, tokenizer):
    config = GcgConfig(suffix_tokens=4, steps=steps, candidates=64, top_k=64)
    seen = set()
    for target in (" on", " cat"):
        greedy = Sampling(samples=1, tokens=len(tokenizer(target)["input_ids"]), temperature=0.0)
        found = gcg(model, tokenizer, "the cat sat", target, config)
        (said,) = sample_continuations(model, tokenizer, ["the cat sat" + found.text], greedy, 0)
        assert found.succeeded == (said == [target])
        assert found.first_success == (len(found.losses) - 1 if found.succeeded else None)
        seen.add(found.succeeded)
    assert (steps > 1) in seen


def test_a_prompt_that_is_too_long_keeps_its_end(model, tokenizer):
    config = GcgConfig(suffix_tokens=4, steps=3, candidates=8, top_k=8)
    prompt = "the cat sat on the mat and then that cat ate " * 4
    found = gcg(model, tokenizer, prompt, " you", config)
    rows = 1 + 8 * (len(found.losses) - 1)
    assert found.evaluated <= rows * 32  # the model's positions
    assert found.evaluated > rows * 24 - 8 * 24 * 3
    with pytest.raises(InputError, match=r"^gcg.suffix_tokens: suffix and target have 4\d tokens"):
        gcg(model, tokenizer, prompt, " you", GcgConfig(suffix_tokens=40))


def test_special_tokens_and_rows_beyond_the_tokenizer_are_never_put_in(model, tokenizer):
    config = GcgConfig(
        suffix_tokens=2, steps=4, top_k=400, candidates=800, round_trip=False, stop_early=False
    )
    with torch.no_grad():  # make them attractive
        original = model.model.embed_tokens.weight.clone()
    found = gcg(model, tokenizer, "the", " cat", config)
    assert all(0 < token < len(tokenizer) for token in found.tokens)
    assert torch.equal(original, model.model.embed_tokens.weight)


def test_a_suffix_that_is_cut_otherwise_as_text_is_refused(model):
    words = Tokenizer(models.WordLevel({"<e>": 0, "a": 1, "b": 2, "!": 3}, unk_token="<e>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.decoder = decoders.Fuse()  # joins words without spaces: "aa" is no word
    joined = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<e>")
    with pytest.raises(InputError, match=r"^gcg.initial: as text it is not cut"):
        gcg(model, joined, "a", "b", GcgConfig(suffix_tokens=3, initial="a "))
    assert gcg(
        model, joined, "a", "b", GcgConfig(suffix_tokens=3, initial="a ", round_trip=False, steps=1)
    ).losses


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "gcg.steps: 0 is not in [1, 2147483647]; give e.g. 50"),
        ({"suffix_tokens": 0}, "gcg.suffix_tokens: 0 is not in [1, 2147483647]; give e.g. 10"),
        ({"batch_size": -1}, "gcg.batch_size: -1 is not in [1, 2147483647]; give e.g. 128"),
        ({"initial": ""}, "gcg.initial: it is empty; give a text, e.g. ' !'"),
    ],
)
def test_nonsense_is_refused(settings, said):
    with pytest.raises(InputError) as refused:
        GcgConfig(**settings)
    assert str(refused.value) == said


def test_no_target_and_losses_that_are_not_finite_are_refused(model, tokenizer):
    with pytest.raises(InputError, match=r"^gcg: the target has no token"):
        gcg(model, tokenizer, "the", "")
    broken = tiny_model("gpt2")
    with torch.no_grad():
        broken.lm_head.weight[3] = float("nan")
    with pytest.raises(InputError, match=r"^gcg: a loss of the target is not finite"):
        find_suffix(broken, BEFORE, [1], TARGET, GcgConfig())
