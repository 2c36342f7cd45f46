"""The stages by name, in the order in which they are made; nothing is imported for a list of them.

A third party adds one by an entry point of the group ``ifguide.stages``; it is then a command, is
listed by ``ifguide status``, and may need any of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifguide.errors import InputError
from ifguide.registry import Registry

if TYPE_CHECKING:
    from ifguide.run.stage import AnyStage

STAGES: Registry[AnyStage] = Registry(
    "stage",
    "ifguide.stages",
    {
        name: f"ifguide.run.stages:{name.upper()}"
        for name in (
            "corpus",
            "held_out",
            "queries",
            "prompts",
            "baseline",
            "fit",
            "aim",
            "score",
            "smooth",
            "select",
            "train",
            "evaluate",
            "report",
        )
    },
    "ifguide.run.stage:Stage",
)


def stage_named(name: str) -> AnyStage:
    """Return a stage by its name.

    Raises:
        InputError: there is none, or a third party's calls itself otherwise.
    """
    stage = STAGES.get(name, "command line")
    if stage.name != name:
        raise InputError(
            f"command line: the entry point '{name}' names a stage that calls itself "
            f"'{stage.name}'; its package must give both one name"
        )
    return stage
