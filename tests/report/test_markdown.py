"""Names in Markdown, as a parser of Markdown reads them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ifguide.report.display import visible_text
from ifguide.report.markdown import in_code, in_markdown, markdown
from ifguide.report.tables import Table

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
MARKUP = st.text(st.sampled_from("\\`*_~[]()<>#+-.!|$&:;=\"' \t\n1ax/^{}é\x1b\u202e"), max_size=20)
NAMES = st.one_of(MARKUP, st.text(max_size=20))
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![seen](https://example.org/pixel)",
    "[a]: javascript:alert(1)",
    "</td></table><h1>owned",
    "`</code><b>",
    "# big",
    "- - list",
    "1. first",
    "[x] done",
    "--- | ---",
    "a\\|b|c",
    "&lt;b&gt; &#60;",
]


class _Read(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(READER.render(source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def plain(text: str) -> str:
    """What is to be read of a name; Markdown folds spaces at no place but the ends."""
    return visible_text(text, one_line=True).strip()


def check(name: str) -> None:
    assert "\n" not in in_markdown(name)
    for before, said, tags in (
        ("", "", ["p"]),
        ("- ", "", ["ul", "li"]),
        ("## By ", "By ", ["h2"]),
    ):
        read = _Read(f"{before}{in_markdown(name)}")
        assert read.tags == tags or not plain(name)
        assert read.text.strip() == f"{said}{plain(name)}".strip()
    cells = _Read(markdown(Table("t", "t", ("", name), ((name, "0.1 [0.0, 0.2]"),))))
    assert cells.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert plain(name) in cells.text
    code = _Read(in_code(f"ifguide {name}"))
    assert code.tags == ["p", "code"]
    assert code.text.strip() == f"ifguide {visible_text(name, one_line=True)}".strip()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_looks_like_markup_is_text(name: str) -> None:
    check(name)


@given(NAMES)
def test_any_name_is_read_as_it_is(name: str) -> None:
    check(name)
