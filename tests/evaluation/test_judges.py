import importlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

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
    ("content", "said"), [(None, "no such file"), (b"\xff", "cannot be read"), (b"\n", "empty")]
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


class Answering:
    """Answers whatever it was made with, or raises it."""

    name = "answering"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, texts: Sequence[str]) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


NUMBERS = [
    [0.25, 1],
    (np.float16(0.25), np.uint8(1)),
    np.array([0.25, 1], dtype=np.float32),
    np.ma.array([0.25, 1], mask=[False, False]),
    torch.tensor([0.25, 1], dtype=torch.float64),
    [torch.tensor(0.25), np.array(1.0)],
    [Fraction(1, 4), 1.0],
]


@pytest.mark.parametrize("answer", NUMBERS, ids=repr)
def test_one_number_a_text_is_a_judgement_whatever_holds_it(answer: Any) -> None:
    assert judge_texts(Answering(answer), ["a", "b"]).tolist() == [0.25, 1.0]


# the second text's score is none
NO_SCORES = {
    "masked": np.ma.array([0.25, 0.5], mask=[False, True]),
    "a masked element": [0.25, np.ma.masked],
    "a masked array": [0.25, np.ma.array(0.5, mask=True)],
    "complex": np.array([0.25, 0.5 + 1j])[[1, 1]],
    "without an imaginary part": np.array([0.5 + 0j, 0.5]),
    "nothing": [0.25, None],
    "a truth": [0.25, True],
    "an array of truths": np.array([True, False]),
    "a text": [0.25, "0.5"],
    "an array of texts": np.array(["0.25", "0.5"]),
    "bytes": np.array([b"0.25", b"0.5"]),
    "an object": [0.25, object()],
    "a list": np.array([0.25, [0.5]], dtype=object),
    "no number": [0.25, np.nan],
    "infinite": [0.25, -np.inf],
    "negative": [0.25, -1e-9],
    "above 1": [0.25, 1 + 1e-9],
    "an integer beyond floats": [0.25, 10**400],
    "a tensor of truths": torch.tensor([True, True]),
}


@pytest.mark.parametrize("answer", NO_SCORES.values(), ids=NO_SCORES.keys())
def test_what_is_no_score_stops_or_is_reported_but_never_a_number(answer: Any) -> None:
    with pytest.raises(
        JudgeError, match=r"^judge 'answering' gave text '[ab]' the score"
    ) as caught:
        judge_texts(Answering(answer), ["a", "b"], ["a", "b"])
    assert "number in [0, 1]" in str(caught.value)

    class Second(Answering):
        def __call__(self, texts: Sequence[str]) -> Any:
            return [self.answer[1] if text == "b" else 0.25 for text in texts]

    found = judgements(Second(answer), ["a", "b", "c"], ["a", "b", "c"], unjudged="report")
    assert list(found.unjudged) == ["b"]
    assert np.isnan(found.scores).tolist() == [False, True, False]


@pytest.mark.parametrize("label", [2, -1, 0.0, "one", None])
def test_a_judge_says_by_number_which_of_its_categories_decides(label: Any) -> None:
    class Labelled(Answering):
        categories = ("one", "other")

        def columns(self, texts: Sequence[str]) -> Any:
            raise AssertionError

    judge: Any = Labelled(None)
    judge.label = label
    with pytest.raises(JudgeError, match=r"^judge 'answering': .* none of its 2 categories; give"):
        judge_texts(judge, ["a"])


@pytest.mark.parametrize("limits", [None, [True], np.zeros((2, 2)), ZeroDivisionError("no")])
def test_a_judge_that_cannot_tell_its_limit_is_refused_by_name(limits: Any) -> None:
    class Limited(Answering):
        def too_long(self, texts: Sequence[str]) -> Any:
            if isinstance(limits, Exception):
                raise limits
            return limits

    with pytest.raises(InputError, match=r"^judge 'answering': it cannot tell its limit \("):
        judge_texts(Limited([0.5, 0.5]), ["a", "b"])


def test_masked_categories_are_no_scores() -> None:
    class Rows(Answering):
        categories, label = ("one", "other"), 0

        def columns(self, texts: Sequence[str]) -> Any:
            return self.answer

    hidden = np.ma.array([0.5, 0.5], mask=[True, False])
    for answer in ([hidden], np.ma.stack([hidden]), np.array([[0.5, None]])):
        with pytest.raises(JudgeError, match=r"gave text '0' the score .*, which is no number"):
            judge_texts(Rows(answer), ["a"])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        0.5,
        {"a": 0.5},
        {0.5},
        "0.5",
        iter([0.5]),
        [0.5],
        [0.5] * 3,
        [[0.5], [0.5, 0.5]],
        [np.ones(2), np.ones((2, 3))],
        np.ma.masked_all(2)[:1],
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_anything_but_one_score_a_text_is_refused(answer: Any) -> None:
    with pytest.raises(
        JudgeError, match=r"^judge 'answering' (gave (scores of shape|text '0')|failed)"
    ):
        judge_texts(Answering(answer), ["a", "b"])


class Panic(BaseException):
    """As a Rust package raises it."""


@pytest.mark.parametrize("error", [SystemExit(3), SystemExit(), Panic("index 3"), GeneratorExit()])
def test_a_judge_that_exits_is_one_that_failed(error: BaseException) -> None:
    line = rf"^judge 'answering' failed on text 'a': {type(error).__name__}(: .+)?; remove"
    with pytest.raises(JudgeError, match=line):
        judge_texts(Answering(error), ["x", "y"], ["a", "b"])


def test_an_interrupted_judge_stops() -> None:
    with pytest.raises(KeyboardInterrupt):
        judge_texts(Answering(KeyboardInterrupt()), ["x"])


def test_a_text_that_fails_alone_is_named_with_its_own_error() -> None:
    """It may pass among others, whose failure is then not its own."""

    def judge(texts: Sequence[str]) -> np.ndarray:
        if list(texts) == [""]:
            raise ValueError("an empty text")
        if len(texts) > 2:
            raise MemoryError("too many")
        return np.full(len(texts), 0.5)

    judge.name = "particular"  # type: ignore[attr-defined]
    asked: Any = judge
    with pytest.raises(JudgeError, match="failed on text 'b': an empty text; remove"):
        judge_texts(asked, ["x", "", "y"], ["a", "b", "c"])
    found = judgements(asked, ["x", "", "y"], ["a", "b", "c"], unjudged="report")
    assert list(found.unjudged) == ["b"]
    assert found.scores[[0, 2]].tolist() == [0.5, 0.5]


def test_texts_that_a_judge_does_not_read_whole_are_counted_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Short(Counting):
        def too_long(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([len(text) > 5 for text in texts])

    judge_texts(Short(), ["abc", "abcdef", "abcdefg"])
    (record,) = caplog.records
    assert record.getMessage() == (
        "judge 'counting': 2 of 3 texts are longer than it reads; it judged their beginnings"
    )
    caplog.clear()
    judge_texts(Short(), ["abc"])
    assert not caplog.records
