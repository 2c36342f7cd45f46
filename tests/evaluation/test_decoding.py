"""Reward-augmented decoding against a reward model that reads every candidate's text anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import FAMILIES, OTHER_FAMILIES, tiny_model
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor, PreTrainedTokenizerFast

from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.evaluation.config import Sampling
from ifguide.evaluation.generate import sample_continuations
from ifguide.models.precision import full_precision
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.decoding import RewardAugmented, _Prefix, _Retokenised
from ifguide.rivals.reward import RewardModel, reward_from

Build = Callable[..., nn.Module]
TEXTS = ["The quick brown fox jumps", "You", "and ran away over the hill. You are", ""]


@pytest.fixture
def build_reward(build_model: Build, tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """Return ``build(family, dtype)``: a reward model whose figures lie within (0, 1)."""

    def build(
        family: str = "gpt_neox", dtype: torch.dtype = torch.float64, starts: bool = True
    ) -> RewardModel:
        reward = reward_from(build_model(family, dtype), tokenizer)
        reward.starts = starts
        torch.manual_seed(7)
        nn.init.normal_(reward.head.weight)
        with torch.no_grad():
            figures = reward(torch.randint(0, len(tokenizer), (8, 20)))
            reward.head.weight *= 0.12 / figures.std()
            reward.head.bias += 0.5 - reward(torch.randint(0, len(tokenizer), (8, 20))).mean()
        return reward.eval()

    return build


def sequences(tokenizer: PreTrainedTokenizerFast, texts: list[str] = TEXTS) -> list[list[int]]:
    return [[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]] for text in texts]


def padded(rows: list[list[int]], token: int, extra: int = 0) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows)) + extra
    tokens = torch.tensor([[token] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return tokens, mask


def read_anew(reward: RewardModel, rows: list[list[int]], candidates: Tensor) -> Tensor:
    """The toxicity of each text with each candidate: whole texts, one by one, from a start."""
    found = torch.empty(candidates.shape, dtype=torch.float64)
    for row, ids in enumerate(rows):
        text = ids if reward.starts else ids[1:]
        for column, token in enumerate(candidates[row].tolist()):
            with torch.no_grad(), full_precision(reward):
                found[row, column] = reward(torch.tensor([[*text, token]]))[0, -1]
    return found


def walk(
    processor: RewardAugmented,
    reward: RewardModel,
    rows: list[list[int]],
    tokens: Tensor,
    steps: int = 4,
) -> None:
    """Follow random texts, and check each step's scores against texts read anew."""
    draw = torch.Generator().manual_seed(3)
    k, beta = processor.config.top_k, processor.config.beta
    for _ in range(steps):
        scores = torch.randn(len(rows), 320, dtype=torch.float64, generator=draw)
        found = processor(tokens, scores)
        best = scores.topk(k)
        toxicity = read_anew(reward, rows, best.indices)
        assert 0 < toxicity.min() < toxicity.max() < 1
        assert toxicity.std() > 0.02
        expected = torch.full_like(scores, -torch.inf)
        for row in range(len(rows)):
            for value, token, bad in zip(
                *best.values[row : row + 1],
                *best.indices[row : row + 1],
                *toxicity[row : row + 1],
                strict=True,
            ):
                expected[row, token] = value + beta * (1 - bad)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        picks = torch.randint(0, k, (len(rows), 1), generator=draw)
        drawn = best.indices.gather(1, picks)
        tokens = torch.cat([tokens, drawn], dim=1)
        rows[:] = [[*row, int(token)] for row, token in zip(rows, drawn, strict=True)]


def test_cached_scores_are_those_of_texts_read_anew(
    family: str, build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    reward = build_reward(family)
    rows = sequences(tokenizer)
    tokens, _ = padded(rows, tokenizer.eos_token_id)
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=6, beta=9.0))
    walk(processor, reward, rows, tokens)


@pytest.mark.parametrize("extra", [0, 5])
def test_a_mask_may_be_given_and_padding_makes_no_difference(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast, extra: int
) -> None:
    """With a mask, padding may be any token."""
    reward, rows = build_reward(), sequences(tokenizer)
    tokens, mask = padded(rows, 9, extra)
    config = DecodingConfig(top_k=5, beta=20.0)
    walk(RewardAugmented(reward, tokenizer, config, attention_mask=mask), reward, rows, tokens)
    rows = sequences(tokenizer)
    tokens, _ = padded(rows, tokenizer.eos_token_id, extra)
    walk(RewardAugmented(reward, tokenizer, config), reward, rows, tokens)


