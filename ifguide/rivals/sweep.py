"""Our method at many settings: the curve of toxicity against fluency, and ablations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from ifguide.errors import InputError
from ifguide.rivals.methods import METHODS, Mask, Method
from ifguide.selection.config import SelectionConfig
from ifguide.training.config import Objective


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The settings to try; an empty one stays as the run has it.

    Args:
        budget, window, quantile: of the selection.
        weight, ceiling: of the objective.
    """

    budget: tuple[float, ...] = ()
    window: tuple[int, ...] = ()
    quantile: tuple[float, ...] = ()
    weight: tuple[float, ...] = ()
    ceiling: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not any(vars(self).values()):
            names = ", ".join(f"--{name}" for name in vars(self))
            raise InputError(f"sweep: there is nothing to vary; give values to one of {names}")


_READ_BY = {  # settings of the objective, and the kinds that read them
    "ceiling": ("clamped",),
    "weight": ("penalty", "clamped", "unlikelihood"),
}


def swept(grid: Grid, selection: SelectionConfig, objective: Objective) -> list[Method]:
    """Return our method at every combination of the grid's settings, by a name that tells them.

    All share the run's scores, so nothing is scored again.

    Raises:
        InputError: a setting is varied that the objective does not read.
    """
    for name, kinds in _READ_BY.items():
        if getattr(grid, name) and objective.kind not in kinds:
            raise InputError(
                f"sweep: --{name} would be ignored, since the objective's kind is "
                f"{objective.kind}; remove it, or set training.objective.kind to {kinds[0]}"
            )
    given = {name: values for name, values in vars(grid).items() if values}
    points = []
    for combination in product(*given.values()):
        setting = dict(zip(given, combination, strict=True))
        chosen = {k: v for k, v in setting.items() if hasattr(selection, k)}
        learnt = {k: v for k, v in setting.items() if hasattr(objective, k)}
        mask = Mask(
            scorer="own",
            smoothed=True,
            selection=replace(selection, **chosen),
            objective=replace(objective, **learnt),
        )
        told = ", ".join(f"{key} {value:g}" for key, value in setting.items())
        name = "ours, " + told
        points.append(Method(name=name, about=f"our method with {told}", mask=mask))
    return [METHODS.get("baseline", "--methods"), *points]
