"""The authors' reading of position scores, against the definition."""

import numpy as np
from tiny import random_corpus

from ifguide.nouns import TokenScores
from ifguide.rivals.input_axis import on_input_axis


def test_each_token_gets_what_stood_at_the_token_that_it_predicts():
    corpus = random_corpus()
    values = np.random.default_rng(0).normal(size=corpus.tokens.shape)
    found = on_input_axis(TokenScores(values, corpus, {"engine": "position"}))
    for i, j in np.ndindex(*values.shape):
        expected = values[i, j + 1] if j + 1 < values.shape[1] else 0.0
        assert found.values[i, j] == expected
    assert found.metadata == {"engine": "position", "axis": "input"}
