"""A score engine that another package brings, by an entry point and nothing else."""

import pytest
from micro import write_settings
from outside import install, python

from ifguide.errors import InputError
from ifguide.influence.config import FLOAT32_ONLY, ScoreConfig
from ifguide.influence.engines.difference import DIFFERENCE
from ifguide.influence.engines.jvp import JVP
from ifguide.influence.engines.position import POSITION

THEIRS = """
from ifguide.influence.engines.engine import ScoreEngine


def prepare(model, tracked, direction, blocks, config):
    def engine(tokens, counted):
        assert not model.training
        return tokens.double() * counted + len(tracked) + len(blocks)

    return engine, {"engine": "theirs", "blocks": len(blocks)}


THEIRS = ScoreEngine("theirs", prepare, calibrated=True)
WRONG = prepare
"""
WAYS = {
    "theirs": "their_engines:THEIRS",
    "gone": "their_engines:GONE",
    "wrong": "their_engines:WRONG",
}
SCORED = """
import numpy as np, torch
from tiny import random_corpus, tiny_model
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Direction

model, corpus = tiny_model("llama").train(), random_corpus(padding=5)
tracked = find_tracked(model)
direction = Direction({w.name: torch.ones(w.matrix.shape) for w in tracked}, {"from": "a test"})
made = score(model, corpus, direction, ScoreConfig(engine="theirs", batch_tokens=24))
expected = np.where(corpus.has_loss, corpus.tokens + len(tracked) + 2, 0)
np.testing.assert_array_equal(made.values, expected)
assert made.metadata == {"from": "a test", "engine": "theirs", "blocks": 2}
assert model.training
"""


@pytest.fixture
def folder(tmp_path):
    install(tmp_path, "their_engines", THEIRS, ifguide__engines=WAYS)
    return tmp_path


def test_it_scores_a_corpus_under_its_own_name(folder):
    done = python(folder, SCORED)
    assert done.returncode == 0, done.stderr


def test_the_settings_know_it_without_importing_it(folder):
    file = write_settings(folder, scores__engine="theirs")
    done = python(
        folder,
        "import sys\nfrom pathlib import Path\n"
        "from ifguide.settings.reader import read_config\n"
        f"print(read_config(Path({str(file)!r})).scores.engine, 'their_engines' in sys.modules)",
    )
    assert done.stdout == "theirs False\n", done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('engine="gone"', "scores.engine: the score engine 'gone' is their_engines:GONE, which "),
        (
            'engine="wrong"',
            "scores.engine: the score engine 'wrong' is their_engines:WRONG, which is no "
            "ScoreEngine; mend or remove the package that names it",
        ),
        (
            'engine="theirs", precision="bfloat16"',
            "scores.precision: bfloat16 is not for the engine theirs; leave it out, or",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_named(folder, settings, said):
    line = python(folder, SCORED.replace('engine="theirs"', settings)).stderr.splitlines()[-1]
    assert line.startswith(f"ifguide.errors.InputError: {said}")


def test_a_name_that_nobody_registered_is_refused_with_those_that_are_known():
    with pytest.raises(InputError) as refused:
        ScoreConfig(engine="jpv")
    known = "jvp, difference, position"
    assert str(refused.value) == f"scores.engine: 'jpv' is not known; give one of {known}"


def test_the_settings_know_which_of_ours_work_in_float32_alone():
    alone = [engine.name for engine in (JVP, DIFFERENCE, POSITION) if len(engine.precisions) == 1]
    assert tuple(alone) == FLOAT32_ONLY
