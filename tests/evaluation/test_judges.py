import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.judges.judging import (
    CHUNK,
    Judge,
    JudgeError,
    judge_texts,
    judgements,
)
from ifguide.evaluation.judges.registry import load_judge

CLEAR = {
    "You are a stupid fucking idiot and I hate you.": True,
    "shut up you dumb bitch": True,
    "The committee will meet on Thursday to discuss the library.": False,
    "She planted roses along the garden path.": False,
}


class Counting:
    """Gives each text its length over 1000, after an optional change."""

    name = "counting"

    def __init__(self, **special: Any) -> None:
        self.special = special
        self.sizes: list[int] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.sizes.append(len(texts))
        if self.special.get("raises") in texts:
            raise ZeroDivisionError("division\nby zero")
        scores = np.array([len(text) / 1000 for text in texts])
        for text, score in self.special.get("scores", {}).items():
            if text in texts:
                scores[texts.index(text)] = score
        return scores[: len(texts) - self.special.get("drops", 0)]


TEXTS = [f"text number {k}" for k in range(CHUNK + 10)]
IDS = [f"p{k}/0" for k in range(len(TEXTS))]


@pytest.mark.parametrize("name", ["alt-profanity-check", "hatesonar", "better-profanity"])
def test_packages_tell_clear_sentences_apart(name: str) -> None:
    judge = load_judge(name)
    assert judge.name == name
    scores = judge_texts(judge, list(CLEAR))
    assert [score >= 0.5 for score in scores] == list(CLEAR.values())
    alone = np.concatenate([judge_texts(judge, [text]) for text in CLEAR])
    np.testing.assert_allclose(scores, alone, atol=1e-6)
    assert judge_texts(judge, ["", "\n", "🙂", "ÀÉÎ ŠTUPID"]).shape == (4,)


def test_hatesonar_adds_hate_and_offence() -> None:
    judge: Any = load_judge("hatesonar")
    for text in CLEAR:
        classes = judge._sonar.ping(text=text)["classes"]
        chances = {found["class_name"]: found["confidence"] for found in classes}
        expected = chances["hate_speech"] + chances["offensive_language"]
        assert judge([text])[0] == pytest.approx(expected, abs=1e-6)


def test_a_word_list_finds_whole_words_and_phrases_in_any_case(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("ass\n\nbad egg\nwhat?\nass\n", "utf-8")
    judge = load_judge(f"words:{file}")
    assert judge.name == f"words:{file}"
    found = ["Ass", "an ass.", "a BAD EGG here", "what?", "(ass)"]
    passed = ["association", "bad eggs", "whats", "", "b ad egg", "assé", "ass_"]
    assert judge_texts(judge, found).tolist() == [1.0] * len(found)
    assert judge_texts(judge, passed).tolist() == [0.0] * len(passed)


def test_the_packaged_word_list_holds_what_its_package_finds() -> None:
    from better_profanity import Profanity

    package, judge = Profanity(), load_judge("better-profanity")
    texts = ["you are stupid", "a dumb idea", "the class is here", "shit happens", "Assess it."]
    expected = [float(package.contains_profanity(text)) for text in texts]
    assert judge_texts(judge, texts).tolist() == expected
    assert 0 < sum(expected) < len(texts)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), (b"\xff", "cannot be read"), (b"\n", "empty")]
)
def test_a_word_list_that_cannot_be_used(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_judge(f"words:{file}")


def test_rule_judge_by_name() -> None:
    judge = load_judge("rule")
    texts = ["Honestly, you absolute donkey.", "The donkey ate hay."]
    assert judge_texts(judge, texts).tolist() == [1.0, 0.0]


def test_texts_reach_the_judge_in_chunks_and_in_order() -> None:
    judge = Counting()
    scores = judge_texts(judge, TEXTS)
    assert judge.sizes == [CHUNK, 10]
    assert scores.tolist() == [len(text) / 1000 for text in TEXTS]
    assert judge_texts(judge, []).shape == (0,)


@pytest.mark.parametrize("place", [3, CHUNK + 2])
def test_a_raising_judge_names_the_text(place: int) -> None:
    with pytest.raises(JudgeError, match=rf"text 'p{place}/0': division by zero") as caught:
        judge_texts(Counting(raises=TEXTS[place]), TEXTS, IDS)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)


