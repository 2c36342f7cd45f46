"""Perplexity and last words through steered decoding, against a slow and plain computation."""

import copy
import math

import numpy as np
import pytest
import torch
from tiny import tiny_model

from ifguide.corpus.blocks import pack
from ifguide.corpus.starts import text_start
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.evaluation.fluency import last_word_figures, last_words, perplexity
from ifguide.nouns import Document
from ifguide.rivals.config import DecodingConfig
from ifguide.rivals.reward import reward_from
from ifguide.rivals.steered import steered_fluency

TEXTS = ["You are a silly goose, said the fox.", "Old folk sold plums.", "A goose and a fox"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 4, 290)


@pytest.fixture(scope="module")
def corpus(tokenizer, tmp_path_factory):
    documents = [Document(str(k), text) for k, text in enumerate(TEXTS)]
    return pack(documents, tokenizer, 11, tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny_model("gpt_neox", vocab_size=len(tokenizer), max_position_embeddings=64)


def reward_of(tokenizer, family="llama", starts=True, positions=64):
    reward = reward_from(
        tiny_model(family, seed=5, vocab_size=len(tokenizer), max_position_embeddings=positions),
        tokenizer,
    )
    reward.starts = starts
    torch.manual_seed(2)
    torch.nn.init.normal_(reward.head.weight, 0, 0.2)
    torch.nn.init.constant_(reward.head.bias, 0.5)
    return reward.eval()


def read_tokens(reward, tokenizer, ids):
    """The tokens that the reward model reads of a text: the language model's, or its own."""
    start = list(text_start(reward.tokenizer)) if reward.starts else []
    if reward.tokenizer.get_vocab() != tokenizer.get_vocab():
        spelt = tokenizer.decode([token for token in ids if token != tokenizer.eos_token_id])
        ids = reward.tokenizer(spelt)["input_ids"]
    if hasattr(reward.backbone.config, "max_position_embeddings"):
        ids = ids[-(reward.backbone.config.max_position_embeddings - len(start)) :]
    return [*start, *ids]


def plain_losses(model, reward, tokenizer, corpus, config):
    """Minus the log of the whole steered distribution, one token after the other."""
    losses = []
    for i, j in np.argwhere(corpus.has_loss):
        ids = torch.as_tensor(np.array(corpus.tokens[i])).long()
        with torch.no_grad():
            logits = model(ids[None]).logits[0, j - 1].double()
        document = np.asarray(corpus.document[i])
        before = ids[:j][torch.as_tensor(document[:j] == document[j])].tolist()
        probability = logits.softmax(0)
        best = logits[: len(tokenizer)].topk(config.top_k)
        rows = [read_tokens(reward, tokenizer, [*before, c]) for c in best.indices.tolist()]
        with torch.no_grad():
            if len({len(row) for row in rows}) == 1:
                toxicity = reward(torch.tensor(rows))[:, -1]
            else:
                toxicity = torch.stack([reward(torch.tensor([row]))[0, -1] for row in rows])
        steered = probability.clone()
        mass = probability[best.indices].sum()
        share = (best.values + config.beta * (1 - toxicity.clamp(0, 1))).softmax(0)
        steered[best.indices] = mass * share
        assert steered.sum().item() == pytest.approx(1)
        losses.append(-steered[ids[j]].log().item())
    return losses


@pytest.mark.parametrize("family", ["llama", "bloom"])  # one shares a cache, one reads whole texts
@pytest.mark.parametrize("starts", [True, False])
def test_perplexity_is_of_the_distribution_that_is_drawn_from(
    model, tokenizer, corpus, family, starts
):
    reward = reward_of(tokenizer, family, starts)
    config = DecodingConfig(top_k=100, beta=4.0)
    found = steered_fluency(model, tokenizer, reward, config, {"text": corpus}, None)
    expected = plain_losses(model, reward, tokenizer, corpus, config)
    assert found.perplexity["text"] == pytest.approx(math.exp(np.mean(expected)), rel=1e-5)
    assert abs(found.perplexity["text"] / perplexity(model, corpus, 4) - 1) > 0.01
    assert found.lambada_accuracy is None


@pytest.mark.parametrize("starts", [True, False])
def test_of_a_text_beyond_its_positions_a_reward_model_reads_the_end(
    model, tokenizer, corpus, starts
):
    """Blocks of 11 tokens, whose documents have more than the 6 that it reads."""
    reward = reward_of(tokenizer, "llama", starts, positions=6)
    config = DecodingConfig(top_k=40, beta=4.0)
    found = steered_fluency(model, tokenizer, reward, config, {"text": corpus}, None)
    expected = plain_losses(model, reward, tokenizer, corpus, config)
    assert found.perplexity["text"] == pytest.approx(math.exp(np.mean(expected)), rel=1e-5)


def test_without_a_preference_it_is_the_model_s_own(model, tokenizer, corpus):
    reward = reward_of(tokenizer)
    texts = ["You are a silly goose", "said the fox"]
    found = steered_fluency(
        model, tokenizer, reward, DecodingConfig(top_k=4, beta=0.0), {"text": corpus}, texts
    )
    assert found.perplexity["text"] == pytest.approx(perplexity(model, corpus, 4), rel=1e-9)
    known = last_word_figures(model, tokenizer, texts, 2)
    assert (found.lambada_accuracy, found.lambada_last_token) == (
        known.accuracy,
        known.last_token_accuracy,
    )


def test_a_last_word_is_known_if_the_steered_choice_is_it(model, tokenizer):
    """A model that says " fox" to one prompt, steered by models that mind it and that do not."""
    model, start = copy.deepcopy(model), list(text_start(tokenizer))
    (fox,) = tokenizer(" fox")["input_ids"]
    ids = torch.tensor([[*start, *tokenizer("You are a")["input_ids"]]])
    with torch.no_grad():
        model.lm_head.weight[fox] = model.base_model(ids).last_hidden_state[0, -1]
        assert model(ids).logits[0, -1].argmax() == fox
    texts, known = ["You are a fox", "Old folk sold fox", "You are a goose"], []
    for sign in (1, -1):
        reward = reward_of(tokenizer)
        with torch.no_grad():  # it parts " fox" from the mean of the others
            best = model(ids).logits[0, -1].topk(5).indices.tolist()
            rows = torch.tensor([[*ids[0].tolist(), c] for c in best])
            state, *others = reward.states(rows)[:, -1]
            along = state - torch.stack(others).mean(0)
            reward.head.weight[0] = sign * 50 * along / (along @ along)
            reward.head.bias[0] = 0.5 - reward.head.weight[0] @ (state - along / 2)
        config = DecodingConfig(top_k=5, beta=1000.0)
        hits = []
        for text in texts:
            ((whole, target),) = last_words(model, tokenizer, [text])
            said = []
            for place in range(target, len(whole)):
                with torch.no_grad():
                    best = model(torch.tensor([whole[:place]])).logits[0, -1].topk(5)
                    toxicity = [
                        reward(torch.tensor([[*whole[:place], c]]))[0, -1].clamp(0, 1)
                        for c in best.indices.tolist()
                    ]
                steered = best.values + 1000.0 * (1 - torch.stack(toxicity))
                said.append(int(best.indices[steered.argmax()]))
            hits.append((said == whole[target:], said[-1] == whole[-1]))
        found = steered_fluency(model, tokenizer, reward, config, {}, texts)
        words, last = zip(*hits, strict=True)
        assert found.lambada_accuracy == pytest.approx(np.mean(words))
        assert found.lambada_last_token == pytest.approx(np.mean(last))
        known.append(hits[0][0])
    assert known == [False, True]


def test_a_reward_model_of_another_tokenizer_steers_by_the_text(model, tokenizer, corpus):
    reward = reward_of(train_tokenizer(["plums and apples in the village"] * 9, 280))
    config = DecodingConfig(top_k=40, beta=5.0)
    found = steered_fluency(model, tokenizer, reward, config, {"text": corpus}, None)
    expected = plain_losses(model, reward, tokenizer, corpus, config)
    assert found.perplexity["text"] == pytest.approx(math.exp(np.mean(expected)), rel=1e-5)
