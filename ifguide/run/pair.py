"""The perturbed pair as a stage: two checkpoints, for scores by any inference engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifguide.influence.pair_files import DEFAULT_STEP, PAIR, PerturbedPair, check_step, read_pair
from ifguide.lazily import functions_of
from ifguide.run.layout import MODEL_FILES
from ifguide.run.stage import Stage, StageOf, needs
from ifguide.run.stages import AIM, CORPUS, SCORED

if TYPE_CHECKING:
    from ifguide.run import makers
else:
    makers = functions_of("ifguide.run.makers")


def perturbed(step: float | None = None) -> StageOf[PerturbedPair]:
    """Declare the checkpoints θ+εv and θ-εv; ``step`` is ‖εv‖ as a share of the weights' norm.

    Raises:
        InputError: the step is no share.
    """
    if step is not None:
        check_step(step)
    return Stage(
        name="pair",
        about="the models θ+εv and θ-εv, for scores by any engine",
        needs=needs(CORPUS, SCORED, AIM),
        settings=lambda config: DEFAULT_STEP if step is None else step,
        section="--step",
        make=makers.write_pair,
        load=lambda folder, get: read_pair(folder),
        files=(
            *(f"{side}/{name}" for side in ("plus", "minus") for name in MODEL_FILES),
            "tokens.npy",
            "README.md",
            PAIR,
        ),
        command="export-pair",
    )
