"""What large and endless input costs: time, memory, and how long nothing is said.

    python benchmarks/sizes.py --out benchmarks/records/sizes.md
    python benchmarks/sizes.py --only "a document"

Each input is imported by ``ifguide corpus`` in a process of its own. Time is the processor's, user
and system, and memory the largest resident set, both as the kernel counts them for the ended
process; silence is the most processor time between two lines on its error stream, or after the
last: what else the machine does lengthens it little.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ifguide.corpus.builtin import builtin_posts

ROOT = Path(__file__).resolve().parents[1]
MB, GIB = 10**6, 2**30
CHUNK = 1 << 26  # bytes packed once and repeated: a gzip file may have many members
SETTINGS = {
    "data_dir": ".",
    "tokenizer": {"vocab_size": 1000},
    "model": {
        "scratch": {
            "model_type": "gpt2",
            "n_embd": 16,
            "n_layer": 1,
            "n_head": 2,
        }
    },
    "baseline": {},
    "queries": {"source": {"builtin": 20}},
    "evaluation": {
        side: {"source": {"builtin": 20}, "cut": "words"} for side in ("toxic", "neutral")
    },
}
HEAD = """\
# Large and endless input

Each input is imported (`ifguide corpus`: its tokenizer of 1000 entries is trained, its text packed)
in a process of its own, one thread. Time is the processor's; memory is the largest resident set,
where the first row is what a short text takes; silence is the most processor time between two lines
of progress. What is refused ends in the line that stands below the table.
"""


@dataclass(frozen=True)
class Input:
    """One input: what it is, what lays it into a folder, and the source's further settings.

    ``lay`` returns the file of texts, or of settings where its name ends in ``.yaml``.
    """

    name: str
    lay: Callable[[Path], Path]
    source: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What one import took, and how it ended."""

    name: str
    seconds: float
    peak: int  # bytes
    silence: float  # seconds
    code: int
    said: str  # its last line


def inputs() -> list[Input]:
    """Return all inputs, the smallest first."""
    raised = {"longest_record": 10**8}
    word = "".join(chr(97 + k * k % 26) for k in range(200_000))
    return [
        Input("a text of 4,000 characters", lambda f: _write(f / "a.txt", _prose(4000))),
        Input("200,000 letters without a space", lambda f: _write(f / "a.txt", word)),
        *(Input(f"a document of {size} MB", _text(size * MB), raised) for size in (5, 10, 20)),
        Input("a document of 50 MB, `longest_record` as it is", _text(50 * MB)),
        Input("40 documents of 1 MB, `limit: 1`", _lines(40, MB), {"limit": 1}),
        Input("5 MB in documents of 500 characters", _lines(10_000, 500)),
        Input("5 MB in a list of records of 500 characters", _list(5 * MB, 500)),
        Input(
            "a gzipped list of 1 GiB, one record kept",
            lambda f: _packed(f / "a.json.gz", b"[", _record(500) + b",\n", GIB, _KEPT + b"]"),
            {"at_least": {"n": 1}},
        ),
        Input(
            "a gzipped list of one record of 6 GiB",
            lambda f: _packed(f / "a.json.gz", b'[{"text": "', b"word ", 6 * GIB, b'"}]'),
        ),
        Input(
            "a gzipped line of 6 GiB",
            lambda f: _packed(f / "a.jsonl.gz", b'{"text": "', b"word ", 6 * GIB, b'"}'),
        ),
        Input(
            "4 GiB of empty lines, gzipped, and a record",
            lambda f: _packed(f / "a.jsonl.gz", b"", b"\n", 4 * GIB, _KEPT),
        ),
        Input("a gzipped text of 6 GiB", lambda f: _packed(f / "a.txt.gz", b"", b"w ", 6 * GIB)),
        Input("YAML: a file of 1 GB", lambda f: _hole(f / "a.yaml", 10**9)),
        *(
            Input(f"YAML: {name}", lambda f, text=text: _write(f / "a.yaml", text))
            for name, text in _blow_ups().items()
        ),
    ]


def _blow_ups() -> dict[str, str]:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 10)}]\n" for k in range(9)
    )
    return {
        "aliases that stand for 10^10 values": laughs,
        "an alias of itself": "corpus: &a {sources: [*a]}\n",
        "100,000 nested lists": f"corpus: {'[' * 100_000}{']' * 100_000}\n",
        "a list of 4,000,000": f"corpus: [{'1,' * 4_000_000}1]\n",
        "a text of 9 MB": f"report: {{title: {'x' * 9_000_000}}}\nno_such: 1\n",
    }


