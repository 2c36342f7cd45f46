"""Kept continuations are judged again as a pure function of their tables."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig, Prompts, Sampling
from ifguide.evaluation.evaluate import SAMPLES
from ifguide.evaluation.rejudging import rejudge
from ifguide.evaluation.verdict import verdict

NAMES = ("toxic", "neutral", "non-toxic", "rtp/toxic", "../up", "ünï 🙂", "")


class Lengths:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text) / 100 for text in texts])


def table(*continuations: str, samples: int = 2) -> pa.Table:
    count = len(continuations)
    columns = {
        "prompt_id": [f"p{number // samples}" for number in range(count)],
        "prompt": ["so"] * count,
        "sample": [number % samples for number in range(count)],
        "continuation": continuations,
    }
    return pa.table(columns, schema=SAMPLES)


CONFIG = EvaluationConfig(
    toxic=Prompts(held_out="x"), neutral=Prompts(held_out="x"), sampling=Sampling(samples=2)
)


def test_each_model_set_and_judge_of_any_name_has_its_verdict() -> None:
    tables = {name: table("a", "b" * (n + 2), "c", "d") for n, name in enumerate(NAMES)}
    judges = [Lengths(name) for name in NAMES]
    models = {name: {**tables, name: table("e" * 9, "f", "g", "h")} for name in NAMES}
    result = rejudge(models, judges, CONFIG, seed=3)
    assert tuple(result.models) == NAMES
    for name, model in result.models.items():
        assert tuple(model.judges) == NAMES
        expected = verdict(judges[0], models[name], CONFIG, 3)
        assert all(found == expected for found in model.judges.values())
        assert expected.worst[name] == (0.09, 0.01)


def test_tables_of_another_number_of_samples_are_refused() -> None:
    for wrong in (table("a", "b", "c"), table("a", "b", "c", samples=3)):
        with pytest.raises(InputError, match="of 'm' on 'toxic' do not hold 2 samples a prompt"):
            rejudge({"m": {"toxic": wrong}}, [Lengths("x")], CONFIG, seed=0)
