from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from ifguide.nouns import TrainingCurve, TrainingPoint
from ifguide.report.attacks import (
    attack_figures,
    attack_markdown,
    attack_text,
    gcg_figure,
    lens_figure,
    relearn_figure,
)
from ifguide.report.curves import BASE, LEFT, RIGHT, TOP, Axis, Curve, Point, curves_figure
from ifguide.report.learning import learning_figures
from ifguide.report.standalone import standalone

Results = dict[str, dict[str, dict[str, Any]]]
NUMBER = r"(-?[\d.]+)"


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


@pytest.fixture
def results() -> Results:
    def searched(*losses: list[float]) -> dict[str, Any]:
        names = ("success_before", "success", "loss_before", "loss")
        figures = {name: interval(0.2 * n) for n, name in enumerate(names, 1)}
        return {**figures, "pairs": [{"losses": found} for found in losses]}

    def tuned(*values: float) -> dict[str, Any]:
        points = zip((0, 10, 100), values, strict=True)
        return {
            "points": [
                {"posts": n, "tokens": 9 * n, "updates": n // 4, "tp": interval(v)}
                for n, v in points
            ]
        }

    return {
        "gcg": {"baseline": searched([4.0, 2.0], [6.0, 4.0, 1.0]), "suppressed": searched([9.0])},
        "relearn": {"baseline": tuned(0.8, 0.7, 0.9), "suppressed": tuned(0.1, 0.3, 0.6)},
        "lens": {
            "baseline": {"toxic": [-6.0, -3.0], "safe": [-5.0, -2.0]},
            "suppressed": {"toxic": [-6.0, -8.0], "safe": [-5.0, -2.5]},
        },
    }


def lines(svg: str) -> list[tuple[str, np.ndarray]]:
    """The class and the (x, y) of each curve."""
    found = []
    for css, path in re.findall(r'<path class="(line[^"]*)" d="M([^"V]*?)"', svg):
        if "h" not in path:
            found.append((css, np.array([re.split(" ", p) for p in path.split("L")], dtype=float)))
    return found


def test_points_lie_where_the_axes_say() -> None:
    points = [Point(0, -2.0), Point(5, 0.0), Point(20, 2.0)]
    svg = curves_figure("t", [Curve("a", points)], Axis("x"), "y")
    ((css, places),) = lines(svg)
    assert css == "line0"
    np.testing.assert_allclose(
        places[:, 0], LEFT + np.array([0, 0.25, 1]) * (RIGHT - LEFT), atol=0.1
    )
    np.testing.assert_allclose(places[:, 1], [BASE, (BASE + TOP) / 2, TOP], atol=0.1)
    labels = {
        float(text): float(y)
        for y, text in re.findall(rf'y="{NUMBER}" class="" text-anchor="end">{NUMBER}<', svg)
    }
    for value, y in ((-2.0, BASE), (0.0, (BASE + TOP) / 2), (2.0, TOP)):
        assert labels[value] == pytest.approx(y + 4, abs=0.1)


def test_a_stretched_axis_is_labelled_at_its_points() -> None:
    points = [Point(n, 0.5, 0.4, 0.6) for n in (0, 9, 99, 100)]
    svg = curves_figure("t", [Curve("a", points)], Axis("posts", by_logarithm=True), "y")
    ((_, places),) = lines(svg)
    share = np.log10([1, 10, 100, 101]) / np.log10(101)
    np.testing.assert_allclose(places[:, 0], LEFT + share * (RIGHT - LEFT), atol=0.1)
    labels = re.findall(r'text-anchor="middle">(\d+)<', svg)
    assert labels == ["0", "9", "99"]  # 100 would be written over 99
    whisker = re.findall(rf'd="M{NUMBER} {NUMBER}V{NUMBER}"', svg)
    assert len(whisker) == 4
    low, high = (float(y) for y in whisker[0][1:])
    assert low > places[0, 1] > high


@pytest.mark.parametrize("points", [[], [Point(3, 0.0)], [Point(0, 1.0), Point(1, 1.0)]])
def test_few_and_equal_points_still_make_a_figure(points: list[Point]) -> None:
    svg = curves_figure("t", [Curve("a", points)] if points else [], Axis("x"), "y")
    ElementTree.fromstring(svg)
    assert not re.search(r"nan|inf\b", svg)


def test_a_search_that_ended_keeps_its_loss(results: Results) -> None:
    (first, places), (second, flat) = lines(gcg_figure(results["gcg"]))
    assert (first, second) == ("line0", "line1")
    heights = BASE - places[:, 1]
    np.testing.assert_allclose(heights / heights[0], [1, 3 / 5, 1.5 / 5], rtol=0.01)
    np.testing.assert_allclose(flat[:, 1], TOP, atol=0.1)


def test_both_sides_of_a_model_share_its_colour(results: Results) -> None:
    css = [name for name, _ in lines(lens_figure(results["lens"]))]
    assert css == ["line0", "line0 dashed", "line1", "line1 dashed"]
    assert "suppressed, toxic" in lens_figure(results["lens"])


def test_intervals_are_told(results: Results) -> None:
    svg = relearn_figure(results["relearn"])
    assert "suppressed, toxic posts 10: 0.300 [0.200, 0.400]" in svg


@pytest.mark.parametrize("make", [gcg_figure, relearn_figure, lens_figure])
def test_names_are_escaped_and_files_stand_alone(
    make: Callable[[Any], Markup], results: Results
) -> None:
    kind = make.__name__.removesuffix("_figure")
    models = {"<script>": results[kind]["baseline"], "b": results[kind]["suppressed"]}
    text = standalone(make(models))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("width"), root.get("role")) == ("560", "img")
    assert "<script>" in root.get("aria-label", "")
    assert not re.search(r"<script|\bon\w+=", text)
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert used <= set(re.findall(r"(--\w+):", text))
    classes = {name for value in re.findall(r' class="([^"]+)"', text) for name in value.split()}
    for name in classes - {"figure"}:
        assert f".figure .{name} {{" in text


