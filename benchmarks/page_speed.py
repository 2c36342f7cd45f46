"""What a page of thousands of documents takes of a browser's main thread, action by action.

    python benchmarks/page_speed.py [--documents 10000] [--out FILE.md]
    python benchmarks/page_speed.py --quick

The page is that of generated documents and scores. Each action is done several times in headless
Chromium, under its own trace: how much processor time the tasks of the page's main thread took in
all, and the longest of them, during which nothing else can be answered. Processor time is as the
kernel counts it for the thread: what else the machine does lengthens it little. A task of up to
16.7 ms costs no frame of 60 a second; from 50 ms on, browsers call a task long.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from ifguide.corpus.documents import Documents
from ifguide.evaluation.figures import Localisation, Report, SelectionSummary
from ifguide.files import write_json, write_text
from ifguide.nouns import Corpus, Document, Selection, TokenScores
from ifguide.report.page import render_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BLOCK = 256
LENGTHS = (60, 180)  # words of a document
TEXT = (
    "the a river people walked along singing weather mild old farm red gate you fool house light "
    "over under green water evening road said never always they she he would"
)
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
MAIN = "CrRendererMain"  # what traces call a page's main thread
TASK = "ThreadControllerImpl::RunTask"
TRACED = ["toplevel"]
PATIENCE = 600_000  # milliseconds, for a machine that does other things as well
# what is done, and what is true once the page shows what it led to
ACTIONS: dict[str, tuple[str, str]] = {
    "search a word at once: all texts are read, in slices": (
        'search.value = "gate"; find.dispatchEvent(new Event("input", {bubbles: true}))',
        'count.textContent.includes("in all")',
    ),
    "let the word go": (
        'search.value = ""; find.dispatchEvent(new Event("input", {bubbles: true}))',
        '!count.textContent.includes("in all")',
    ),
    "search a word": (
        'search.value = "gate"; find.dispatchEvent(new Event("input", {bubbles: true}))',
        'count.textContent.includes("in all")',
    ),
    "let it go again": (
        'search.value = ""; find.dispatchEvent(new Event("input", {bubbles: true}))',
        '!count.textContent.includes("in all")',
    ),
    "sort by selected tokens": (
        'sort.value = "-selected"; find.dispatchEvent(new Event("input", {bubbles: true}))',
        "true",
    ),
    "keep one source": (
        "source.selectedIndex = 2; find.dispatchEvent(new Event('input', {bubbles: true}))",
        'count.textContent.includes("in all")',
    ),
    "take all, by rank": (
        "source.selectedIndex = 0; sort.value = 'rank';"
        "find.dispatchEvent(new Event('input', {bubbles: true}))",
        '!count.textContent.includes("in all")',
    ),
    "turn to the next leaf": ("on.click()", "true"),
    "jump to the token of a score": (
        "score.value = '2.5'; jump.requestSubmit()",
        "document.querySelector('i.now')",
    ),
    "jump to the next lower score": (
        "window.before = document.querySelector('i.now').title; lower.click()",
        "document.querySelector('i.now').title !== window.before",
    ),
}
ACT = """
async ([act, shown]) => {
  const ids = ["search", "find", "count", "sort", "source", "on", "score", "jump", "lower"];
  const elements = ids.map(id => document.getElementById(id));
  const bound = text => new Function(...ids, text).bind(null, ...elements);
  const isShown = bound(`return ${shown}`);
  bound(act)();
  while (!isShown()) await new Promise(done => requestAnimationFrame(done));
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the page of figures, and return 0."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser().parse_args(given)
    documents, repeats = (100, 1) if parsed.quick else (parsed.documents, parsed.repeats)
    with tempfile.TemporaryDirectory() as scratch:
        file, made = generated(documents, Path(scratch))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=_browser(), args=["--no-sandbox"])
            name = f"Chromium {browser.version}"
            runs = [measured(browser, file) for _ in range(repeats)]
            browser.close()
    table = {
        "command": shlex.join(["python", "benchmarks/page_speed.py", *given]),
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()}-core CPU, {name}, headless",
        "repeats": repeats,
        **made,
        "rows": [
            {
                "name": action,
                "longest": [run[action][0] for run in runs],
                "all": [run[action][1] for run in runs],
            }
            for action in runs[0]
        ],
    }
    page = render(table)
    if parsed.out:
        write_text(parsed.out, page)
        write_json(parsed.out.with_suffix(".json"), table)
    print(page, end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Times of a page's actions in a browser.")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where the page goes; FILE.json lies beside it")
    parser.add_argument("--quick", action="store_true", help="100 documents, once")
    return parser


def _browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"page: none of {', '.join(BROWSERS)} is installed")
    return found


