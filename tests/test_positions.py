"""What a model cannot read is cut, or refused before anything is trained, and never scored."""

import json

import numpy as np
import pytest
from micro import SETTINGS, run, write_settings
from tiny import tiny_model

from ifguide.attacks.lens import logit_lens
from ifguide.errors import InputError
from ifguide.influence.curvature.operators import Identity
from ifguide.influence.direction import aim
from ifguide.models.forward import check_queries_fit
from ifguide.nouns import Contrast, QuerySet
from ifguide.rivals.probe import query_states
from ifguide.run import actions
from ifguide.settings.reader import read_config

LONG = "a b c d e f g h i j " * 12


def side(length):
    weights = np.zeros(length)
    weights[-1] = 1.0
    return QuerySet([np.arange(1, length + 1) % 61, np.array([1, 2, 3])], [weights, weights[-3:]])


def test_queries_beyond_the_positions_are_refused_by_all_that_reads_them(family):
    model = tiny_model(family)  # of 32 positions
    check_queries_fit(model, side(32), side(7))
    contrast = Contrast(side(7), side(33), "")
    said = "queries.max_length: a query has 33 tokens, the model 32 positions; give at most 32"
    for read in (
        lambda: aim(model, contrast, Identity()),
        lambda: query_states(model, contrast),
        lambda: logit_lens(model, contrast.safe),
    ):
        with pytest.raises(InputError) as refused:
            read()
        assert str(refused.value) == said


SHAPES = {
    "gpt2": {"model_type": "gpt2", "n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 64},
    "llama": SETTINGS["model"]["scratch"],
}


@pytest.fixture(params=sorted(SHAPES))
def refused(request, tmp_path):
    """What a run says that trains nothing, by a file of records and the settings that name it."""

    def line(records, **changes):
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / "records.jsonl").write_text(lines)
        model = {"scratch": SHAPES[request.param]}
        file = write_settings(tmp_path, data_dir=str(tmp_path), model=model, **changes)
        with pytest.raises(InputError) as caught:
            actions.run(read_config(file), tmp_path / "out", manner=actions.Manner(quiet=True))
        assert not [*(tmp_path / "out").rglob("*.safetensors")]
        return str(caught.value)

    return line


def test_a_run_refuses_long_queries_before_it_trains(refused):
    records = [{"id": f"a{k}", "toxic": f"{LONG} donkey", "safe": f"{LONG} friend"} for k in (1, 2)]
    source = {"kind": "pairs", "source": {"path": "records.jsonl"}, "max_length": 500}
    said = refused(records, queries=source)
    assert said.startswith("queries.max_length: a query has 1")
    assert said.endswith("the model 64 positions; give at most 64")


def test_a_run_refuses_a_last_word_that_does_not_fit_before_it_trains(refused):
    records = [{"id": "w", "text": "one " + "xq" * 70}]
    said = refused(records, evaluation__lambada={"path": "records.jsonl"})
    assert said.startswith("evaluation.lambada: the last word of text 0 has more tokens than the")


def test_long_prompts_keep_their_end(tmp_path):
    """The whole run goes through with prompts of hundreds of words."""
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"id": "p", "text": LONG}) + "\n")
    prompts = {"source": {"path": "prompts.jsonl"}, "limit": 1}
    file = write_settings(tmp_path, data_dir=str(tmp_path), evaluation__toxic=prompts)
    assert run("evaluate", file, tmp_path / "out") == 0
