from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny import tiny_model
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    LogitsProcessor,
    PreTrainedTokenizerFast,
)

from ifguide.errors import InputError
from ifguide.evaluation import generate as module
from ifguide.evaluation.config import Sampling
from ifguide.evaluation.generate import derived_seed, sample_continuations

PROMPTS = [
    "The quick brown fox jumps over the lazy dog near",
    "You",
    "",
    "Numbers 123, naïve café,",
    "and ran away over",
]
Build = Callable[..., nn.Module]


def greedy(tokens: int = 12, batch_size: int = 200) -> Sampling:
    return Sampling(samples=1, tokens=tokens, temperature=0.0, batch_size=batch_size)


def by_hand(model: nn.Module, tokenizer: PreTrainedTokenizerFast, prompt: str, tokens: int) -> str:
    """Decode one prompt greedily by whole forward passes: no padding, no cache."""
    ids = [tokenizer.eos_token_id, *tokenizer(prompt)["input_ids"]]
    found: list[int] = []
    for _ in range(tokens):
        with torch.no_grad():
            likeliest = int(model(torch.tensor([ids + found])).logits[0, -1].argmax())
        if likeliest == tokenizer.eos_token_id:
            break
        found.append(likeliest)
    return tokenizer.decode(found)


def test_greedy_in_a_batch_is_greedy_one_by_one(
    family: str, build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model(family, torch.float32)
    found = sample_continuations(model, tokenizer, PROMPTS, greedy(), seed=0)
    expected = [[by_hand(model, tokenizer, prompt, 12)] for prompt in PROMPTS]
    assert found == expected
    assert len({text for (text,) in found}) == len(PROMPTS)  # the model does react to its prompt
    assert found == sample_continuations(model, tokenizer, PROMPTS, greedy(batch_size=2), seed=5)


SIZES = {  # of families that padding on the left disturbs
    "bart": {
        "d_model": 16,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 32,
    },
    "marian": {"d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 2},
}


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("family", SIZES)
def test_a_family_that_minds_padding_gets_none(
    family: str, samples: int, tokenizer: PreTrainedTokenizerFast, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        **SIZES[family],
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        pad_token_id=0,
    )
    config.init_std = config.initializer_range = 0.5
    model = AutoModelForCausalLM.from_config(config).eval()
    sampling = replace(greedy(), samples=samples)
    found = sample_continuations(model, tokenizer, PROMPTS, sampling, seed=0)
    assert found == [[by_hand(model, tokenizer, prompt, 12)] * samples for prompt in PROMPTS]
    assert "minds padding" in caplog.text


def test_sampling_is_repeatable_and_leaves_the_random_state(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model()
    sampling = Sampling(samples=4, tokens=6, batch_size=7)
    torch.manual_seed(11)
    first = sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1)
    after = torch.rand(1)
    torch.manual_seed(12)
    assert sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1) == first
    assert sample_continuations(model, tokenizer, PROMPTS, sampling, seed=2) != first
    torch.manual_seed(11)
    assert torch.equal(after, torch.rand(1))
    assert [len(texts) for texts in first] == [4] * len(PROMPTS)
    assert len({text for texts in first for text in texts}) > 15  # batches draw differently


def test_nucleus_and_temperature(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    """The frequency of a first token is its probability in the renormalised nucleus."""
    model, prompt = build_model(), "You are"
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(prompt)["input_ids"]]])
    with torch.no_grad():
        chances = (model(ids).logits[0, -1] / 2.0).softmax(-1)
    ordered, token = chances.sort(descending=True)
    nucleus = int((ordered.cumsum(0) < 0.6).sum()) + 1
    share = ordered[:nucleus] / ordered[:nucleus].sum()
    expected: dict[str, float] = defaultdict(float)  # by text: many tokens are halves of letters
    for number, chance in zip(token[:nucleus].tolist(), share.tolist(), strict=True):
        expected[tokenizer.decode([number], skip_special_tokens=True)] += chance
    sampling = Sampling(samples=2000, tokens=1, top_p=0.6, temperature=2.0, batch_size=500)
    (found,) = sample_continuations(model, tokenizer, [prompt], sampling, seed=3)
    assert set(found) <= set(expected)
    for text, chance in expected.items():
        assert found.count(text) / len(found) == pytest.approx(chance, abs=0.04)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every sample pass over its prompt itself."""
    monkeypatch.setattr(module, "prefilled", lambda model, heads: None)


def counted(model: nn.Module) -> list[int]:
    """Return a list that will hold the number of tokens of every forward pass."""
    sizes: list[int] = []

    def count(module: nn.Module, given: tuple, settings: dict) -> None:
        sizes.append(settings["input_ids"].numel())

    model.register_forward_pre_hook(count, with_kwargs=True)
    return sizes


def test_a_shared_pass_changes_no_sample(
    family: str,
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, sampling = build_model(family), Sampling(samples=4, tokens=8, batch_size=8)
    sizes = counted(model)
    shared = sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1)
    fewer = sum(sizes)
    sizes.clear()
    alone(monkeypatch)
    assert sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1) == shared
    assert fewer < 0.7 * sum(sizes)
    assert len({text for texts in shared for text in texts}) > 15


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text"])
def test_a_shared_pass_over_sliding_windows(
    family: str, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(
        family, vocab_size=len(tokenizer), sliding_window=4, max_position_embeddings=64
    )
    ids = tokenizer(PROMPTS[0])["input_ids"]
    near, far = torch.tensor([ids]), torch.tensor([[ids[0] + 1, *ids[1:]]])
    assert len(ids) > 8
    if family == "mistral":  # the windows are there: two layers see 2 x 3 tokens back
        assert torch.equal(model(near).logits[0, -1], model(far).logits[0, -1])
    sampling = Sampling(samples=5, tokens=9, batch_size=10)
    shared = sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1)
    alone(monkeypatch)
    assert sample_continuations(model, tokenizer, PROMPTS, sampling, seed=1) == shared


@pytest.mark.parametrize("batch_size", [4, 6, 100])
def test_each_prompt_is_passed_once(
    batch_size: int, build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    """All tokens but the last once a prompt, then one token a step of each sample."""
    model = build_model("llama")
    prompts = ["over the hill"] * 2
    sizes = counted(model)
    sampling = Sampling(samples=6, tokens=5, batch_size=batch_size)
    counts: list[int] = []
    sample_continuations(model, tokenizer, prompts, sampling, 0, counts.append)
    length = len(tokenizer(prompts[0])["input_ids"])  # the start token before them comes on top
    assert sum(counts) == 2 * 6 * 5  # none ended early
    assert sum(sizes) == 2 * length + sum(counts)
    assert len(counts) == {4: 4, 6: 2, 100: 1}[batch_size]


@pytest.mark.parametrize("family", ["mamba", "falcon_h1"])
def test_recurrent_models_pass_over_the_prompt_for_each_sample(
    family: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    small = {
        "mamba": {"num_hidden_layers": 2, "hidden_size": 16, "state_size": 4},
        "falcon_h1": {
            "num_hidden_layers": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "mamba_d_ssm": 16,
            "mamba_n_heads": 2,
            "mamba_d_head": 8,
            "mamba_n_groups": 1,
            "mamba_d_state": 4,
        },
    }
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer), initializer_range=0.4, **small[family]
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    prompt = PROMPTS[0]
    sampling = Sampling(samples=3, tokens=6, temperature=0.0)
    found = sample_continuations(model, tokenizer, [prompt], sampling, seed=0)
    assert found == [[by_hand(model, tokenizer, prompt, 6)] * 3]


class Shifted(LogitsProcessor):
    """Adds to each logit, and keeps what it was given."""

    def __init__(self, shift: torch.Tensor) -> None:
        self.shift = shift
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.seen.append((input_ids, scores))
        return scores + self.shift


def test_processors_come_before_temperature_and_nucleus(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The frequencies are those of the nucleus of (logits + shift) / temperature."""
    model, prompt = build_model(), "You are"
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(prompt)["input_ids"]]])
    shift = torch.randn(len(tokenizer), generator=torch.Generator().manual_seed(1)) * 4
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    chances = ((logits + shift) / 2.0).softmax(-1)
    ordered, token = chances.sort(descending=True)
    nucleus = token[: int((ordered.cumsum(0) < 0.5).sum()) + 1]
    share = chances[nucleus] / chances[nucleus].sum()
    expected: dict[str, float] = defaultdict(float)
    for number, chance in zip(nucleus.tolist(), share.tolist(), strict=True):
        expected[tokenizer.decode([number], skip_special_tokens=True)] += chance
    made: list[Shifted] = []

    def processors() -> list[Shifted]:
        made.append(Shifted(shift))
        return made[-1:]

    sampling = Sampling(samples=2000, tokens=1, top_p=0.5, temperature=2.0, batch_size=500)
    found = sample_continuations(
        model, tokenizer, [prompt], sampling, seed=3, processors=processors
    )[0]
    assert set(found) <= set(expected)
    for text, chance in expected.items():
        assert found.count(text) / len(found) == pytest.approx(chance, abs=0.04)
    assert len(made) == 4  # one for each batch
    tokens, scores = made[0].seen[0]
    assert torch.equal(tokens[0], ids[0])
    torch.testing.assert_close(scores[0], logits)