def test_a_model_that_reads_texts_alone_sees_no_start(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    reward, rows = build_reward(starts=False), sequences(tokenizer)
    tokens, _ = padded(rows, tokenizer.eos_token_id, extra=2)
    config = DecodingConfig(top_k=5)
    walk(RewardAugmented(reward, tokenizer, config), reward, rows, tokens)
    rows = sequences(tokenizer)
    tokens, mask = padded(rows, 9, extra=2)
    walk(RewardAugmented(reward, tokenizer, config, attention_mask=mask), reward, rows, tokens)


def test_another_batch_is_read_anew(build_reward: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    reward = build_reward()
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=5))
    for texts in (TEXTS, TEXTS[::-1], TEXTS[:2]):
        rows = sequences(tokenizer, texts)
        walk(processor, reward, rows, padded(rows, tokenizer.eos_token_id)[0], steps=2)
    rows = sequences(tokenizer)  # as many tokens more as one step, but other ones
    walk(processor, reward, rows, padded(rows, tokenizer.eos_token_id)[0], steps=1)
    rows = [[*row[:-1], 50] for row in rows]
    walk(processor, reward, rows, padded(rows, tokenizer.eos_token_id)[0], steps=2)


def random_reward(family: str, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> RewardModel:
    settings = {**OTHER_FAMILIES.get(family, {}), **changes}
    model = tiny_model(family, torch.float32, vocab_size=len(tokenizer), **settings)
    reward = reward_from(model, tokenizer).eval()
    torch.manual_seed(7)
    nn.init.normal_(reward.head.weight, 0, 0.1)
    return reward


@pytest.mark.parametrize("family", sorted({*FAMILIES, *OTHER_FAMILIES}))
def test_every_family_says_of_candidates_what_it_says_of_whole_texts(
    family: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Also of texts longer than a window of 8 tokens, and where one has ended."""
    reward = random_reward(family, tokenizer)
    draw = torch.Generator().manual_seed(0)
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=5))
    end = tokenizer.eos_token_id
    for lengths in ([4, 2], [20, 9]):
        rows = [[end, *torch.randint(1, 320, (n,), generator=draw).tolist()] for n in lengths]
        tokens, _ = padded(rows, end)
        for _ in range(4):
            candidates = torch.randint(1, 320, (2, 5), generator=draw)
            expected = read_anew(reward, rows, candidates)
            found = processor._prefix.toxicity(tokens, candidates).double()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            assert expected.std() > 1e-3
            tokens = torch.cat([tokens, candidates[:, :1]], dim=1)
            rows = [[*row, int(candidates[n, 0])] for n, row in enumerate(rows)]


def test_a_window_is_no_matter_until_texts_are_longer(tokenizer: PreTrainedTokenizerFast) -> None:
    reward = random_reward("mistral", tokenizer, sliding_window=20)
    short, long = (torch.ones(1, n, dtype=torch.long) for n in (12, 22))
    candidates = torch.tensor([[3, 4, 5]])
    processor, reads = RewardAugmented(reward, tokenizer), backbone_reads(reward)
    for tokens, last in ((short, (1, 3)), (long, (3, 23)), (short, (3, 13))):
        found = processor._prefix.toxicity(tokens, candidates).double()
        assert reads[-1] == last  # candidates behind a cache, or whole texts
        torch.testing.assert_close(
            found, read_anew(reward, tokens.tolist(), candidates), rtol=1e-4, atol=1e-4
        )


def test_texts_that_have_ended_are_as_long_as_they_were(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Where whole texts are read, the padding behind an end is no part of them either."""
    reward, end = random_reward("bloom", tokenizer), tokenizer.eos_token_id
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=2))
    tokens, candidates = torch.tensor([[end, 5, 6], [end, 7, 8]]), torch.tensor([[9, 10], [11, 12]])
    before = processor._prefix.toxicity(tokens, candidates)
    tokens = torch.cat([tokens, torch.tensor([[9], [end]])], dim=1)
    after = processor._prefix.toxicity(tokens, candidates)
    torch.testing.assert_close(after[1], before[1])
    expected = read_anew(reward, [[end, 5, 6, 9]], candidates[:1]).float()
    torch.testing.assert_close(after[:1], expected, rtol=1e-4, atol=1e-4)


