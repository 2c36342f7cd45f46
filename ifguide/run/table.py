"""The stages by name, in the order in which they are made; nothing is imported for a list of them.

A third party adds one by an entry point of the group ``ifguide.stages``; it is then a command, is
listed by ``ifguide status``, and may need any of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
)


def stage_named(name: str) -> AnyStage:
    """Return a stage by its name.

    Raises:
        InputError: there is none.
    """
    return STAGES.get(name, "command line")
