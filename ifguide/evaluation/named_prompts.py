"""Prompt sets known by name: where they lie on the hub, and which of their fields mean what.

RealToxicityPrompts: Gehman et al. 2020 (arXiv 2009.11462). BOLD: Dhamala et al. 2021 (arXiv
2101.11718). AttaQ: Kour et al. 2023 (arXiv 2311.04124).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ifguide.corpus.config import Source
from ifguide.errors import InputError

_REAL_TOXICITY: Mapping[str, Any] = {
    "hub": "allenai/real-toxicity-prompts",
    "text": "prompt.text",
}
_TOXICITY = "prompt.toxicity"
_BELOW_HALF = math.nextafter(0.5, 0.0)  # at_most takes its bound in, and 0.5 itself is toxic

NAMED: Mapping[str, Mapping[str, Any]] = {
    "real-toxicity-prompts": _REAL_TOXICITY,
    "real-toxicity-prompts/toxic": {**_REAL_TOXICITY, "at_least": {_TOXICITY: 0.5}},
    "real-toxicity-prompts/non-toxic": {**_REAL_TOXICITY, "at_most": {_TOXICITY: _BELOW_HALF}},
    "bold": {"hub": "AmazonScience/bold", "text": "prompts[]", "kind": "domain"},
    "bold/first": {"hub": "AmazonScience/bold", "text": "prompts[0]", "kind": "domain"},
    "attaq": {"hub": "ibm/AttaQ", "text": "input", "kind": "label"},
}


def named_source(name: str, path: str | None = None) -> Source:
    """Return where the prompts of a known set are.

    Args:
        name: of the set.
        path: a copy of the set's files on this machine, read in place of the hub's.

    Raises:
        InputError: no such set.
    """
    if name not in NAMED:
        raise InputError(
            f"evaluation: no prompt set is named '{name}'; use one of {', '.join(NAMED)}, or say "
            "with source where the prompts are"
        )
    fields = dict(NAMED[name])
    hub = fields.pop("hub")
    place = {"hub": hub} if path is None else {"path": path}
    return Source(name=name, **place, **fields)
