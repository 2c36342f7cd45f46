"""The project's pages, and the fenced blocks in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """The contents of the page's fenced blocks of one language."""
    return [text for kind, text in FENCE.findall(page.read_text("utf-8")) if kind == language]


def prose(page):
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))
