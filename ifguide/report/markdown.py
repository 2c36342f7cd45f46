"""Text and tables as Markdown in which nothing that people named is taken for markup."""

from __future__ import annotations

import html
import re

from ifguide.report.display import visible_text
from ifguide.report.tables import Table

# what CommonMark and GitHub give a meaning to; an underscore inside a word has none
_MARKUP = re.compile(
    r"[\\`*~$#]|(?<![^\W_])_|_(?![^\W_])"  # code, emphasis, headings
    r"|\](?=[(\[:])"  # the end of a link's text
    r"|^[-+](?=[-+\s]|$)|^\["  # a list's, rule's or task's beginning
)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_FENCES = re.compile("`+")


def in_markdown(text: str) -> str:
    r"""Return text as one line of Markdown that shows it as it is.

    >>> in_markdown("*a* <b> [c](d) e_f [0.1, 0.2]")
    '\\*a\\* &lt;b&gt; [c\\](d) e_f [0.1, 0.2]'
    """
    plain = visible_text(text, one_line=True).strip()
    escaped = _NUMBERED.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", plain))
    return html.escape(escaped, quote=False)


def in_code(text: str) -> str:
    """Return text, which may not be empty, as a code span of one line.

    >>> in_code("a `b` c")
    '`` a `b` c ``'
    """
    plain = visible_text(text, one_line=True)
    longest = max((len(run) for run in _FENCES.findall(plain)), default=0)
    fence, room = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{room}{plain}{room}{fence}"


def markdown(table: Table) -> str:
    """Return a table as Markdown, the first column to the left."""
    header, *rows = (
        "| " + " | ".join(map(_cell, row)) + " |" for row in (table.header, *table.rows)
    )
    lines = [header, "|---" + "|---:" * (len(table.header) - 1) + "|", *rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return in_markdown(text).replace("|", "\\|")
