from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from ifguide.evaluation.figures import Report
from ifguide.nouns import Corpus, Selection, TokenScores
from ifguide.report import figures
from ifguide.report.figures import Histogram, histogram, score_figure, toxicity_bars

Run = tuple[Corpus, TokenScores, Selection]


def _elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(tag))


def test_the_histogram_counts_every_token_with_a_loss_once(run: Run) -> None:
    corpus, scores, _ = run
    counts = histogram(scores.values, corpus.has_loss, 40)
    assert counts.columns.sum() == corpus.has_loss.sum()
    inside = scores.values[corpus.has_loss].astype(np.float64)
    expected, _ = np.histogram(inside, counts.edges)
    np.testing.assert_array_equal(counts.counts, expected)


def test_slabs_and_float16_change_no_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, scores, _ = run
    half = scores.values.astype(np.float16)
    whole = histogram(half, corpus.has_loss, 40)
    monkeypatch.setattr(figures, "_SLAB_TOKENS", 64)
    again = histogram(half, corpus.has_loss, 40)
    np.testing.assert_array_equal(whole.columns, again.columns)


def test_outliers_are_counted_at_the_ends_and_do_not_squeeze_the_rest() -> None:
    values = np.random.default_rng(0).normal(size=(100, 200)).astype(np.float32)
    values[0, :3] = (1e9, -1e9, 1e8)
    counts = histogram(values, np.ones_like(values, bool), 50)
    assert counts.edges[-1] < 10
    assert counts.above >= 2
    assert counts.below >= 1
    assert (counts.counts > 0).sum() > 40


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_equal_scores_and_none_at_all_still_make_a_figure(value: float) -> None:
    values = np.full((2, 8), value)
    for has_loss in (np.ones_like(values, bool), np.zeros_like(values, bool)):
        counts = histogram(values, has_loss, 10)
        assert counts.columns.sum() == has_loss.sum()
        assert "nan" not in score_figure(counts, None, float("nan")).replace("threshold nan", "")


def test_only_columns_above_the_threshold_are_coloured() -> None:
    edges = np.linspace(0.0, 10.0, 11)
    counts = Histogram(edges, np.full(10, 7), below=1, above=2)
    svg = score_figure(counts, counts, threshold=6.0)
    css = [box.get("class") for box in _elements(svg, "rect")]
    assert css == ["count"] * 7 + ["over"] * 5
    assert [box.get("class") for box in _elements(svg, "path")] == ["marked"]


def test_bars_are_as_long_as_their_figures(report: Report) -> None:
    svg = toxicity_bars(report.models, "tp")
    widths = [float(box.get("width", "")) for box in _elements(svg, "rect")]
    np.testing.assert_allclose(np.array(widths) / widths[0], [1, 0.1 / 0.6, 0.2 / 0.6, 0.05 / 0.6],
                               rtol=0.01)  # fmt: skip
    assert len(_elements(svg, "path")) == 4  # a whisker each
    assert "0.600 [0.550, 0.650]" in svg


def test_figures_have_names_and_no_script(report: Report) -> None:
    models = {"baseline": report.models["baseline"], "<script>": report.models["suppressed"]}
    svg = toxicity_bars(models, "emt")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert "<script>" in root.get("aria-label", "")
    assert next(iter(root)).tag == "title"
    assert not re.search(r"<script|\bon\w+=", svg)
