from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from ifguide.errors import InputError
from ifguide.evaluation import evaluate as module
from ifguide.evaluation.config import Prompts, Sampling
from ifguide.evaluation.evaluate import (
    EvaluationConfig,
    continue_prompts,
    evaluate,
    judge_tables,
    prompt_set_of,
)
from ifguide.evaluation.figures import Measures, Unjudged, Verdict
from ifguide.evaluation.fluency import last_word_figures, perplexity
from ifguide.evaluation.judges.judging import JudgeError
from ifguide.evaluation.metrics import expected_maximum_toxicity, toxicity_probability
from ifguide.evaluation.prompts import Prompt
from ifguide.evaluation.typed_json import to_json
from ifguide.nouns import Corpus

SETS = {
    "toxic": [Prompt("t0", "You are a"), Prompt("t1", "near the river"), Prompt("t2", "Numbers")],
    "neutral": [Prompt("n0", "The quick"), Prompt("n1", "You are a")],
}
Build = Callable[..., nn.Module]


class Letters:
    """The share of a text's letters that are in ``letters``; fails on what contains ``fatal``."""

    def __init__(self, name: str, letters: str, fatal: str | None = None) -> None:
        self.name, self.letters, self.fatal = name, letters, fatal
        self.fatal_texts: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if self.fatal is not None and any(self.fatal in text for text in texts):
            raise RuntimeError("cannot read this")
        if self.fatal_texts & set(texts):
            raise RuntimeError("cannot read this")
        return np.array([sum(c in self.letters for c in t) / max(1, len(t)) for t in texts])


class Kept:
    """Continuations kept on disk by set, as a run folder does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[str] = []

    def __call__(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        file = self.folder / f"{name}.parquet"
        if not file.exists():
            self.made.append(name)
            pq.write_table(make(), file)
        return pq.read_table(file)


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch) -> dict[str, Letters]:
    made = {"vowels": Letters("vowels", "aeiou "), "rest": Letters("rest", "bcdfghklmnprstwy")}
    monkeypatch.setattr(module, "load_judge", made.__getitem__)
    return made


def config(**settings: Any) -> EvaluationConfig:
    plain = Prompts(held_out="posts")
    sampling = Sampling(samples=4, tokens=5, batch_size=6)
    return EvaluationConfig(
        toxic=plain,
        neutral=plain,
        **{"judges": ("vowels", "rest"), "threshold": 0.2, "sampling": sampling, **settings},
    )


def test_entry_of_the_report(
    build_model: Build,
    build_corpus: Callable[..., Corpus],
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    model, kept = build_model(), Kept(tmp_path)
    corpus = build_corpus([[1, 2, 3, 4]], [[0, 0, 0, -1]])
    texts = ["The fox", "a dog"]
    counts: list[int] = []
    entry = evaluate(
        model, tokenizer, config(), SETS, {"plain": corpus}, texts, 7, kept, counts.append
    )
    lambada = ["lambada_accuracy", "lambada_last_token"]
    assert list(to_json(entry)) == ["emt", "tp", "judges", "perplexity", *lambada]
    assert entry.perplexity == {"plain": perplexity(model, corpus, 1)}
    known = last_word_figures(model, tokenizer, texts, 1)
    found = entry.lambada_accuracy, entry.lambada_last_token
    assert found == (known.accuracy, known.last_token_accuracy)
    first = entry.judges["vowels"]
    assert Verdict(emt=entry.emt, tp=entry.tp, worst=first.worst) == first
    assert sum(counts) > 0
    for name, judge in judges.items():
        for prompt_set, prompts in SETS.items():
            table = pq.read_table(tmp_path / f"{prompt_set}.parquet")
            scores = judge(table["continuation"].to_pylist()).reshape(len(prompts), 4)
            judged = entry.judges[name]
            emt, tp = judged.emt[prompt_set], judged.tp[prompt_set]
            assert emt.value == expected_maximum_toxicity(scores).value
            assert tp.value == toxicity_probability(scores, threshold=0.2).value
            assert emt.low <= emt.value <= emt.high
            assert judged.worst[prompt_set] == tuple(max(row) for row in scores.tolist())


def test_table_of_continuations(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    evaluate(build_model(), tokenizer, config(), SETS, {}, None, 7, Kept(tmp_path))
    table = pq.read_table(tmp_path / "toxic.parquet")
    assert table.column_names == ["prompt_id", "prompt", "sample", "continuation"]
    assert table["prompt_id"].to_pylist() == [p.id for p in SETS["toxic"] for _ in range(4)]
    assert table["prompt"].to_pylist() == [p.text for p in SETS["toxic"] for _ in range(4)]
    assert table["sample"].to_pylist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize("name", ["toxic", "rtp/toxic", "../up", "ünï 🙂", "new\nline", ""])
def test_a_table_carries_its_prompt_set_s_name(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
    name: str,
) -> None:
    file = tmp_path / "0.parquet"

    def keep(asked: str, make: Callable[[], pa.Table]) -> pa.Table:
        pq.write_table(make(), file)
        return pq.read_table(file)

    entry = evaluate(build_model(), tokenizer, config(), {name: SETS["toxic"]}, {}, None, 7, keep)
    assert prompt_set_of(pq.read_table(file)) == name
    assert list(entry.tp) == [name]
    assert prompt_set_of(pq.read_table(file).replace_schema_metadata(None)) is None


def test_a_failing_judge_loses_nothing(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    model, kept = build_model(), Kept(tmp_path)
    whole = evaluate(model, tokenizer, config(), SETS, {}, None, 7)
    fatal = evaluate_table(model, tokenizer, kept)["continuation"][6].as_py()
    judges["rest"].fatal = fatal
    with pytest.raises(JudgeError, match=r"judge 'rest' failed on text 't\d/\d': cannot read this"):
        evaluate(model, tokenizer, config(), SETS, {}, None, 7, kept)
    assert sorted(kept.made) == ["neutral", "toxic"]
    judges["rest"].fatal = None
    assert evaluate(model, tokenizer, config(), SETS, {}, None, 7, kept) == whole
    assert sorted(kept.made) == ["neutral", "toxic"]  # nothing was generated again


def evaluate_table(model: nn.Module, tokenizer: PreTrainedTokenizerFast, kept: Kept) -> pa.Table:
    """Keep the toxic set's continuations as ``evaluate`` makes them, and return them."""
    only = {"toxic": SETS["toxic"]}
    evaluate(model, tokenizer, config(judges=("vowels",)), only, {}, None, 7, kept)
    return pq.read_table(kept.folder / "toxic.parquet")


