"""Which completions are paired, and the tokens that a pair becomes."""

import json

import numpy as np
import pytest

from ifguide.corpus.config import Source
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.errors import InputError
from ifguide.training.preference_pairs import (
    PreferencePair,
    pairs_from_samples,
    pairs_from_texts,
    tokenised_pair,
)

PROMPTS = ["You are", "The fox"]
SAMPLES = [[" a", " b", " c", " d"], [" e", " f", " g", " h"]]
TOXICITY = np.array([[0.3, 0.9, 0.1, 0.5], [0.40, 0.5, 0.45, 0.6]])


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["You are a silly goose, said the fox, yours truly."] * 9, 320)


def test_every_two_continuations_that_the_judge_tells_apart_are_a_pair():
    found = pairs_from_samples(PROMPTS, SAMPLES, TOXICITY, margin=0.12)
    expected = {
        PreferencePair(prompt, low, high)
        for prompt, texts, row in zip(PROMPTS, SAMPLES, TOXICITY, strict=True)
        for low, a in zip(texts, row, strict=True)
        for high, b in zip(texts, row, strict=True)
        if b - a >= 0.12
    }
    assert len(found) == len(expected) == 8
    assert set(found) == expected
    assert [pair.prompt for pair in found] == sorted((p.prompt for p in found), reverse=True)


def test_a_limit_takes_of_each_prompt_as_many_as_of_the_others():
    rng = np.random.default_rng(0)
    texts = [[f" {p}-{k}" for k in range(6)] for p in range(20)]
    scores = rng.random((20, 6))
    scores[:3, :] = 0.5  # nothing to tell apart
    scores[3, :] = [0.5, 0.5, 0.5, 0.5, 0.5, 0.9]  # five pairs
    names = [f"{p}" for p in range(20)]
    every = pairs_from_samples(names, texts, scores, 0.2)
    for limit in (10, 17, 60, 100, len(every), 9999):
        found = pairs_from_samples(names, texts, scores, 0.2, limit=limit, seed=3)
        assert len(found) == len(set(found)) == min(limit, len(every))
        assert set(found) <= set(every)
        counts = {p: sum(pair.prompt == p for pair in found) for p in names}
        most = max(counts.values())
        for p, count in counts.items():
            assert count >= min(most - 1, sum(pair.prompt == p for pair in every))
    again = pairs_from_samples(names, texts, scores, 0.2, limit=60, seed=3)
    assert again == pairs_from_samples(names, texts, scores, 0.2, limit=60, seed=3)
    assert again != pairs_from_samples(names, texts, scores, 0.2, limit=60, seed=4)


def test_a_pair_that_was_said_twice_is_learnt_once():
    found = pairs_from_samples(["You"], [[" kind", " kind", " rude"]], np.array([[0.1, 0.1, 0.9]]))
    assert found == [PreferencePair("You", " kind", " rude")]


def test_a_blank_continuation_is_no_answer():
    texts = [[" ", " kind", " rude"]]
    (pair,) = pairs_from_samples(["You"], texts, np.array([[0.0, 0.2, 0.9]]))
    assert (pair.chosen, pair.rejected) == (" kind", " rude")
    assert not pairs_from_samples(["You"], [["", "", " rude"]], np.array([[0.0, 0.2, 0.9]]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"toxicity": TOXICITY[:, :3]}, r"2 prompts with \[4\] continuations have toxicities of"),
        ({"prompts": ["You are"]}, "1 prompts"),
        ({"toxicity": np.where(TOXICITY == 0.9, np.nan, TOXICITY)}, "sample 1 of prompt 0 has"),
        ({"toxicity": TOXICITY + 0.5}, "sample 1 of prompt 0 has toxicity 1.4"),
        ({"margin": 0.0}, r"compare\.margin: 0\.0 is not in"),
        ({"limit": 0}, r"compare\.sampled_pairs: 0 is below 1"),
    ],
)
def test_samples_that_cannot_be_ranked_are_refused(changes, said):
    given = {"prompts": PROMPTS, "continuations": SAMPLES, "toxicity": TOXICITY, **changes}
    with pytest.raises(InputError, match=said):
        pairs_from_samples(**given)


def test_of_paired_texts_the_neutral_one_is_preferred(tmp_path):
    rows = [
        {"id": "a", "toxic": "damn it", "neutral": "oh no", "before": "He said: "},
        {"id": "b", "toxic": "the same", "neutral": "the same", "before": ""},
        {"id": "c", "toxic": "you fool", "neutral": "my friend", "before": "She said: "},
        {"id": "d", "toxic": "rubbish", "neutral": "not good", "before": "It is "},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = Source(path="pairs.jsonl")
    assert pairs_from_texts(source, tmp_path, exclude={"c"}) == [
        PreferencePair("", "oh no", "damn it", whole=True),
        PreferencePair("", "not good", "rubbish", whole=True),
    ]
    (pair,) = pairs_from_texts(
        source, tmp_path, toxic="neutral", neutral="toxic", prompt="before", limit=2
    )
    assert pair == PreferencePair("He said: ", "damn it", "oh no", whole=True)
    with pytest.raises(
        InputError, match=r"with compare\.pairs, whose records have toxic and polite"
    ):
        pairs_from_texts(source, tmp_path, neutral="polite")


def test_a_pair_becomes_the_tokens_that_generation_sees(tokenizer):
    end = tokenizer.eos_token_id
    pair = PreferencePair("You are", " a goose", " silly")
    tokens = tokenised_pair(pair, tokenizer, 50)
    assert tokens["prompt_ids"] == [end, *tokenizer("You are")["input_ids"]]
    assert tokens["chosen_ids"] == tokenizer(" a goose")["input_ids"]
    assert tokenizer.decode(tokens["rejected_ids"]) == " silly"
    whole = tokenised_pair(PreferencePair("", "a goose", "silly", whole=True), tokenizer, 50)
    assert whole["prompt_ids"] == [end]
    assert whole["chosen_ids"] == [*tokenizer("a goose")["input_ids"], end]
    assert whole["rejected_ids"][-1] == end


def test_a_token_across_the_seam_is_cut_there(tokenizer):
    """'you' + 'rs' would be one token; the prompt must be the same on both sides."""
    assert len(tokenizer(" yours")["input_ids"]) < len(tokenizer(" you")["input_ids"]) + 2
    tokens = tokenised_pair(PreferencePair(" you", "rs truly", " are"), tokenizer, 50)
    assert tokens["prompt_ids"][1:] == tokenizer(" you")["input_ids"]
    assert tokenizer.decode(tokens["chosen_ids"]) == "rs truly"


def test_long_pairs_lose_the_prompt_s_beginning_and_then_a_completion_s_end(tokenizer):
    pair = PreferencePair("You are a silly goose", " said the fox", " truly")
    uncut = tokenised_pair(pair, tokenizer, 100)
    longest = len(uncut["chosen_ids"])
    for length in range(2, 12 + longest):
        tokens = tokenised_pair(pair, tokenizer, length)
        for side in ("chosen_ids", "rejected_ids"):
            assert 1 <= len(tokens[side]) <= length - 1
            assert len(tokens["prompt_ids"]) + len(tokens[side]) <= length
            assert tokens[side] == uncut[side][: length - 1]
        kept = min(len(uncut["prompt_ids"]) - 1, max(0, length - 1 - longest))
        end = uncut["prompt_ids"][len(uncut["prompt_ids"]) - kept :]
        assert tokens["prompt_ids"] == [tokenizer.eos_token_id, *end]
