import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from micro import settings

from ifguide.corpus.config import Source
from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig, HeldOutText, Prompts
from ifguide.evaluation.prompts import Prompt, held_out_documents, lambada_texts, prompts_of
from ifguide.nouns import Document
from ifguide.settings.reader import read_config

POSTS = [
    Document("a", "I think that you are a fool indeed", ((13, 29),), "posts", "insult"),
    Document("b", "Nothing is wrong with this long sentence of ten words", (), "posts", "everyday"),
    Document("c", "Fool, I say, and I mean it", ((0, 4),), "posts", "insult"),
    Document(
        "d", "They, people like you, never learn a thing", ((30, 36), (6, 21)), "posts", "sly"
    ),
    Document("e", "   so   it\ngoes on ", (), "posts", "everyday"),
]
HELD_OUT = {"posts": POSTS, "other": [Document("z", "another source altogether", (), "other")]}


def made(tmp_path: Path = Path(), *, seed: int = 0, **settings: Any) -> dict[str, str]:
    wanted = Prompts(**{"held_out": "posts", "min_words": 1, **settings})
    found = prompts_of(wanted, HELD_OUT, tmp_path, seed)
    return {prompt.id: prompt.text for prompt in found}


def test_whole_texts_are_stripped() -> None:
    assert made() == {d.id: d.text.strip() for d in POSTS}


def test_cut_before_the_first_span() -> None:
    assert made(cut="before_span") == {"a": "I think that", "d": "They,"}
    assert made(cut="before_span", min_words=3) == {"a": "I think that"}


def test_cut_to_words() -> None:
    found = made(cut="words", words=3)
    assert found["b"] == "Nothing is wrong"
    assert found["e"] == "so it goes"


def test_filters() -> None:
    assert set(made(marked=True)) == {"a", "c", "d"}
    assert set(made(marked=False)) == {"b", "e"}
    assert set(made(kind="insult")) == {"a", "c"}
    assert set(made(kind="everyday", min_words=5)) == {"b"}
    assert set(made(held_out="other")) == {"z"}


def test_the_limit_takes_a_seeded_draw() -> None:
    draws = {seed: list(made(seed=seed)) for seed in range(20)}
    assert len({tuple(ids) for ids in draws.values()}) > 10
    for seed, ids in draws.items():
        assert list(made(seed=seed, limit=2)) == ids[:2]
        assert list(made(seed=seed)) == ids


def test_prompts_from_a_file(tmp_path: Path) -> None:
    lines = [{"id": f"r{k}", "prompt": {"text": f"number {k} of the prompts "}} for k in range(4)]
    (tmp_path / "rtp.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = Source(path="rtp.jsonl", text="prompt.text")
    found = prompts_of(Prompts(source=source), {}, tmp_path, 0)
    assert sorted(found, key=lambda p: p.id)[1] == Prompt("r1", "number 1 of the prompts")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        prompts_of(Prompts(source=Source(path="nowhere.jsonl")), {}, tmp_path, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": "posst"}, "held_out is 'posst'.* are: posts, other"),
        ({"kind": "rude"}, "no document is there to use"),
        ({"min_words": 40}, "none of 5 documents leaves a prompt of 40 words"),
        ({"held_out": "other", "cut": "before_span"}, "none of 1 documents"),
    ],
)
def test_an_empty_set_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"held_out": "posts", "source": Source(path="x.jsonl")},
        {"held_out": "posts", "limit": 0},
        {"held_out": "posts", "words": 0},
        {"held_out": "posts", "min_words": 0},
        {"held_out": "posts", "cut": "words", "words": 2},
    ],
)
def test_prompt_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="evaluation"):
        Prompts(**settings)


def test_held_out_documents_for_perplexity() -> None:
    texts = HeldOutText(held_out="posts", marked=False)
    found = held_out_documents(texts, HELD_OUT, Path(), "plain")
    assert [document.id for document in found] == ["b", "e"]


def test_lambada_texts(tmp_path: Path) -> None:
    plain = {"toxic": Prompts(held_out="posts"), "neutral": Prompts(held_out="posts")}
    assert lambada_texts(EvaluationConfig(**plain), tmp_path) is None
    lines = [json.dumps({"text": f"text {k}"}) for k in range(4)]
    (tmp_path / "l.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = EvaluationConfig(**plain, lambada=Source(path="l.jsonl"), lambada_limit=3)
    assert lambada_texts(config, tmp_path) == ["text 0", "text 1", "text 2"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("judges", ()),
        ("judges", ("rule", "rule")),
        ("threshold", 0.0),
        ("threshold", 1.5),
        ("lambada_limit", 0),
        ("batch_size", 0),
        ("resamples", 0),
        ("more", {"toxic": Prompts(held_out="posts")}),
    ],
)
def test_evaluation_settings_are_checked(setting: str, value: Any) -> None:
    plain = {"toxic": Prompts(held_out="posts"), "neutral": Prompts(held_out="posts")}
    with pytest.raises(InputError, match=rf"evaluation\.{setting}"):
        EvaluationConfig(**plain, **{setting: value})


def test_settings_by_yaml(tmp_path: Path) -> None:
    text = """
evaluation:
  judges: [rule, hatesonar]
  sampling: {samples: 3, tokens: 5}
  toxic: {held_out: posts, cut: before_span}
  neutral: {source: {path: bold.jsonl, text: prompt}, limit: 10}
  more:
    implicit: {source: {path: toxigen.jsonl}, cut: words}
  perplexity:
    plain: {held_out: posts, marked: false}
  lambada: {path: lambada.jsonl}
"""
    given = settings() | yaml.safe_load(text)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    config = read_config(file, ["--evaluation.threshold", "0.6"]).evaluation
    assert config.judges == ("rule", "hatesonar")
    assert config.threshold == 0.6
    assert config.prompt_sets["implicit"].source.path == "toxigen.jsonl"
    assert list(config.prompt_sets) == ["toxic", "neutral", "implicit"]
    assert config.perplexity == {"plain": HeldOutText(held_out="posts", marked=False)}
    assert config.text_sources == []
    assert [source.path for source in config.lambada_sources] == ["lambada.jsonl"]
    assert config.sampling.samples == 3
