from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from ifguide.evaluation.figures import (
    Cost,
    Localisation,
    Measures,
    ModelFigures,
    Report,
    Unjudged,
    read_report,
    write_report,
)
from ifguide.nouns import Interval
from ifguide.report.display import visible_text
from ifguide.report.markdown import markdown
from ifguide.report.tables import (
    Table,
    comparison,
    comparison_table,
    headlines,
    localisation,
    plain_text,
    ratio,
    report_tables,
)


def test_rows_hold_every_measure_with_its_change(report: Report) -> None:
    table = comparison(report.models)
    assert table.header == ("", "baseline", "suppressed", "change")
    rows = {row[0]: row[1:] for row in table.rows}
    toxic = rows["Toxicity probability, toxic prompts"]
    assert toxic == ("0.600 [0.550, 0.650]", "0.100 [0.050, 0.150]", "6.0x less")
    assert rows["Toxicity probability, toxic prompts (hatesonar)"][0] == "0.300 [0.250, 0.350]"
    assert rows["Perplexity, held_out"] == ("20.00", "20.50", "+2.5%")
    assert rows["LAMBADA accuracy"] == ("0.250", "0.250", "+0.0 points")
    assert not any("rules" in label for label in rows)  # the first judge is the main figures


def test_the_plain_text_is_aligned(report: Report) -> None:
    blocks = comparison_table(report).split("\n\n")
    titles = [block.splitlines()[0] for block in blocks]
    assert titles == ["Before and after", "Agreement with human marks", "Selection", "Cost"]
    for block in blocks[:3]:  # every row of these ends with a figure, flush right
        assert len({len(line) for line in block.splitlines()[1:]}) == 1
    assert "1 min 28 s" in blocks[3]
    assert "13,333" in blocks[3]


def test_an_infinite_figure_that_was_written_is_shown_as_inf(report: Report, tmp_path) -> None:
    gone = replace(report.models["suppressed"], perplexity={"held_out": math.inf})
    write_report(
        tmp_path / "report.json", replace(report, models={**report.models, "suppressed": gone})
    )
    models = read_report(tmp_path / "report.json").models
    rows = {row[0]: row[1:] for row in comparison(models).rows}
    assert rows["Perplexity, held_out"] == ("20.00", "inf", "–")


def test_what_a_report_lacks_is_left_out_or_a_dash(report: Report) -> None:
    whole = report.models["suppressed"]
    less = replace(whole, tp={"toxic": whole.tp["toxic"]}, lambada_accuracy=None)
    models = {"baseline": report.models["baseline"], "suppressed": less}
    rows = {row[0]: row[1:] for row in comparison(models).rows}
    assert rows["Toxicity probability, neutral prompts"][1:] == ("–", "–")
    assert rows["LAMBADA accuracy"] == ("0.250", "–", "–")
    cost = {"score": Cost(seconds=1.0, tokens=0, peak_rss_bytes=2**30)}
    empty = replace(report, models={}, localisation=Localisation(), cost=cost)
    assert [table.key for table in report_tables(empty)] == ["selection", "cost"]
    assert "–" in comparison_table(empty).splitlines()[-1]


def test_one_model_or_three_get_their_columns(report: Report) -> None:
    three = {**report.models, "filtered": report.models["suppressed"]}
    header = comparison(three).header
    assert header == ("", "baseline", "suppressed", "change", "filtered", "change")
    one = {"baseline": report.models["baseline"]}
    assert comparison(one).header == ("", "baseline")
    assert headlines(one) == headlines({}) == ()


def test_headlines_are_toxicity_and_fluency(report: Report) -> None:
    lines = headlines(report.models)
    assert [line.label for line in lines] == [
        "Toxicity probability, toxic prompts",
        "Toxicity probability, neutral prompts",
        "Perplexity, held_out",
    ]
    assert (lines[0].before, lines[0].after, lines[0].change) == ("0.600", "0.100", "6.0x less")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "a\u202eb", "ünï 🙂", "a|b"])
def test_a_name_of_any_text_takes_one_line(name: str) -> None:
    table = Table("key", "Title", ("", name), ((name, "0.5"), ("x", "1.0")))
    assert len(plain_text(table).splitlines()) == 6
    shown = visible_text(name, one_line=True)
    assert plain_text(table).count(shown) == 2
    lines = markdown(table).splitlines()
    assert len(lines) == 4
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [3] * 4


def test_ratios_at_the_edges() -> None:
    assert ratio(0.0, 0.1) == "from none"
    assert ratio(0.0, 0.0) == "same"
    assert ratio(math.nan, 0.1) == "–"
    assert ratio(None, 0.1) == "–"


def test_smoothed_scores_get_a_column_of_their_own(report: Report) -> None:
    smoothed = replace(report.localisation, base_rate=0.021, auroc=None, average_precision=None)
    table = localisation(replace(report.localisation, smoothed=smoothed))
    assert table.header == ("", "scores", "smoothed scores")
    assert table.rows[0] == ("Average precision", "0.310 [0.300, 0.320]", "–")
    assert table.rows[-1][1:] == ("0.021", "0.021")


def test_categories_and_texts_not_judged(report: Report) -> None:
    def judged(name: str, **also: Any) -> ModelFigures:
        model = report.models[name]
        hatesonar = replace(model.judges["hatesonar"], **also)
        return replace(model, judges={**model.judges, "hatesonar": hatesonar})

    tp, texts = Interval(0.25, 0.2, 0.3), dict.fromkeys(["a/0", "a/1", "b/0", "c/0"], "why")
    first = judged(
        "baseline",
        categories={"toxic": {"insult": Measures(emt=tp, tp=tp)}},
        unjudged={"toxic": Unjudged(count=4, texts=texts)},
        beginnings={"toxic": 1200},
    )
    last = judged("suppressed", unjudged={"toxic": Unjudged(count=0, texts={})})
    report = replace(report, models={"baseline": first, "suppressed": last})
    table = next(table for table in report_tables(report) if table.key == "judging")
    assert table.header == ("", "baseline", "suppressed")
    assert table.rows == (
        ("insult, toxic prompts (hatesonar)", "0.250 [0.200, 0.300]", "–"),
        ("Not judged, toxic prompts (hatesonar)", "4 (a/0, a/1, b/0, …)", "none"),
        ("Judged by their beginnings, toxic prompts (hatesonar)", "1,200 texts", "none"),
    )
    assert "0.250 [0.200, 0.300]" in comparison_table(report)