def test_tables_hold_every_figure(results: Results) -> None:
    text = attack_text(results)
    for cell in ("0.400 [0.300, 0.500]", "0.600 [0.500, 0.700]", "-8.00", "900", "25"):
        assert cell in text
    page = attack_markdown(results)
    assert page.count("\n## ") == 3
    assert [name for name in ("gcg", "relearn", "lens") if f"({name}.svg)" in page] == [
        *attack_figures(results)
    ]
    assert "| Success, after it | 0.400 [0.300, 0.500] | 0.400 [0.300, 0.500] |" in page
    assert "| layer 1 | -3.00 | -8.00 | -2.00 | -2.50 |" in page


def test_what_is_not_there_is_left_out(results: Results) -> None:
    only = {"lens": results["lens"], "gcg": {}}
    assert list(attack_figures(only)) == ["lens"]
    assert attack_markdown(only).count("\n## ") == 1


def test_trainings_are_drawn_a_measure_a_figure_and_a_model_a_colour() -> None:
    hostile = "<b onclick=x>"
    points = [
        TrainingPoint(update=10, benign_loss=3.0, suppressed_loss=5.0, learning_rate=1e-3),
        TrainingPoint(update=20, benign_loss=2.0, suppressed_loss=7.0),
    ]
    plain = TrainingCurve(points=(TrainingPoint(update=20, benign_loss=1.0),))
    trained = {"plain": plain, hostile: TrainingCurve(points=tuple(points))}
    found = {drawn.title: drawn for drawn in learning_figures(trained)}
    drawn = {title: drawn.figure for title, drawn in found.items()}
    assert list(drawn) == ["Loss", "Learning rate"]  # nothing has a guard
    assert hostile not in "".join(drawn.values())
    root = ElementTree.fromstring(drawn["Loss"])
    paths = [path.get("class") for path in root.iter("path")]
    assert paths[:3] == ["line0", "line1", "line1 dashed"]
    lowest = max(float(dot.get("cy", "nan")) for dot in root.iter("circle"))
    assert lowest == pytest.approx(BASE - (BASE - TOP) / 7, abs=0.1)


def test_the_figures_of_a_training_are_a_table_of_some_updates_and_the_last() -> None:
    points = [TrainingPoint(update=n, benign_loss=3.0 / n) for n in range(1, 102)]
    some = TrainingCurve(points=(TrainingPoint(update=101, benign_loss=0.25),))
    (drawn,) = learning_figures({"long": TrainingCurve(points=tuple(points)), "short": some})
    assert drawn.table.header == ("updates", "long", "short")
    assert drawn.table.rows[-1] == ("101", f"{3 / 101:.4g}", "0.25")
    assert drawn.table.rows[-2] == ("95", f"{3 / 95:.4g}", "–")
    assert 10 < len(drawn.table.rows) <= 20


def test_a_run_without_trainings_has_no_figure_of_them() -> None:
    assert learning_figures({}) == []
