"""Distances of hidden states against transformers' own hidden states."""

import copy

import numpy as np
import pytest
import torch
from tiny import tiny_model

from ifguide.attacks.activations import apart, last_states
from ifguide.errors import InputError

TEXTS = [[0, 5, 9, 3], [0, 60], [0, 17, 2, 44, 8, 8]]


def test_the_states_are_those_after_each_block(family):
    model = tiny_model(family)
    for text in TEXTS:
        found = last_states(model, torch.tensor(text))
        with torch.no_grad():
            own = model(torch.tensor([text]), output_hidden_states=True).hidden_states
        assert len(found) == len(own) == 3
        for layer in (0, 1):  # transformers gives the last one behind the final norm
            own_state = own[layer][0, -1].double()
            torch.testing.assert_close(found[layer], own_state, rtol=1e-5, atol=1e-6)


def test_the_last_state_is_what_the_final_norm_is_given():
    model = tiny_model("llama")
    found = last_states(model, torch.tensor(TEXTS[0]))
    with torch.no_grad():
        states = model.model(torch.tensor([TEXTS[0]])).last_hidden_state[0, -1]
        torch.testing.assert_close(model.model.norm(found[-1]), states, rtol=1e-5, atol=1e-6)


def test_figures_are_means_over_texts_by_hand():
    first, second = tiny_model(seed=1), tiny_model(seed=2)
    done = []
    found = apart(first, second, TEXTS, done.append)
    for layer in range(3):
        pairs = [
            [last_states(m, torch.tensor(text))[layer].numpy() for m in (first, second)]
            for text in TEXTS
        ]
        cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs]
        distances = [np.sqrt(((b - a) ** 2).sum() / (a**2).sum()) for a, b in pairs]
        assert found.cosine[layer] == pytest.approx(np.mean(cosines))
        assert found.distance[layer] == pytest.approx(np.mean(distances))
    assert sum(done) == 12


def test_a_change_in_one_layer_shows_from_there_on():
    first = tiny_model("llama")
    second = copy.deepcopy(first)
    assert apart(first, second, TEXTS).distance.tolist() == [0, 0, 0]
    with torch.no_grad():
        second.model.layers[1].mlp.down_proj.weight *= 1.5
    found = apart(first, second, TEXTS)
    assert found.distance[:2].tolist() == [0, 0]
    assert found.cosine[:2] == pytest.approx(1)
    assert found.distance[2] > 1e-3
    assert not first.training


def test_what_cannot_be_compared_is_refused():
    model = tiny_model()
    with pytest.raises(InputError, match="activations: there is no text"):
        apart(model, model, [])
    with pytest.raises(InputError, match=r"activations: one model has states of shape \(3, 16\)"):
        apart(model, tiny_model(num_hidden_layers=3), TEXTS)
    broken = tiny_model()
    with torch.no_grad():
        broken.get_input_embeddings().weight[60] = torch.nan
    with pytest.raises(InputError, match="activations: text 1 has states that are 0 or not"):
        apart(model, broken, TEXTS)