def generated(count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Write the page of ``count`` documents, each with a token above the threshold."""
    draw = np.random.default_rng(0)
    corpus = _corpus(count, folder / "documents.arrow", draw)
    values = draw.standard_t(4, corpus.tokens.shape).astype(np.float32) * corpus.has_loss
    rows, columns = (place.reshape(-1) for place in np.indices(corpus.tokens.shape))
    scored = np.where(corpus.has_loss, corpus.document, -1)
    first = np.unique(scored, return_index=True)[1][-count:]
    values[rows[first], columns[first]] = 9.0 + draw.random(count).astype(np.float32)
    suppress = values > np.quantile(values[corpus.has_loss], 0.98)
    numbers, counts = np.unique(corpus.document[suppress], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    selection = Selection(
        suppress=suppress,
        threshold=float(values[suppress].min()),
        budget=int(suppress.sum()),
        ranking=numbers[order],
        rank_value=counts[order] / counts.max(),
        corpus=corpus,
    )
    summary = SelectionSummary(
        threshold=selection.threshold,
        budget=selection.budget,
        selected=selection.budget,
        documents=len(numbers),
    )
    report = Report(
        version="",
        config_fingerprint="",
        models={},
        localisation=Localisation(),
        selection=summary,
        cost={},
    )
    begun = time.perf_counter()
    text = render_page(report, corpus, TokenScores(values, corpus), selection, count)
    seconds = time.perf_counter() - begun
    write_text(folder / "page.html", text)
    made = {
        "documents": len(numbers),
        "tokens": int(corpus.has_loss.sum()),
        "megabytes": len(text.encode()) / 1e6,
        "seconds_to_write": seconds,
    }
    return folder / "page.html", made


def _corpus(count: int, path: Path, draw: np.random.Generator) -> Corpus:
    """Documents of random words of five sources, a word and the space before it a token."""
    documents, columns = [], []
    for number in range(count):
        words = draw.choice(TEXT.split(), int(draw.integers(*LENGTHS)))
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        starts = np.concatenate([[0], ends[:-1]])
        marked = (starts > 0) & (starts < 20) & (number % 3 == 0)
        spans = ((int(ends[0]) + 1, 20),) if number % 3 == 0 else ()
        text = " ".join(words)
        documents.append(Document(f"post-{number}", text, spans, f"source {number % 5}"))
        columns.append(np.stack([np.full(len(words), number), starts, ends, marked]))
        columns.append(np.array([[number], [len(text)], [len(text)], [0]]))
    all_columns = np.concatenate(columns, axis=1)
    padding = np.tile([[-1], [0], [0], [0]], -all_columns.shape[1] % BLOCK)
    number, start, end, marks = np.concatenate([all_columns, padding], axis=1).reshape(4, -1, BLOCK)
    return Corpus(
        tokens=np.zeros_like(number),
        document=number,
        start=start,
        end=end,
        marked=marks.astype(bool),
        documents=Documents.write(path, documents),
        end_of_text=0,
        fingerprint="generated",
    )


def measured(browser: Browser, file: Path) -> dict[str, tuple[float, float]]:
    """Return, of opening the page and of each action, the longest task's and all milliseconds."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    found = {"open it": traced(browser, page, lambda: (page.goto(file.as_uri()), _frames(page)))}
    for name, steps in ACTIONS.items():
        found[name] = traced(browser, page, lambda s=steps: page.evaluate(ACT, list(s)))
    page.close()
    return found


def _frames(page: Page) -> None:
    page.evaluate(FRAMES)


def traced(browser: Browser, page: Page, act: Callable[[], Any]) -> tuple[float, float]:
    """Return the processor time of the main thread's longest task and of all, in milliseconds."""
    browser.start_tracing(page=page, categories=TRACED)
    act()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == MAIN
    }
    spent = [
        event["tdur"] / 1000
        for event in events
        if event["name"] == TASK and (event["pid"], event["tid"]) in main and "tdur" in event
    ]
    return max(spent), sum(spent)


def render(table: dict[str, Any]) -> str:
    """Return the Markdown page: one row an action."""
    lines = [
        f"# A page of {table['documents']:,} documents in a browser",
        "",
        f"`{table['command']}`, {table['date']}, {table['machine']}.",
        "",
        f"{table['tokens']:,} tokens, {table['megabytes']:.1f} MB. Processor time of the page's "
        "main thread, in",
        "milliseconds: of the longest task, during which nothing else is answered, and of all",
        "tasks until what the action led to is shown; the median of "
        f"{table['repeats']}, in brackets the least and",
        "the most. A task of up to 16.7 ms costs no frame.",
        "",
        "| action | longest task | all tasks |",
        "|---|---:|---:|",
    ]
    for row in table["rows"]:
        figures = f"{_shown(row['longest'])} | {_shown(row['all'])}"
        lines += [f"| {row['name']} | {figures} |"]
    return "\n".join(lines) + "\n"


def _shown(figures: Sequence[float]) -> str:
    return f"{median(figures):.0f} [{min(figures):.0f}, {max(figures):.0f}]"


if __name__ == "__main__":
    sys.exit(main())
