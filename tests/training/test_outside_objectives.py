"""An objective that needs logits, brought by another package through an entry point alone."""

import pytest
from micro import write_settings
from outside import install, python

from ifguide.training.config import OBJECTIVES

THEIRS = """
from ifguide.training.objectives import SuppressionTerm


def entropy(losses, logits, tokens, objective):
    # -λ H(p): a selected token's prediction is flattened, whichever token it is
    assert logits.shape[:2] == losses.shape == tokens.shape
    logs = logits.log_softmax(-1)
    return objective.weight * (logs.exp() * logs).sum(-1)


ENTROPY = SuppressionTerm(entropy, needs_logits=True)
"""
LOSS = """
import torch
from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss

generator = torch.Generator().manual_seed(0)
logits = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
tokens = torch.randint(7, (2, 5), generator=generator)
suppress, has_loss = torch.zeros(2, 5).bool(), torch.ones(2, 5).bool()
suppress[0, 2] = suppress[1, 4] = True
found = suppression_loss(logits, tokens, suppress, has_loss, Objective(kind="entropy", weight=0.5))
p = logits.softmax(-1)
total = 0.0
for i in range(2):
    for t in range(1, 5):
        q = p[i, t - 1]  # which predicts token t
        total += 0.5 * (q * q.log()).sum() if suppress[i, t] else -q[tokens[i, t]].log()
torch.testing.assert_close(found, total / 8, rtol=1e-12, atol=0)
"""
TRAINED = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
from tiny import random_corpus, tiny_model
from ifguide.nouns import Selection
from ifguide.settings.reader import read_config
from ifguide.training.config import Objective
from ifguide.training.train import train

training = read_config(Path("run.yaml")).training
assert training.objective.kind == "entropy"
assert "their_objective" not in sys.modules  # the settings know it without importing it
corpus = random_corpus()
suppress, nothing = np.random.default_rng(1).random(corpus.tokens.shape) < 0.2, np.zeros(0)
selection = Selection(suppress, 0.0, int(suppress.sum()), nothing.astype(int), nothing, corpus)
mask = torch.from_numpy(selection.suppress[:, 1:])


def entropy_after(objective):
    config = replace(training, objective=objective)
    model = tiny_model("llama", torch.float32)
    train(model, corpus, selection, config, folder=Path(objective.kind))
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(corpus.tokens).long()).logits[:, :-1][mask]
    return torch.distributions.Categorical(logits=logits).entropy().mean().item()


theirs, ours = entropy_after(training.objective), entropy_after(Objective(kind="masking"))
assert theirs > ours + 1, (theirs, ours)
"""


@pytest.fixture
def folder(tmp_path):
    points = {"entropy": "their_objective:ENTROPY"}
    install(tmp_path, "their_objective", THEIRS, ifguide__objectives=points)
    return tmp_path


def test_its_loss_is_its_formula_on_the_logits_that_predict_each_token(folder):
    done = python(folder, LOSS)
    assert done.returncode == 0, done.stderr


def test_a_yaml_that_names_it_trains_a_model_with_it(folder):
    training = {"epochs": 20.0, "batch_size": 2, "learning_rate": 3e-2}
    write_settings(folder, training={**training, "objective": {"kind": "entropy"}})
    done = python(folder, TRAINED)
    assert done.returncode == 0, done.stderr


def test_ours_are_given_no_logits():
    for name in OBJECTIVES.names():
        assert not OBJECTIVES.get(name, "a test").needs_logits