def test_a_set_is_sampled_alike_whatever_else_is(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("all", "alone", "other")]
    tables = []
    for folder, sets, seed in zip(
        folders, (SETS, {"neutral": SETS["neutral"]}, SETS), (7, 7, 8), strict=True
    ):
        folder.mkdir()
        evaluate(build_model(), tokenizer, config(), sets, {}, None, seed, Kept(folder))
        tables.append(pq.read_table(folder / "neutral.parquet"))
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]
    toxic = pq.read_table(folders[0] / "toxic.parquet")
    assert toxic["continuation"][:4] != tables[0]["continuation"][4:]  # same prompt, own draws


def test_kept_continuations_of_other_prompts_are_refused(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    model, kept = build_model(), Kept(tmp_path)
    evaluate(model, tokenizer, config(), SETS, {}, None, 7, kept)
    fewer = {"toxic": SETS["toxic"][:2], "neutral": SETS["neutral"]}
    with pytest.raises(InputError, match="prompt set 'toxic' are of other prompts"):
        evaluate(model, tokenizer, config(), fewer, {}, None, 7, kept)


def test_judges_load_before_anything_is_generated(
    build_model: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    def never(name: str, make: Callable[[], pa.Table]) -> pa.Table:
        raise AssertionError

    with pytest.raises(InputError, match="'vowels' is not known"):
        evaluate(build_model(), tokenizer, config(), SETS, {}, None, 7, never)


class Only(LogitsProcessor):
    """Leaves one token."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([self.token]), 0.0)


def test_processors_act_on_continuations_alone(
    build_model: Build,
    build_corpus: Callable[..., Corpus],
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    a_letter = tokenizer("x")["input_ids"][0]
    model, corpus = build_model(), build_corpus([[1, 2, 3, 4]], [[0, 0, 0, -1]])
    plain, changed = (
        evaluate(model, tokenizer, config(), SETS, {"c": corpus}, ["The fox"], 7, store, **settings)
        for store, settings in (
            (Kept(tmp_path), {"processors": lambda: [Only(a_letter)]}),
            (lambda name, make: make(), {}),
        )
    )
    found = pq.read_table(tmp_path / "toxic.parquet")["continuation"].to_pylist()
    assert set(found) == {"xxxxx"}
    assert plain.emt != changed.emt
    assert plain.perplexity == changed.perplexity
    assert plain.lambada_accuracy == changed.lambada_accuracy


def test_what_a_judge_cannot_score_is_reported(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
) -> None:
    model, kept = build_model(), Kept(tmp_path)
    whole = evaluate(model, tokenizer, config(), SETS, {}, None, 7, kept)
    table = pq.read_table(tmp_path / "toxic.parquet")
    texts = table["continuation"].to_pylist()
    scores = judges["rest"](texts).reshape(3, 4)
    bad = {0, 1, 2, 3, 6}  # all of t0's, and one of t1's
    assert len({texts[number] for number in bad} - set(texts[4:6] + texts[7:])) == 5
    judges["rest"].fatal_texts = {texts[number] for number in bad}
    entry = evaluate(model, tokenizer, config(unjudged="report"), SETS, {}, None, 7, kept)
    judged = entry.judges["rest"]
    assert judged.unjudged is not None
    left = judged.unjudged["toxic"]
    assert left.count == 5
    assert list(left.texts) == ["t0/0", "t0/1", "t0/2", "t0/3", "t1/2"]
    assert all("cannot read this" in reason for reason in left.texts.values())
    scores[1, 2] = -1.0
    assert judged.worst["toxic"] == (None, scores[1].max(), scores[2].max())
    assert judged.emt["toxic"].value == pytest.approx(scores[1:].max(axis=1).mean())
    assert judged.unjudged["neutral"] == Unjudged(count=0, texts={})
    assert judged.emt["neutral"] == whole.judges["rest"].emt["neutral"]
    assert entry.judges["vowels"].emt == whole.judges["vowels"].emt


def test_continuations_that_a_judge_does_not_read_whole_are_counted(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def after_three(judge: Letters, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text) > 3 for text in texts])

    monkeypatch.setattr(type(judges["rest"]), "too_long", after_three, raising=False)
    kept = Kept(tmp_path)
    entry = evaluate(build_model(), tokenizer, config(), SETS, {}, None, 7, kept)
    tables = {name: pq.read_table(tmp_path / f"{name}.parquet") for name in SETS}
    counts = {
        name: sum(len(text) > 3 for text in table["continuation"].to_pylist())
        for name, table in tables.items()
    }
    assert sum(counts.values()) > 0
    expected = {name: count for name, count in counts.items() if count}
    assert entry.judges["rest"].beginnings == expected


class Kinds(Letters):
    """Vowels decide; the two kinds of letters are categories."""

    categories, label = ("rest", "vowels"), 1

    def columns(self, texts: Sequence[str]) -> np.ndarray:
        rest = Letters("rest", "bcdfghklmnprstwy")(texts)
        return np.stack([rest, Letters("vowels", "aeiou ")(texts)], axis=1)


def test_categories_have_figures_of_their_own(
    build_model: Build,
    tokenizer: PreTrainedTokenizerFast,
    judges: dict[str, Letters],
) -> None:
    model = build_model()
    plain = evaluate(model, tokenizer, config(), SETS, {}, None, 7).judges
    judges["vowels"] = Kinds("vowels", "never asked")
    entry = evaluate(model, tokenizer, config(), SETS, {}, None, 7).judges["vowels"]
    assert entry.emt == plain["vowels"].emt
    assert entry.categories is not None
    for prompt_set in SETS:
        for name in ("rest", "vowels"):
            expected = Measures(emt=plain[name].emt[prompt_set], tp=plain[name].tp[prompt_set])
            assert entry.categories[prompt_set][name] == expected


def test_pooled_sets_have_the_figures_of_their_prompts_together(
    build_model: Build, tokenizer: PreTrainedTokenizerFast, judges: dict[str, Letters]
) -> None:
    pooled = config(pooled={"Full": ("toxic", "neutral")})
    tables = continue_prompts(build_model(), tokenizer, pooled, SETS, 7)
    found = judge_tables(list(judges.values()), tables, pooled, 7)
    plain = judge_tables(list(judges.values()), tables, config(), 7)
    for name, verdict in found.items():
        worst = [*verdict.worst["toxic"], *verdict.worst["neutral"]]
        assert list(verdict.worst["Full"]) == worst
        assert verdict.emt["Full"].value == pytest.approx(np.mean(worst))
        assert verdict.tp["Full"].value == pytest.approx(
            np.mean(np.array(worst) >= pooled.threshold)
        )
        assert verdict.emt["toxic"] == plain[name].emt["toxic"]
        assert "Full" not in plain[name].emt


@pytest.mark.parametrize("sets", [("toxic",), ("toxic", "toxic"), ("toxic", "nobody")])
def test_what_cannot_be_pooled_is_refused(sets: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"evaluation\.pooled\.Full: it is .* name two or more"):
        config(pooled={"Full": sets})
    with pytest.raises(InputError, match=r"evaluation\.pooled\.toxic: a prompt set has this name"):
        config(pooled={"toxic": ("toxic", "neutral")})
