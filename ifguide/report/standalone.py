"""A figure as a file of its own, which a browser, a viewer or a Markdown page shows."""

from __future__ import annotations

import re

from markupsafe import Markup

from ifguide.report.figures import STYLE

COLOURS = """
svg { --paper: #ffffff; --ink: #1c1f23; --soft: #5d646d; --line: #e3e3de;
  --before: #9aa3ad; --after: #2b7a9e; --third: #8a6bb0; --hot: #d9683c;
  background: var(--paper); font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #1b1e22; --ink: #e8e9ea; --soft: #a1a8b0; --line: #2d3238;
    --before: #78828d; --after: #5db0d4; --third: #ad8fd6; --hot: #e07a4f; }
}
"""  # those of the page


def standalone(figure: Markup) -> str:
    """Return an inline figure as a whole SVG file, with its own colours and size."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', figure)
    assert size is not None
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[1]}" height="{size[2]}" '
    open_tag, rest = figure.removeprefix("<svg ").split(">", 1)
    return f"{head}{open_tag}><style>{COLOURS}{STYLE}</style>{rest}\n"