def test_checkpoint_settings_do_not_leak_in(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model()
    expected = sample_continuations(model, tokenizer, PROMPTS, greedy(), seed=0)
    theirs = GenerationConfig(repetition_penalty=5.0, min_new_tokens=9, do_sample=True, top_k=2)
    model.generation_config = theirs
    model.train()
    assert sample_continuations(model, tokenizer, PROMPTS, greedy(), seed=0) == expected
    assert model.generation_config is theirs
    assert model.training


def test_long_prompts_keep_their_end(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = build_model("gpt_neox")
    tail = "x y z " * 40  # every token of it repeats, so whole tokens are cut off in front
    ids = tokenizer(tail)["input_ids"][-(64 - 12 - 1) :]
    found = sample_continuations(model, tokenizer, [tail], greedy(), seed=0)
    assert found == [[by_hand(model, tokenizer, tokenizer.decode(ids), 12)]]


def test_a_space_that_the_tokenizer_drops_at_a_start_is_kept(build_model: Build) -> None:
    """Llama's kind of tokenizer decodes a sequence without its first space."""
    words = Tokenizer(WordLevel({"<s>": 0, "</s>": 1, "▁you": 2, "▁goose": 3}, unk_token="<s>"))
    words.pre_tokenizer = Metaspace()
    words.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", bos_token="<s>")
    assert tokenizer.decode([3]) == "goose"
    model = build_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
        model.lm_head.weight[3] = 1.0  # always "▁goose"
    found = sample_continuations(model, tokenizer, ["you", ""], greedy(tokens=2), seed=0)
    assert found == [[" goose goose"], ["goose goose"]]


def test_progress_counts_tokens(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    counts: list[int] = []
    sampling = Sampling(samples=3, tokens=5, batch_size=4)
    sample_continuations(build_model(), tokenizer, PROMPTS, sampling, 0, counts.append)
    assert len(counts) == 5
    assert 0 < sum(counts) <= 3 * 5 * len(PROMPTS)


def test_no_prompts(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    assert sample_continuations(build_model(), tokenizer, [], greedy(), seed=0) == []


def test_too_many_tokens(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"64 positions; ask for at most 62"):
        sample_continuations(build_model(), tokenizer, ["a"], greedy(tokens=63), seed=0)
    sample_continuations(build_model(), tokenizer, ["a"], greedy(tokens=62), seed=0)


def test_tokenizer_without_end_of_text(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(InputError, match="no end-of-text token"):
        sample_continuations(build_model(), bare, ["a"], greedy(), seed=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"samples": 0},
        {"tokens": 0},
        {"batch_size": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"temperature": -1.0},
        {"temperature": float("nan")},
    ],
)
def test_sampling_is_checked(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"evaluation\.sampling\.{next(iter(setting))}: "):
        Sampling(**setting)  # type: ignore[arg-type]


def test_derived_seeds_differ_and_stay() -> None:
    assert derived_seed(0, "toxic") == 8936691471699192394
    seeds = {derived_seed(*parts) for parts in ((0, 1), (1, 0), (0, "a"), (1,), ("01",))}
    assert len(seeds) == 5
