from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from torch import nn
from transformers import GenerationConfig, LogitsProcessor, PreTrainedTokenizerFast

from ifguide.errors import InputError
from ifguide.evaluation.generate import Sampling, derived_seed, sample_continuations

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
    assert len(counts) == 4
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
