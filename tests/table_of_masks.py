"""Which library reads each mask format, in which version, and what its test shows."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT

INSTALL = ROOT / "benchmarks" / "trainers" / "install.py"
# where `make test` puts them, unless told otherwise
ENVIRONMENTS = Path(os.environ.get("IFGUIDE_TRAINERS", Path(sys.prefix) / "trainers"))


@dataclass(frozen=True)
class Check:
    """A row of the table in docs/masks.md; ``package`` is what is pinned for its test."""

    library: str
    package: str
    loaded: str
    loss: str


SAME = "the same, float64"
CHECKS = {
    "trl": Check("TRL", "trl", "`SFTTrainer`, its own batches", "the same to 1e-6"),
    "axolotl": Check(
        "axolotl", "axolotl", "its `input_output` strategy", "the same to 1e-6, by document"
    ),
    "olmo": Check("OLMo-core", "ai2-olmo-core", "its dataset and collator", "the same to 1e-6"),
    "datatrove": Check(
        "datatrove, nanotron",
        "datatrove",
        "datatrove's dataset and merger; nothing of theirs hands the mask to training",
        f"{SAME}, nanotron's masked mean",
    ),
    "megatron": Check(
        "Megatron Core", "megatron-core", "its GPT dataset, by the recipe of the card", SAME
    ),
    "dolma": Check("Dolma", "dolma", "its mixer", "no trainer: the spans are taken out"),
    "fast-llm": Check(
        "Fast-LLM", "", "as its source reads it, not run", f"{SAME}, by document, so read"
    ),
    "spans": Check("datasets", "datasets", "as JSON Lines", "no trainer"),
}


def environment(name):
    """The interpreter of a format's library."""
    return ENVIRONMENTS / name / "bin" / "python"


def pinned(package):
    """The version that is installed for the test of a package."""
    for file in (INSTALL, ROOT / "constraints.txt"):
        found = re.search(rf"""(?:^|["'\n]){re.escape(package)}==([\w.]+)""", file.read_text())
        if found:
            return found.group(1)
    raise AssertionError(f"{package} is pinned nowhere")


def table():
    """The table as docs/masks.md has it."""
    rows = ["| format | library | version | loaded by | loss |", "|---|---|---|---|---|"]
    for name, check in CHECKS.items():
        version = pinned(check.package) if check.package else "its main branch"
        rows.append(f"| `{name}` | {check.library} | {version} | {check.loaded} | {check.loss} |")
    return "\n".join(rows) + "\n"
