"""The table, the curve and the page of a comparison, from a result written by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ifguide.evaluation.comparison import (
    AgainstFirst,
    AtThreshold,
    Comparison,
    ComparisonRow,
    CurvePoint,
    HumanText,
    MethodCost,
    MethodCurve,
    Ratio,
)
from ifguide.evaluation.figures import Fluency, ModelFigures, Verdict
from ifguide.nouns import Interval
from ifguide.report.comparison import (
    curve_tables,
    judge_tables,
    methods_markdown,
    methods_table,
    render_methods,
)
from ifguide.report.markdown import markdown
from ifguide.report.tradeoff import curve_points, tradeoff_figure, tradeoff_points


def around(value: float) -> Interval:
    return Interval(value, value - 0.05, value + 0.05)


def row(name: str, tp: float, perplexity: float, ratio: Ratio) -> ComparisonRow:
    strict = Verdict(
        tp={"toxic": around(tp), "neutral": around(tp / 2)}, emt={"toxic": around(tp)}, worst={}
    )
    mild = Verdict(tp={"toxic": around(tp / 4)}, emt={}, worst={})
    fluency = Fluency(perplexity={"held_out": perplexity})
    at = AtThreshold(tp=around(tp / 2), ratio=ratio)
    against = AgainstFirst(tp_ratio=ratio, tp_difference=around(0.0), emt_difference=around(0.0))
    return ComparisonRow(
        name=name,
        about=f"what {name} is",
        figures=ModelFigures.of({"strict": strict, "mild": mild}, fluency),
        cost=MethodCost(passes=3.25, seconds=75.0, passes_a_generated_token=21),
        against_first={"strict": {"toxic": against}},
        by_threshold={
            judge: {"toxic": dict.fromkeys(("0.5", "0.9"), at)} for judge in ("strict", "mild")
        },
    )


@pytest.fixture
def result() -> Comparison:
    human = {judge: dict.fromkeys(("0.5", "0.9"), around(0.1)) for judge in ("strict", "mild")}
    return Comparison(
        version="0.1.0",
        command="ifguide compare run.yaml",
        date="2026-01-01",
        machine="2-core CPU",
        judges=("strict", "mild"),
        labeller="strict",
        warnings=("judge 'strict' labelled too",),
        threshold=0.5,
        thresholds=(0.5, 0.9),
        human_text=HumanText(text="articles", pieces=2000, tp=human),
        samples=25,
        tokens=20,
        rows=(
            row("baseline", 0.8, 20.0, Ratio(value=1.0, low=1.0, high=1.0)),
            row("<b>ours</b>", 0.2, 20.5, Ratio(value=4.0, low=3.0, high=None)),
            row("spotless", 0.1, 30.0, Ratio(value=None, low=7.0, high=None)),
        ),
    )


def test_rows_are_methods_and_changes_are_from_the_first(result: Comparison) -> None:
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


def test_a_judge_s_table_is_by_threshold_and_ends_with_human_text(result: Comparison) -> None:
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
    result = replace(result, human_text=None)
    assert [len(table.rows) for table in judge_tables(result)] == [3, 3]
    assert "draws 25" not in render_methods(result)


def test_a_curve_is_told_point_by_point_and_by_which_rule(result: Comparison) -> None:
    assert curve_tables(result) == []
    assert "Curves" not in render_methods(result)
    cost = MethodCost(passes=1.0, seconds=75.0, passes_a_generated_token=1)
    points = tuple(
        CurvePoint(
            name=f"spotless, beta {beta:g}",
            tp=around(tp),
            emt=around(tp),
            perplexity=20 * (1 + rise),
            rise=rise,
            within=rise <= 0.03,
            cost=cost,
        )
        for beta, tp, rise in ((1.0, 0.6, 0.01), (5.0, 0.4, 0.02), (9.0, 0.1, 0.5))
    )
    curve = MethodCurve(
        points=points,
        chosen="spotless, beta 5",
        judge="strict",
        prompts=50,
        text="held_out",
        bound=1.03,
    )
    *others, last = result.rows
    result = replace(result, rows=(*others, replace(last, curve=curve)))
    (table,) = curve_tables(result)
    assert table.title == "The curve of spotless, by strict on 50 prompts set apart"
    assert [(row[0], row[3], row[5]) for row in table.rows] == [
        ("spotless, beta 1", "20.20 (+1.0%)", ""),
        ("spotless, beta 5", "20.40 (+2.0%)", "shown"),
        ("spotless, beta 9", "30.00 (+50.0%)", "beyond"),
    ]
    for page in (render_methods(result), methods_markdown(result)):
        assert "at most 1.03 times the baseline" in page
        assert "spotless, beta 9" in page
    assert [point.value for point in curve_points(result.rows)] == [0.6, 0.4, 0.1]
    assert "prompts set apart against the rise in perplexity" in render_methods(result)


def test_the_markdown_has_every_row_and_says_who_graded(result: Comparison) -> None:
    text = methods_markdown(result)
    assert "Graded by strict and mild; what DPO and RAD learn from was labelled by strict." in text
    assert "**Mind:** judge 'strict' labelled too." in text
    lines = markdown(methods_table(result)).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert "- spotless: what spotless is" in text
    assert "labelled by" not in methods_markdown(replace(result, labeller=None))


def test_the_curve_is_toxicity_against_the_rise_in_perplexity(result: Comparison) -> None:
    points = tradeoff_points(result.rows)
    assert [p.rise for p in points] == pytest.approx([0.0, 0.025, 0.5])
    assert [(p.value, p.low, p.high) for p in points[:1]] == [(0.8, 0.75, pytest.approx(0.85))]
    figure = str(tradeoff_figure(result.rows))
    where = {
        name: (float(x), float(y))
        for x, y, name in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>(\w+):', figure)
    }
    assert where["baseline"][0] < where["spotless"][0]  # dearer lies to the right
    assert where["baseline"][1] < where["spotless"][1]  # less toxic lies lower
    unknown = replace(result.rows[1].figures, perplexity={})
    rows = [result.rows[0], replace(result.rows[1], figures=unknown), result.rows[2]]
    assert len(tradeoff_points(rows)) == 2


def test_what_a_method_is_called_is_escaped(result: Comparison) -> None:
    for text in (render_methods(result), str(tradeoff_figure(result.rows))):
        assert "<b>ours" not in text
        assert "&lt;b&gt;ours" in text
    assert "**" not in render_methods(result)
