"""What a notebook shows of a noun: its text as it is, what is selected, and no markup of others."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from ifguide.nouns import Corpus, Interval, Selection, TokenScores
from ifguide.report.notebook import selection_html

KNOWN = {"style", "div", "p", "bdi", "mark", "span", "table", "thead", "tbody", "tr", "th", "td"}
KNOWN |= {"strong"}


class _Seen(HTMLParser):
    """The tags, the attributes' names, and the text by the tag that it stands in."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.stack: list[str] = []
        self.marked: list[str] = []
        self.text = ""
        self.feed(fragment)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "mark" in self.stack:
            self.marked.append(data)
        if "bdi" in self.stack:
            self.text += data


def test_a_selection_shows_its_highest_documents_and_just_what_is_selected(
    run: tuple[Corpus, TokenScores, Selection],
) -> None:
    corpus, _, selection = run
    seen = _Seen(selection._repr_html_())
    first = corpus.documents[int(selection.ranking[0])]
    assert first.text.split("\n")[0] in seen.text
    shown = np.isin(corpus.document, selection.ranking[:5]) & selection.suppress
    assert len(seen.marked) == int(shown.sum())
    tokens, selected = int(corpus.has_loss.sum()), int(selection.suppress.sum())
    assert f"{selected:,} of {tokens:,} tokens are selected" in selection._repr_html_()


def test_nothing_in_a_text_or_a_name_is_taken_for_markup(
    run: tuple[Corpus, TokenScores, Selection],
) -> None:
    corpus, _, selection = run
    hostile = replace(
        selection, ranking=np.array([3]), rank_value=np.array([1.0]), suppress=corpus.document == 3
    )
    fragment = selection_html(hostile)
    seen = _Seen(fragment)
    assert seen.tags <= KNOWN
    assert seen.attributes <= {"class", "id", "scope"}
    assert "\x1b" not in fragment
    assert "<script>document.title='owned'</script>" in seen.text


def test_a_report_shows_its_tables_and_escapes_names(report) -> None:  # type: ignore[no-untyped-def]
    name = "<img src=x onerror=alert(1)>"
    models = dict(report.models)
    figures = models["baseline"]
    models["baseline"] = replace(figures, tp={**figures.tp, name: Interval(0.5, 0.4, 0.6)})
    seen = _Seen(replace(report, models=models)._repr_html_())
    assert seen.tags <= KNOWN
    plain = report._repr_html_()
    assert "0.31" in plain
    assert "suppressed" in plain
