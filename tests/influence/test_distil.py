"""The distilled scorer: the model's own first blocks, what it learns, and what it is known by."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model
from transformers import AutoModelForTokenClassification

from ifguide.errors import InputError
from ifguide.influence.config import DistilConfig
from ifguide.influence.distil import (
    SCORER,
    distil,
    first_blocks,
    load_scorer,
    recall,
    save_scorer,
    score_by,
)
from ifguide.nouns import TokenScores

VOCABULARY = 40


def a_model(family="llama", **changes):
    return tiny_model(family, torch.float32, vocab_size=VOCABULARY, **changes)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2", "qwen2", "phi", "mistral"])
@pytest.mark.parametrize("layers", [1, 2])
def test_it_begins_as_the_model_s_first_blocks(family, layers):
    model = a_model(family)
    made = first_blocks(model, layers).eval()
    tokens = torch.arange(12).reshape(2, 6) + 1
    inner = getattr(made, made.base_model_prefix)
    with torch.no_grad():
        mine = inner(input_ids=tokens, output_hidden_states=True).hidden_states
        theirs = model(input_ids=tokens, output_hidden_states=True).hidden_states
    for number in range(layers):  # what each block is given
        assert torch.equal(mine[number], theirs[number])
    assert len(mine) == layers + 1
    assert made(input_ids=tokens).logits.shape == (2, 6, 1)


def of_tokens(corpus, seed=0):
    """Scores that a table of the tokens decides, with heavy tails; some tokens are not learnt."""
    table = np.random.default_rng(seed).standard_cauchy(VOCABULARY)
    values = table[corpus.tokens] * corpus.has_loss
    return TokenScores(values, corpus)


@pytest.fixture(scope="module")
def learnt():
    corpus = random_corpus(60, 12, vocabulary=VOCABULARY, padding=5)
    scores = of_tokens(corpus)
    config = DistilConfig(layers=1, epochs=12, learning_rate=1e-2)
    model = a_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ticks = []
    scorer, likeness = distil(model, scores, config, progress=ticks.append)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert sum(ticks) == 12 * 54 * 12
    return corpus, scores, scorer, likeness


def test_it_learns_the_scores_and_says_how_well(learnt):
    corpus, _, scorer, likeness = learnt
    other = random_corpus(20, 12, seed=5, vocabulary=VOCABULARY)
    found = score_by(scorer, other, 50).values[other.has_loss]
    true = of_tokens(other).values[other.has_loss]
    assert np.corrcoef(np.argsort(np.argsort(found)), np.argsort(np.argsort(true)))[0, 1] > 0.9
    assert likeness.spearman > 0.9
    assert recall(found, true, 0.2) > 0.6
    assert 0 <= likeness.top <= 1
    assert 0 < likeness.passes < 1
    assert 6 * 6 <= likeness.tokens <= 6 * 11
    values = score_by(scorer, corpus, 50).values
    assert not values[~corpus.has_loss].any()


def test_a_score_rests_on_no_later_token(learnt):
    scorer = learnt[2]
    tokens = torch.arange(10)[None] + 1
    changed = tokens.clone()
    changed[0, 6:] = 30
    assert torch.equal(scorer(tokens)[0, :6], scorer(changed)[0, :6])


def test_it_is_an_ordinary_checkpoint(learnt, tmp_path):
    corpus, _, scorer, _ = learnt
    save_scorer(tmp_path, scorer, {"run": "a run"})
    found = score_by(load_scorer(tmp_path, "--scorer"), corpus, 1000).values
    assert np.array_equal(found, score_by(scorer, corpus, 1000).values)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    scale = json.loads((tmp_path / SCORER).read_text())["scale"]
    with torch.no_grad():
        numbers = plain(torch.as_tensor(corpus.tokens[:2]).long()).logits[..., 0].double()
    expected = (scale * torch.sinh(numbers)).numpy() * corpus.has_loss[:2]
    assert found[:2] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_recall_counts_the_highest():
    true = np.arange(1000.0)
    assert recall(true, true, 0.01) == 1.0
    assert recall(-true, true, 0.01) == 0.0
    half = true.copy()
    half[990:995] = -1.0
    assert recall(half, true, 0.01) == 0.5


def test_what_cannot_be_learnt_is_refused(tmp_path):
    corpus = random_corpus(4, 12, vocabulary=VOCABULARY)
    config = DistilConfig(layers=1)
    nothing = TokenScores(np.zeros(corpus.tokens.shape), corpus)
    with pytest.raises(InputError, match="every score is 0"):
        distil(a_model(), nothing, config)
    with pytest.raises(InputError, match="--layers: 9, but the model has 2 blocks"):
        distil(a_model(), of_tokens(corpus), replace(config, layers=9))
    with pytest.raises(InputError, match="no model for token classification"):
        first_blocks(a_model("olmo"), 1)
    with pytest.raises(InputError, match="is no scorer; give a folder of ifguide distil"):
        load_scorer(tmp_path, "--scorer")