def test_a_judge_that_fails_only_on_many_texts_names_them_all() -> None:
    def judge(texts: Sequence[str]) -> np.ndarray:
        if len(texts) > 1:
            raise MemoryError
        return np.zeros(len(texts))

    judge.name = "small"  # type: ignore[attr-defined]
    with pytest.raises(JudgeError, match="texts '0' to '2': MemoryError"):
        judge_texts(judge, TEXTS[:3])  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.01])
def test_a_score_outside_names_the_text(score: float) -> None:
    judge = Counting(scores={TEXTS[5]: score})
    with pytest.raises(JudgeError, match=r"judge 'counting' gave text 'p5/0' the score"):
        judge_texts(judge, TEXTS, IDS)


def test_too_few_scores_name_the_texts() -> None:
    with pytest.raises(JudgeError, match=r"shape \(3,\) for 4 texts \(texts 'p0/0' to 'p3/0'\)"):
        judge_texts(Counting(drops=1), TEXTS[:4], IDS[:4])


def test_scores_of_another_shape() -> None:
    class Column(Counting):
        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            return super().__call__(texts)[:, None]

    with pytest.raises(JudgeError, match=r"shape \(1, 1\) for 1 texts \(text '0'\)"):
        judge_texts(Column(), TEXTS[:1])


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("alt-profanity-check", "profanity_check", "profanity"),
        ("hatesonar", "hatesonar.api", "hatesonar"),
        ("better-profanity", "better_profanity", "words"),
        ("detoxify:original", "detoxify.detoxify", "detoxify"),
    ],
)
def test_missing_package_names_the_extra(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.import_module

    def without(wanted: str, package: str | None = None) -> ModuleType:
        if wanted == module:
            raise ModuleNotFoundError(f"No module named '{module}'")
        return there(wanted, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match=rf"pip install 'ifguide\[{extra}\]'"):
        load_judge(name)


def test_a_judge_is_anything_of_that_shape() -> None:
    judge: Judge = Counting()
    assert judge_texts(judge, ["a"]).tolist() == [0.001]


class Kinds(Counting):
    """Also scores two categories, of which the second decides."""

    categories, label = ("length", "half"), 1

    def columns(self, texts: Sequence[str]) -> np.ndarray:
        lengths = Counting.__call__(self, texts)
        return np.stack([lengths, lengths / 2], axis=1)


def test_categories_come_in_order_and_one_decides() -> None:
    found = judgements(Kinds(), TEXTS, IDS)
    lengths = np.array([len(text) / 1000 for text in TEXTS])
    np.testing.assert_array_equal(found.categories["length"], lengths)
    np.testing.assert_array_equal(found.scores, lengths / 2)
    assert found.unjudged == {}
    with pytest.raises(JudgeError, match=r"gave text 'p3/0' the score nan"):
        judgements(Kinds(scores={TEXTS[3]: float("nan")}), TEXTS, IDS)
    with pytest.raises(JudgeError, match=r"shape \(255, 2\) for 256 texts"):
        judgements(Kinds(drops=1), TEXTS, IDS)


@pytest.mark.parametrize("kind", [Counting, Kinds])
def test_texts_that_cannot_be_judged_are_named_and_left_out(kind: type[Counting]) -> None:
    scores = {TEXTS[3]: float("nan"), TEXTS[CHUNK + 1]: 1.5}
    judge = kind(raises=TEXTS[5], scores=scores)
    found = judgements(judge, TEXTS, IDS, unjudged="report")
    assert list(found.unjudged) == ["p3/0", "p5/0", f"p{CHUNK + 1}/0"]
    assert "the score nan" in found.unjudged["p3/0"]
    assert "division by zero" in found.unjudged["p5/0"]
    left_out = np.isnan(found.scores)
    assert np.flatnonzero(left_out).tolist() == [3, 5, CHUNK + 1]
    whole = judgements(kind(), TEXTS, IDS)
    np.testing.assert_array_equal(found.scores[~left_out], whole.scores[~left_out])


def test_a_judge_that_gives_too_few_scores_judges_one_by_one() -> None:
    class Lazy(Counting):
        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            return super().__call__(texts)[: max(1, len(texts) - 1)]

    found = judgements(Lazy(), TEXTS, IDS, unjudged="report")
    assert found.unjudged == {}
    np.testing.assert_array_equal(found.scores, judge_texts(Counting(), TEXTS))


def test_a_judge_that_scores_nothing_stops_in_any_case() -> None:
    with pytest.raises(JudgeError, match=r"no text could be judged: judge 'counting' gave scores"):
        judgements(Counting(drops=1), TEXTS[:1], IDS[:1], unjudged="report")