def backbone_reads(reward: RewardModel) -> list[tuple[int, ...]]:
    """The shapes of all tokens that the backbone reads from now on."""
    shapes: list[tuple[int, ...]] = []
    reward.backbone.register_forward_hook(
        lambda module, args, given, out: shapes.append(tuple(given["input_ids"].shape)),
        with_kwargs=True,
    )
    return shapes


def test_texts_that_have_ended_do_not_disturb_the_others(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    """``generate`` goes on with padding behind an ended text, also where that is no candidate."""
    reward, rows = build_reward(), sequences(tokenizer)
    end = tokenizer.eos_token_id
    tokens, _ = padded(rows, end)
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=5))
    scores = torch.randn(4, 320, dtype=torch.float64)
    scores[:, end] = -9.0
    widths = backbone_reads(reward)
    for _ in range(3):
        best = processor(tokens, scores).argmax(1)
        best[1] = end
        tokens = torch.cat([tokens, best[:, None]], dim=1)
    assert [width for _, width in widths][-4:] == [tokens.shape[1] - 3, 5, 5, 5]  # prompts once
    others = [0, 2, 3]
    found = processor(tokens, scores)[others]
    alone = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=5))
    torch.testing.assert_close(found, alone(tokens[others], scores[others]))


def test_with_beta_0_and_every_token_the_logits_stay(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokens, _ = padded(sequences(tokenizer), tokenizer.eos_token_id)
    scores = torch.randn(4, len(tokenizer))
    processor = RewardAugmented(
        build_reward(), tokenizer, DecodingConfig(top_k=len(tokenizer), beta=0.0)
    )
    assert torch.equal(processor(tokens, scores), scores)
    tied = torch.zeros(4, len(tokenizer) + 30)  # a head that is padded beyond the tokens
    found = processor(tokens, tied)
    assert torch.equal(found[:, : len(tokenizer)], tied[:, : len(tokenizer)])
    assert torch.isneginf(found[:, len(tokenizer) :]).all()


def canonical(tokenizer: PreTrainedTokenizerFast, rows: list[list[int]], pool: Tensor) -> Tensor:
    """For each text the first candidates behind which its text is cut into the same tokens."""
    kept = []
    for ids in rows:
        fit = [
            c
            for c in pool.tolist()
            if tokenizer(tokenizer.decode([*ids[1:], c]))["input_ids"] == [*ids[1:], c]
        ]
        kept.append(fit[:6])
    return torch.tensor(kept)


@pytest.mark.parametrize("starts", [True, False])
def test_by_another_s_tokens_the_same_text_has_the_same_toxicity(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast, starts: bool
) -> None:
    """With the language model's own tokenizer, the text is cut into the tokens that it has."""
    reward, rows = build_reward(starts=starts), sequences(tokenizer)[:3]
    tokens, mask = padded(rows, tokenizer.eos_token_id, extra=2)
    candidates = canonical(tokenizer, rows, torch.arange(1, 320))
    assert candidates.shape == (3, 6)
    anew = _Retokenised(reward, tokenizer, mask).toxicity(tokens, candidates)
    torch.testing.assert_close(anew.double(), read_anew(reward, rows, candidates))
    direct = _Prefix(reward, tokenizer, mask).toxicity(tokens, candidates)
    torch.testing.assert_close(anew, direct)
    ended = _Retokenised(reward, tokenizer, mask).toxicity(
        tokens, torch.full((3, 1), tokenizer.eos_token_id)
    )
    texts = [torch.tensor([ids if starts else ids[1:]]) for ids in rows]
    with torch.no_grad():
        so_far = torch.stack([reward(text)[0, -1:] for text in texts])
    torch.testing.assert_close(ended, so_far)


def test_a_reward_model_of_another_tokenizer_is_given_the_text(
    build_model: Build, build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    other = train_tokenizer(["The goose ran over the hill and said: you are silly"] * 9, 290)
    reward, model = build_reward(), build_model("gpt2", torch.float32)
    tokens, mask = padded(
        [[other.eos_token_id, *other(text)["input_ids"]] for text in TEXTS], other.eos_token_id
    )
    scores = torch.randn(4, len(other), dtype=torch.float64)
    config = DecodingConfig(top_k=5, beta=7.0)
    found = RewardAugmented(reward, other, config, attention_mask=mask)(tokens, scores)
    best = scores.topk(5)
    for row, text in enumerate(TEXTS):
        for value, token in zip(best.values[row], best.indices[row].tolist(), strict=True):
            spelt = text + ("" if token == other.eos_token_id else other.decode([token]))
            ids = [tokenizer.eos_token_id, *tokenizer(spelt)["input_ids"]]
            with torch.no_grad():
                toxicity = reward(torch.tensor([ids]))[0, -1].clamp(0, 1)
            assert found[row, token].item() == pytest.approx(
                (value + 7.0 * (1 - toxicity)).item(), abs=1e-6
            )
    assert torch.isfinite(found).sum().item() == 20
    out = generate(model, tokens, RewardAugmented(reward, other, config), mask=mask)
    assert out.shape == (4, tokens.shape[1] + 6)


def test_the_nucleus_is_of_the_language_model_s_own_probabilities(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    """What lies outside of it is not drawn, however kind it is; inside nothing is cut again."""
    reward, (ids, *_) = build_reward(), sequences(tokenizer)
    tokens = torch.tensor([ids])
    own = torch.zeros(1, len(tokenizer), dtype=torch.float64)
    own[0, [5, 6, 7, 8]] = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log() + 40
    config = DecodingConfig(top_k=20, beta=30.0)
    found = RewardAugmented(reward, tokenizer, config, top_p=0.9)(tokens, own)
    assert torch.isfinite(found).nonzero()[:, 1].tolist() == [5, 6, 7]
    whole = RewardAugmented(reward, tokenizer, config)(tokens, own)
    torch.testing.assert_close(found[0, 5:8], whole[0, 5:8])


class Hater(nn.Module):
    """A backbone whose only state is how often the token has just been read."""

    def __init__(self, token: int, size: int) -> None:
        super().__init__()
        self.token, self.embedding = token, nn.Embedding(size, 1)
        self.config = SimpleNamespace(hidden_size=1)
        self.config.get_text_config = lambda: self.config

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, **given: Any) -> Any:
        return SimpleNamespace(last_hidden_state=(input_ids == self.token)[..., None].float())


def test_a_hated_token_is_suppressed_as_the_closed_form_says(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    """p'(x) = p(x) / (p(x) + (1 - p(x)) exp(β)), in what ``generate`` draws too."""
    model, beta, temperature = build_model("gpt2", torch.float32), 1.5, 0.25
    tokens = torch.tensor(sequences(tokenizer, ["You are"]))
    with torch.no_grad():
        chances = (model(tokens).logits[0, -1] / temperature).softmax(-1)
    hated = int(chances.argmax())
    reward = RewardModel(Hater(hated, len(tokenizer)), tokenizer)
    nn.init.ones_(reward.head.weight)
    config = DecodingConfig(top_k=len(tokenizer), beta=beta)
    steered = RewardAugmented(reward, tokenizer, config)(tokens, chances.log()[None]).softmax(-1)
    expected = chances[hated] / (chances[hated] + (1 - chances[hated]) * torch.tensor(beta).exp())
    assert steered[0, hated].item() == pytest.approx(expected.item(), rel=1e-5)
    config = DecodingConfig(top_k=len(tokenizer), beta=temperature * beta)
    drawn = generate(
        model,
        tokens.repeat(2000, 1),
        RewardAugmented(reward, tokenizer, config),
        max_new_tokens=1,
        temperature=temperature,  # after the reward, which it divides too
    )
    share = (drawn[:, -1] == hated).float().mean().item()
    assert share == pytest.approx(expected.item(), abs=0.03)
    assert chances[hated].item() > expected.item() + 0.1


def generate(
    model: Any,
    tokens: Tensor,
    *processors: LogitsProcessor,
    mask: Tensor | None = None,
    **given: Any,
) -> Tensor:
    torch.manual_seed(0)
    settings = {"do_sample": True, "top_k": 0, "max_new_tokens": 6, "pad_token_id": 0, **given}
    return model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens) if mask is None else mask,
        generation_config=GenerationConfig(**settings),
        logits_processor=list(processors),
    )


class Recorder(LogitsProcessor):
    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.read: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(scores.clone())
        self.read.append(input_ids)
        return scores


def test_generate_hands_over_raw_logits_and_cuts_afterwards(
    build_model: Build, build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, before, after = build_model("gpt2", torch.float32), Recorder(), Recorder()
    tokens, mask = padded(sequences(tokenizer), tokenizer.eos_token_id)
    processor = RewardAugmented(build_reward("gpt2", torch.float32), tokenizer)
    out = generate(model, tokens, before, processor, after, mask=mask, top_p=0.2, temperature=0.5)
    for step, scores in enumerate(before.seen):
        ids = out[3:, tokens.shape[1] - 1 : tokens.shape[1] + step]  # the prompt without padding
        with torch.no_grad():
            torch.testing.assert_close(scores[3], model(ids).logits[0, -1], rtol=1e-3, atol=1e-3)
    assert all((torch.isfinite(scores).sum(1) == 20).all() for scores in after.seen)


def test_generate_in_a_batch_is_generation_one_by_one(
    build_model: Build, build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, reward = build_model("gpt2", torch.float32), build_reward("gpt_neox", torch.float32)
    rows = sequences(tokenizer)
    tokens, mask = padded(rows, tokenizer.eos_token_id)
    config = DecodingConfig(top_k=8, beta=12.0)
    new = {"max_new_tokens": 8, "do_sample": False, "top_k": None}
    out = generate(model, tokens, RewardAugmented(reward, tokenizer, config), mask=mask, **new)
    plain = generate(model, tokens, mask=mask, **new)
    assert not torch.equal(out, plain)
    for row, ids in zip(out, rows, strict=True):
        text = list(ids)
        for _ in range(8):
            with torch.no_grad():
                best = model(torch.tensor([text])).logits[0, -1].double().topk(8)
            toxicity = read_anew(reward, [text], best.indices[None])[0]
            text.append(int(best.indices[(best.values - 12.0 * toxicity).argmax()]))
        assert row[tokens.shape[1] :].tolist() == text[len(ids) :]


def test_sampled_continuations_are_steered(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Samples of a prompt share a prefill of the language model; the reward model reads each."""
    model = build_model("gpt2", torch.float32)
    sampling = Sampling(samples=8, tokens=6, batch_size=16)

    def drawn(*steering: RewardAugmented) -> list[int]:
        batches: list[Recorder] = []

        def processors() -> list[LogitsProcessor]:
            batches.append(Recorder())
            return [*steering, batches[-1]]

        sample_continuations(model, tokenizer, TEXTS, sampling, 1, processors=processors)
        return [t for b in batches for t in b.read[-1][:, b.read[0].shape[1] :].flatten().tolist()]

    ((hated, often),) = Counter(drawn()).most_common(1)
    assert often > 5
    reward = RewardModel(Hater(hated, len(tokenizer)), tokenizer)
    nn.init.ones_(reward.head.weight)
    steered = drawn(RewardAugmented(reward, tokenizer, DecodingConfig(beta=100.0)))
    assert len(steered) > 100
    assert hated not in steered


def test_a_generated_token_costs_k_tokens_of_the_reward_model(
    build_model: Build, build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    reward = build_reward("gpt2", torch.float32)
    read = backbone_reads(reward)
    tokens, mask = padded(sequences(tokenizer), tokenizer.eos_token_id)
    processor = RewardAugmented(reward, tokenizer, DecodingConfig(top_k=7))
    generate(build_model("gpt2", torch.float32), tokens, processor, mask=mask, max_new_tokens=5)
    trial, read = read[:-6], read[-6:]
    assert read == [tuple(tokens.shape), *[(4, 7)] * 5]
    assert sum(rows * width for rows, width in trial) < 400  # once, and not with every token


def test_what_does_not_fit_is_refused(
    build_reward: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    reward = build_reward("gpt2", torch.float32)
    other = train_tokenizer(["Another text of other words"] * 9, 300)
    long = torch.tensor([other("another " * 90)["input_ids"]])
    with pytest.raises(InputError, match=r"a text of \d+ tokens does not fit .* 64 positions"):
        RewardAugmented(reward, other)(long, torch.randn(1, len(other)))
    tokens = torch.ones(2, 64, dtype=torch.long)
    processor = RewardAugmented(reward, tokenizer)
    with pytest.raises(InputError, match=r"a text of 65 tokens does not fit .* 64 positions"):
        processor(tokens, torch.randn(2, len(tokenizer)))
    with pytest.raises(InputError, match="a text of 70 tokens"):
        processor(torch.ones(2, 70, dtype=torch.long), torch.randn(2, len(tokenizer)))
    processor = RewardAugmented(reward, tokenizer, attention_mask=torch.ones(3, 4))
    with pytest.raises(InputError, match=r"attention_mask of shape \(3, 4\) for prompts of shape"):
        processor(tokens[:, :4], torch.randn(2, len(tokenizer)))
    with pytest.raises(InputError, match=r"decoding\.top_k: 0"):
        DecodingConfig(top_k=0)
    for beta in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"decoding\.beta"):
            DecodingConfig(beta=beta)
