"""Lay out the site's pages: those written by hand, the records, and a reference read off the code.

    python docs/site_pages.py build/docs  # then: zensical build --strict; `make docs` does both

Everything in the reference comes from the parsers, the settings' dataclasses and the docstrings
that the program itself goes by, so that it cannot say anything else than they do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["COLUMNS"] = "100"  # of what argparse prints

import ifguide  # noqa: E402
from ifguide.commands.main import _parser  # noqa: E402
from ifguide.evaluation.figures import Report  # noqa: E402
from ifguide.settings.config import Config  # noqa: E402
from ifguide.settings.manual import Setting, about, settings_of  # noqa: E402


def main() -> None:
    """Write every page under the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-run", action="store_true", help="show the guides without outputs")
    given = parser.parse_args()
    folder = given.folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in folder.rglob("*.md"):
        text = page.read_text("utf-8").replace("../benchmarks/records/", "results/")
        page.write_text(text, encoding="utf-8")
    for name, text in pages().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if not given.no_run:
        for page in sorted((folder / "guides").glob("*.md")):
            run_guide(page)
    for picture in sorted((ROOT / "benchmarks" / "records").glob("*.svg")):
        shutil.copy(picture, folder / "results" / picture.name)


def run_guide(page: Path) -> None:
    """Run a guide's blocks of Python as a notebook, and put what each shows behind it.

    The notebook, with its outputs, is written beside the page.
    """
    notebook = jupytext.read(page)
    if not any(cell.cell_type == "code" for cell in notebook.cells):
        return
    with tempfile.TemporaryDirectory() as place:
        settings = {"timeout": 600, "resources": {"metadata": {"path": place}}}
        NotebookClient(notebook, **settings).execute()
    jupytext.write(notebook, page.with_suffix(".ipynb"))
    parts = [
        cell.source if cell.cell_type == "markdown" else _with_outputs(cell)
        for cell in notebook.cells
    ]
    parts.append(f"[This page as a notebook]({page.stem}.ipynb)")
    page.write_text(_paged(parts), encoding="utf-8")


def _with_outputs(cell: Any) -> str:
    """Return a cell of code, and what it printed or showed."""
    parts = [f"```python\n{cell.source}\n```"]
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            parts.append(f"```text\n{output.text.rstrip()}\n```")
        elif "text/html" in output.get("data", {}):
            parts.append(output.data["text/html"])
        elif "text/plain" in output.get("data", {}):
            parts.append(f"```text\n{output.data['text/plain']}\n```")
    return "\n\n".join(parts)


def pages() -> dict[str, str]:
    """Return the pages that are made: by file name, in Markdown."""
    return {
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/report.md": report(),
        "reference/api.md": api(),
        **dict(records()),
    }


def commands() -> str:
    """Return every command with its help, as it prints it."""
    (choices,) = (
        action.choices
        for action in _parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    told = ["# Commands", "What `ifguide COMMAND --help` prints, for every command."]
    for name, parser in choices.items():
        told += [f"## {name}", f"```text\n{parser.format_help().rstrip()}\n```"]
    return _paged(told)


def settings() -> str:
    """Return every setting by its section of the YAML."""
    told = [
        "# Settings",
        "Every setting of a run's YAML, with its type, what it is when it is not given, and what "
        "it means. `ifguide run --settings` prints the same, `ifguide schema` the JSON schema that "
        "editors complete by. On the command line a setting is `--section.name value`.",
    ]
    for section, found in groupby(settings_of(Config), lambda s: s.name.partition(".")[0]):
        told += [f"## {section}", *_described(found, section)]
    return _paged(told)


def report() -> str:
    """Return every field of ``report.json``."""
    told = ["# Fields of report.json", about(Report)]
    for section, found in groupby(settings_of(Report), lambda s: s.name.partition(".")[0]):
        told += [f"## {section}", *_described(found, section)]
    return _paged(told)


def _described(found: Iterable[Setting], section: str) -> Iterator[str]:
    for setting in found:
        default = f", `{setting.default}`" if setting.default else ""
        name = "" if setting.name == section else f"**`{setting.name}`** "
        yield f"{name}*{setting.kind}*{default}"
        same = f" `{setting.below}.*`: as `{setting.same_as}.*` above." if setting.same_as else ""
        if setting.meaning or same:
            yield f"{setting.meaning}{same}".strip()


def api() -> str:
    """Return the page on which the docstrings of every public name are put."""
    told = ["# API", "Every name of the package, with its docstring.", "::: ifguide"]
    told[-1] += "\n    options:\n      members: false\n      show_root_heading: false"
    names = sorted(set(ifguide.__all__) - {"__version__"}, key=str.lower)
    told += [f"::: ifguide.{name}" for name in names]
    return _paged(told)


def records() -> Iterator[tuple[str, str]]:
    """Yield a page for each record, and the page that lists them."""
    rows = ["| record | what it is |", "|---|---|"]
    for file in sorted((ROOT / "benchmarks" / "records").glob("*.md")):
        text = file.read_text("utf-8")
        title = next(line for line in text.splitlines() if line.startswith("# "))
        rows.append(f"| [{file.stem}]({file.name}) | {title.removeprefix('# ')} |")
        yield f"results/{file.name}", text
    told = [
        "# Results",
        "What was measured, each with the command that made it. Figures elsewhere in these pages "
        "are read from here.",
        "\n".join(rows),
    ]
    yield "results/index.md", _paged(told)


def _paged(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
