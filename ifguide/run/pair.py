"""The perturbed pair as a stage: two checkpoints, for scores by any inference engine."""

from __future__ import annotations

from ifguide.corpus.prepare import PreparedCorpus
from ifguide.distributed import ranks
from ifguide.influence.perturbed import DEFAULT_STEP, PAIR, PerturbedPair, export_pair, read_pair
from ifguide.nouns import Checkpoint, Direction
from ifguide.run.makers import MODEL_FILES
from ifguide.run.stage import Stage, StageOf, needs
from ifguide.run.stages import AIM, BASELINE, CORPUS
from ifguide.run.work import Work


def perturbed(step: float | None = None) -> StageOf[PerturbedPair]:
    """Declare the checkpoints θ+εv and θ-εv; ``step`` is ‖εv‖ as a share of the weights' norm."""
    return Stage(
        name="pair",
        about="the models θ+εv and θ-εv, for scores by any engine",
        needs=needs(CORPUS, BASELINE, AIM),
        settings=lambda config: DEFAULT_STEP if step is None else step,
        section="--step",
        make=write_pair,
        load=lambda folder, get: read_pair(folder),
        files=(
            *(f"{side}/{name}" for side in ("plus", "minus") for name in MODEL_FILES),
            "tokens.npy",
            "README.md",
            PAIR,
        ),
        command="export-pair",
    )


def write_pair(
    work: Work, step: float, text: PreparedCorpus, baseline: Checkpoint, direction: Direction
) -> None:
    """Write both checkpoints, the corpus's tokens and how to go on."""
    if ranks.is_main():
        export_pair(baseline.model, text.tokenizer, text.corpus, direction, work.path, step)
