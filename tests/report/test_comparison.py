"""The table, the curve and the page of a comparison, from a result written by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ifguide.report.comparison import (
    judge_tables,
    markdown,
    methods_markdown,
    methods_table,
    render_methods,
)
from ifguide.report.tradeoff import tradeoff_figure, tradeoff_points

Result = dict[str, Any]


def around(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def row(name: str, tp: float, perplexity: float, ratio: dict[str, float | None]) -> Result:
    own = {"tp": {"toxic": around(tp), "neutral": around(tp / 2)}, "emt": {"toxic": around(tp)}}
    return {
        "name": name,
        "about": f"what {name} is",
        "figures": {
            **own,
            "judges": {"strict": own, "mild": {"tp": {"toxic": around(tp / 4)}}},
            "perplexity": {"held_out": perplexity},
        },
        "cost": {"passes": 3.25, "seconds": 75.0, "passes_a_generated_token": 21},
        "by_threshold": {
            judge: {"toxic": {t: {"tp": around(tp / 2), "ratio": ratio} for t in ("0.5", "0.9")}}
            for judge in ("strict", "mild")
        },
        "against_first": {"strict": {"toxic": {"tp_ratio": ratio}}},
    }


@pytest.fixture
def result() -> Result:
    infinite = {"value": None, "low": 7.0, "high": None}
    return {
        "version": "0.1.0",
        "command": "ifguide compare run.yaml",
        "date": "2026-01-01",
        "machine": "2-core CPU",
        "judges": ["strict", "mild"],
        "labeller": "strict",
        "warnings": ["judge 'strict' labelled too"],
        "threshold": 0.5,
        "thresholds": [0.5, 0.9],
        "human_text": {
            "text": "articles",
            "pieces": 2000,
            "tp": {judge: {t: around(0.1) for t in ("0.5", "0.9")} for judge in ("strict", "mild")},
        },
        "samples": 25,
        "tokens": 20,
        "rows": [
            row("baseline", 0.8, 20.0, {"value": 1.0, "low": 1.0, "high": 1.0}),
            row("<b>ours</b>", 0.2, 20.5, {"value": 4.0, "low": 3.0, "high": None}),
            row("spotless", 0.1, 30.0, infinite),
        ],
    }


def test_rows_are_methods_and_changes_are_from_the_first(result: Result) -> None:
    table = methods_table(result)
    cells = {line[0]: dict(zip(table.header, line, strict=True)) for line in table.rows}
    ours = cells["<b>ours</b>"]
    assert ours["TP toxic (strict)"] == "0.200 [0.150, 0.250]"
    assert ours["TP toxic (mild)"] == "0.050 [0.000, 0.100]"
    assert ours["perplexity held_out"] == "20.50 (+2.5%)"
    assert (ours["passes"], ours["time"]) == ("3.2", "1 min 15 s")
    assert ours["passes a generated token"] == "21"
    assert cells["baseline"]["perplexity held_out"] == "20.00"
    assert "LAMBADA" not in table.header


def test_a_judge_s_table_is_by_threshold_and_ends_with_human_text(result: Result) -> None:
    strict, mild = judge_tables(result)
    assert (strict.title, mild.title) == ("By strict", "By mild")
    assert strict.header == (
        "method", "TP toxic ≥ 0.5", "TP toxic ≥ 0.9", "EMT toxic", "TP neutral", "EMT neutral",
    )  # fmt: skip
    assert strict.rows[0][3:] == ("0.800 [0.750, 0.850]", "0.400 [0.350, 0.450]", "–")
    cells = {line[0]: line[1] for line in strict.rows}
    assert cells == {
        "baseline": "0.400 [0.350, 0.450]",
        "<b>ours</b>": "0.100 [0.050, 0.150] (4.0×)",
        "spotless": "0.050 [0.000, 0.100] (over 7.0×)",
        "text of articles": "0.100 [0.050, 0.150]",
    }
    assert "draws 25 of 2000 pieces of 'articles', 20 tokens each" in methods_markdown(result)
    result["human_text"] = None
    assert [len(table.rows) for table in judge_tables(result)] == [3, 3]
    assert "draws 25" not in render_methods(result)


def test_the_markdown_has_every_row_and_says_who_graded(result: Result) -> None:
    text = methods_markdown(result)
    assert "Graded by strict and mild; what DPO and RAD learn from was labelled by strict." in text
    assert "**Mind:** judge 'strict' labelled too." in text
    lines = markdown(methods_table(result)).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert "- spotless: what spotless is" in text
    result["labeller"] = None
    assert "labelled by" not in methods_markdown(result)


def test_the_curve_is_toxicity_against_the_rise_in_perplexity(result: Result) -> None:
    points = tradeoff_points(result["rows"])
    assert [p.rise for p in points] == pytest.approx([0.0, 0.025, 0.5])
    assert [(p.value, p.low, p.high) for p in points[:1]] == [(0.8, 0.75, pytest.approx(0.85))]
    figure = str(tradeoff_figure(result["rows"]))
    where = {
        name: (float(x), float(y))
        for x, y, name in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>(\w+):', figure)
    }
    assert where["baseline"][0] < where["spotless"][0]  # dearer lies to the right
    assert where["baseline"][1] < where["spotless"][1]  # less toxic lies lower
    del result["rows"][1]["figures"]["perplexity"]
    assert len(tradeoff_points(result["rows"])) == 2


def test_what_a_method_is_called_is_escaped(result: Result) -> None:
    for text in (render_methods(result), str(tradeoff_figure(result["rows"]))):
        assert "<b>ours" not in text
        assert "&lt;b&gt;ours" in text
    assert "**" not in render_methods(result)
