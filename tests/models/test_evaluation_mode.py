"""A verb that fails leaves the model in the mode that it found it in."""

import numpy as np
import pytest
import torch
from tiny import VOCABULARY, random_corpus, tiny_model

from ifguide.influence.curvature.fit import fit
from ifguide.influence.curvature.operators import Identity
from ifguide.influence.direction import aim, query_loss
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Contrast, Direction, QuerySet
from ifguide.rivals.probe import probe
from ifguide.rivals.token_loss import token_loss

TOO_LARGE = random_corpus(vocabulary=VOCABULARY + 50)  # which no embedding has
QUERIES = QuerySet([np.array([0, VOCABULARY + 9, 3])], [np.array([0.0, 1.0, 0.0])])
CONTRAST = Contrast(QUERIES, QuerySet([], []), "")


def along_ones(model):
    return Direction({w.name: torch.ones(w.matrix.shape) for w in find_tracked(model)})


VERBS = {
    "fit": lambda model: fit(model, TOO_LARGE),
    "aim": lambda model: aim(model, CONTRAST, Identity()),
    "query_loss": lambda model: query_loss(model, QUERIES),
    "score": lambda model: score(model, TOO_LARGE, along_ones(model)),
    "token_loss": lambda model: token_loss(model, TOO_LARGE),
    "probe": lambda model: probe(model, TOO_LARGE, CONTRAST),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("training", [True, False])
def test_a_failure_leaves_the_mode_as_it_was(verb, training):
    model = tiny_model("gpt2", torch.float32).train(training)
    with pytest.raises(IndexError):
        VERBS[verb](model)
    assert model.training is training
