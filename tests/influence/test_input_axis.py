"""Position scores at their own token, as the authors read them, against the definition."""

import numpy as np
import pytest
import torch
from tiny import random_corpus, tiny_model

from ifguide.errors import InputError
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction


def test_each_token_gets_what_stood_at_the_token_that_it_predicts():
    model, corpus = tiny_model(), random_corpus(padding=3)
    torch.manual_seed(0)
    along = {w.name: torch.randn(w.matrix.shape).double() for w in find_tracked(model)}
    config = ScoreConfig(engine="position")
    values = np.asarray(score(model, corpus, Direction(along), config).values)
    found = score(model, corpus, Direction(along), ScoreConfig(engine="position", axis="input"))
    for i, j in np.ndindex(*values.shape):
        expected = values[i, j + 1] if j + 1 < values.shape[1] else 0.0
        assert found.values[i, j] == expected
    assert np.abs(values).max() > 0
    assert found.metadata["axis"] == "input"


def test_own_losses_have_no_axis_to_choose():
    with pytest.raises(
        InputError, match=r"scores\.axis: 'input' would be ignored, .* not position"
    ):
        ScoreConfig(engine="jvp", axis="input")
    config = ScoreConfig(engine="position", axis="input")
    assert config.by("jvp").axis == "predicted"
    assert config.by("position") == config