def measured(given: Input, folder: Path) -> Cost:
    """Lay an input into a folder, import it in a child, and return what that took."""
    folder.mkdir()
    file = given.lay(folder)
    config = file
    if file.suffix != ".yaml":
        config = folder / "run.yaml"
        source = {"name": "s", "path": file.name, **given.source}
        corpus = {"block_length": 128, "sources": [source]}
        config.write_text(json.dumps({**SETTINGS, "corpus": corpus}))
    command = [sys.executable, "-m", "ifguide", "corpus", config.name, "--out", "out"]
    child = subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said, silence, before = "", 0.0, None
    assert child.stderr is not None
    for line in child.stderr:
        now = _processor_time(child.pid)
        said, silence, before = line.strip(), max(silence, now - (before or now)), now
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = used.ru_utime + used.ru_stime
    silence = max(silence, seconds - before) if before else silence
    return Cost(given.name, seconds, used.ru_maxrss * 1024, silence, child.returncode, said)


def _processor_time(process: int) -> float:
    """Return the seconds that a process has computed, on Linux."""
    told = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, told[11:13])) / os.sysconf("SC_CLK_TCK")


def page(costs: list[Cost]) -> str:
    """Return the record."""
    lines = [HEAD, "| input | time | memory | silence | end |", "|---|---|---|---|---|"]
    refused: list[str] = []
    for cost in costs:
        end = "read"
        if cost.code:
            refused.append(f"{len(refused) + 1}. `{cost.said}`")
            end = f"exit {cost.code}, line {len(refused)}"
        figures = f"{cost.seconds:.1f} s | {cost.peak / GIB:.2f} GiB | {cost.silence:.1f} s"
        lines.append(f"| {cost.name} | {figures} | {end} |")
    machine = f"{os.cpu_count()}-core CPU, Python {platform.python_version()}"
    made = f"Made by `python benchmarks/sizes.py --out FILE` on {date.today()}, {machine}."
    return "\n".join([*lines, "", *refused, "", made]) + "\n"


def main() -> None:
    """Measure all inputs, print each as it is done, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="inputs whose name holds this")
    given = parser.parse_args()
    costs = []
    for one in inputs():
        if given.only in one.name:
            with tempfile.TemporaryDirectory() as scratch:
                costs.append(measured(one, Path(scratch) / "case"))
            print(costs[-1], flush=True)
    text = page(costs)
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


# what is laid down

_KEPT = b'{"text": "One that is kept.", "n": 1}'


def _prose(characters: int) -> str:
    posts = " ".join(post.text for post in builtin_posts(2000, 0))
    return (posts * (characters // len(posts) + 1))[:characters]


def _record(characters: int) -> bytes:
    return json.dumps({"text": _prose(characters), "n": 0}).encode()


def _text(characters: int) -> Callable[[Path], Path]:
    return lambda folder: _write(folder / "a.txt", _prose(MB), characters // MB)


def _lines(count: int, characters: int) -> Callable[[Path], Path]:
    return lambda folder: _write(folder / "a.jsonl", _record(characters).decode() + "\n", count)


def _list(size: int, characters: int) -> Callable[[Path], Path]:
    def lay(folder: Path) -> Path:
        record = _record(characters).decode()
        return _write(folder / "a.json", f", {record}", size // characters, f"[{record}", "]")

    return lay


def _write(file: Path, text: str, times: int = 1, head: str = "", tail: str = "") -> Path:
    with file.open("w", encoding="utf-8") as stream:
        stream.writelines([head, *itertools.repeat(text, times), tail])
    return file


def _hole(file: Path, size: int) -> Path:
    with file.open("wb") as stream:
        stream.truncate(size)
    return file


def _packed(file: Path, head: bytes, repeated: bytes, size: int, tail: bytes = b"") -> Path:
    """Write a gzip file of some size unpacked, which is small on disk."""
    chunk = repeated * (CHUNK // len(repeated))
    packed = gzip.compress(chunk, 6)
    with file.open("wb") as stream:
        members = itertools.repeat(packed, size // len(chunk))
        stream.writelines([gzip.compress(head), *members, gzip.compress(tail)])
    return file


if __name__ == "__main__":
    main()
