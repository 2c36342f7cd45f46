"""What a run and a comparison found, written and read by type."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.comparison import COMPARISON_FORMAT, read_comparison, write_comparison
from ifguide.evaluation.figures import (
    REPORT_FORMAT,
    Cost,
    Localisation,
    Measures,
    ModelFigures,
    Report,
    SelectionSummary,
    Unjudged,
    Verdict,
    read_report,
    write_report,
)
from ifguide.evaluation.typed_json import read_typed, to_json, write_typed
from ifguide.files import json_text
from ifguide.nouns import Interval

RECORD = Path(__file__).parents[2] / "benchmarks/records/rivals.json"  # a table.json
NAMES = ("toxic", "rtp/toxic", "../up", "ünï 🙂", "new\nline", "a.b", "", "null")


def drawn_report(seed: int) -> Report:
    """A report with whatever may be absent there or not, under names of any text."""
    rng = np.random.default_rng(seed)

    def share() -> float:
        return float(rng.choice([0.0, 1.0, 1 / 3, rng.random()]))

    def interval() -> Interval:
        return Interval(share(), share(), share())

    def maybe(make: Callable[[], Any]) -> Any:
        return make() if rng.random() < 0.5 else None

    def by_name(make: Callable[[], Any]) -> dict[str, Any]:
        return {str(name): make() for name in rng.permutation(NAMES)[: rng.integers(3)]}

    def verdict() -> Verdict:
        return Verdict(
            emt=by_name(interval),
            tp=by_name(interval),
            worst=by_name(lambda: tuple(maybe(share) for _ in range(rng.integers(3)))),
            categories=maybe(
                lambda: by_name(lambda: by_name(lambda: Measures(emt=interval(), tp=interval())))
            ),
            unjudged=maybe(lambda: by_name(lambda: Unjudged(count=2, texts=by_name(str)))),
        )

    def model() -> ModelFigures:
        return ModelFigures(
            emt=by_name(interval),
            tp=by_name(interval),
            judges=by_name(verdict),
            perplexity=by_name(share),
            lambada_accuracy=maybe(share),
            lambada_last_token=maybe(share),
        )

    def localisation() -> Localisation:
        return Localisation(auroc=maybe(interval), base_rate=maybe(share))

    return Report(
        version="0.1.0",
        config_fingerprint=f"{seed}",
        models=by_name(model),
        localisation=replace(localisation(), smoothed=maybe(localisation)),
        selection=SelectionSummary(
            threshold=float(rng.choice([-np.inf, 0.5, np.inf])), budget=2, selected=1, documents=0
        ),
        cost=by_name(lambda: Cost(seconds=share(), tokens=2**40, peak_rss_bytes=0)),
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_report_is_read_as_it_was_written(tmp_path: Path, seed: int) -> None:
    report = drawn_report(seed)
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report
    text = (tmp_path / "report.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, np.float64("inf"), 0.1, 1e308])
def test_numbers_that_json_has_not_are_text_that_is_read_back(number):
    written = json.loads(json_text({"a": [(number, {"b": number})]}))
    for held in (written["a"][0][0], written["a"][0][1]["b"]):
        assert isinstance(held, float) == np.isfinite(number)
        np.testing.assert_equal(float(held), float(number))


def test_a_table_of_an_earlier_version_is_read_and_written_to_the_letter(tmp_path: Path) -> None:
    write_comparison(tmp_path / "table.json", read_comparison(RECORD))
    written = json.loads((tmp_path / "table.json").read_text())
    assert written.pop("format") == COMPARISON_FORMAT
    assert json.dumps(written) == json.dumps(json.loads(RECORD.read_text()))  # in its order too


def test_what_was_not_asked_for_is_absent_and_what_is_nothing_is_null() -> None:
    verdict = Verdict(emt={}, tp={}, worst={"toxic": (None, 0.5)})
    assert to_json(verdict) == {"emt": {}, "tp": {}, "worst": {"toxic": [None, 0.5]}}
    model = ModelFigures(emt={}, tp={}, judges={}, perplexity={})
    assert list(to_json(model)) == ["emt", "tp", "judges", "perplexity"]
    assert to_json(Localisation()) == {}
    comparison = replace(read_comparison(RECORD), labeller=None, human_text=None)
    assert {"labeller": None, "human_text": None}.items() <= to_json(comparison).items()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file, around = tmp_path / "report.json", Interval(0.5, 0.4, 0.6)
    verdict = Verdict(emt={"toxic": around}, tp={"toxic": around}, worst={"toxic": (0.5,)})
    report = Report(
        version="0.1.0",
        config_fingerprint="feed",
        models={
            "baseline": ModelFigures(
                emt=verdict.emt, tp=verdict.tp, judges={"rule": verdict}, perplexity={"benign": 9.0}
            )
        },
        localisation=Localisation(base_rate=0.5),
        selection=SelectionSummary(threshold=1.0, budget=2, selected=2, documents=1),
        cost={"score": Cost(seconds=1.0, tokens=2, peak_rss_bytes=3)},
    )
    write_report(file, report)
    return file


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every place in nested dictionaries."""
    inner = value.items() if isinstance(value, dict) else ()
    return [p for k, v in inner for p in [(*path, k), *places(v, (*path, k))]]


def refusal(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_report(file)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{file}: ")
    return line


def test_a_report_damaged_in_any_place_is_refused_by_that_place(written: Path) -> None:
    whole = written.read_text()
    for path in places(json.loads(whole)):
        content = json.loads(whole)
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = object.__name__ if not isinstance(inner[path[-1]], str) else [1]
        written.write_text(json.dumps(content))
        assert f": {'.'.join(path)}" in refusal(written), path


def test_a_report_that_lacks_a_field_is_refused(written: Path) -> None:
    whole = json.loads(written.read_text())
    for name in whole.keys() - {
        "format",
        "corpus",
        "training",
        "weights",
    }:  # older reports have none
        written.write_text(json.dumps({k: v for k, v in whole.items() if k != name}))
        assert refusal(written).startswith(f"{written}: {name}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b"3", b"[" * 100_000])
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.json").write_bytes(content)
    assert "make it again" in refusal(tmp_path / "report.json")
    assert "cannot be read" in refusal(tmp_path / "none.json")


def test_a_report_without_a_format_is_of_the_first_one(written: Path) -> None:
    report, content = read_report(written), json.loads(written.read_text())
    del content["format"]
    written.write_text(json.dumps(content))
    assert read_report(written) == report


def test_a_later_format_is_refused_and_its_version_named(written: Path) -> None:
    content = json.loads(written.read_text())
    later = {"format": REPORT_FORMAT + 1, "version": "9.9", "whatever": content}
    written.write_text(json.dumps(later))
    assert "ifguide 9.9" in refusal(written)
    assert refusal(written).endswith("update ifguide")
    written.write_text(json.dumps({**later, "version": "\x1b[2J\n"}))
    assert r"ifguide \x1b[2J\n" in refusal(written)
    with pytest.raises(InputError, match="update ifguide"):
        read_comparison(written)


def test_a_name_in_a_damaged_file_cannot_break_the_line(written: Path) -> None:
    content = json.loads(written.read_text())
    content["models"] = {"a\n\x1b[2J\u202e": 3}
    written.write_text(json.dumps(content))
    assert r": models.a\n\x1b[2J\u202e: " in refusal(written)


def test_parts_of_a_report_are_kept_by_themselves(tmp_path: Path) -> None:
    figures = Localisation(auroc=Interval(0.5, 0.4, 0.6))
    write_typed(tmp_path / "part.json", figures)
    assert read_typed(tmp_path / "part.json", Localisation) == figures
