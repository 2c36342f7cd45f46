"""Names of models, methods, judges, prompt sets and texts, in every output that shows them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hostile_names import HOSTILE, compared, reported
from hypothesis import given, settings
from hypothesis import strategies as st

from ifguide.evaluation.typed_json import typed_text
from ifguide.report.comparison import methods_markdown, methods_table, render_methods
from ifguide.report.curves import Axis, Curve, Point, curves_figure
from ifguide.report.display import visible_text, width_of
from ifguide.report.page import render_page
from ifguide.report.standalone import standalone
from ifguide.report.tables import comparison_table, plain_text
from ifguide.report.tradeoff import tradeoff_figure

NAMES = st.one_of(
    st.sampled_from(HOSTILE), st.text(st.characters(), max_size=30).map(lambda text: f"k{text}")
)
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def joined(name: str) -> str:
    """The name with the halves of a surrogate pair put together, as JSON has them."""
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def check_page(page: str, ordinary: str, name: str) -> None:
    """The page has the tags and attributes of an ordinary name's page, and shows the name."""
    seen, expected = _Page(page), _Page(ordinary)
    assert seen.tags == expected.tags
    assert seen.names == expected.names
    assert " ".join(visible_text(name).split()) in " ".join(seen.text.split())
    assert not ACTING.search(page)


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_a_comparison_s_page_has_no_markup_of_a_name(name: str) -> None:
    check_page(render_methods(compared(name)), render_methods(compared("k")), name)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_s_page_has_no_markup_of_a_name(name: str, run: Any) -> None:
    def page(name: str) -> str:
        return render_page(reported(name), *run, top=2, title=name)

    check_page(page(name), page("k"), name)


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_figures_are_sound_xml_and_tell_the_name(name: str) -> None:
    curve = Curve(name, [Point(0, 0.5, 0.4, 0.6), Point(1, 0.2)])
    for figure in (
        tradeoff_figure(compared(name).rows, name),
        curves_figure(name, [curve], Axis(name), name),
    ):
        root = ElementTree.fromstring(standalone(figure))
        known = {"svg", "style", "title", "text", "line", "path", "circle"}
        assert {element.tag.partition("}")[2] for element in root.iter()} <= known
        said = visible_text(name, one_line=True)
        assert any(element.text and said in element.text for element in root.iter())


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_tables_on_a_terminal_have_a_line_a_row_and_stand_in_columns(name: str) -> None:
    methods = plain_text(methods_table(compared(name)))
    assert not ACTING.search(methods)
    assert not ACTING.search(comparison_table(reported(name)))
    _, rule, header, _, *rows = methods.splitlines()
    assert len(rows) == 2
    assert {width_of(line) for line in (header, *rows)} == {len(rule)}


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_json_is_valid_and_keeps_the_name(name: str) -> None:
    def no_number(text: str) -> None:
        raise AssertionError(text)

    read = json.loads(typed_text(compared(name)), parse_constant=no_number)
    assert read["rows"][1]["name"] == joined(name)
    methods_markdown(compared(name)).encode()
