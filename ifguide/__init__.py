"""Find the tokens of a corpus that teach a language model to be toxic; train without learning them.

The nouns are frozen values, the verbs are functions that take nouns and return one::

    curvature = fit(model, corpus)
    direction = aim(model, contrast, curvature)
    scores    = score(model, corpus, direction)
    selection = select(scores)
    train(model, corpus, selection, TrainingConfig(), folder=checkpoints)

A name is loaded when it is first used, so that importing the package takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ifguide.errors import InputError
    from ifguide.evaluation.config import EvaluationConfig
    from ifguide.evaluation.evaluate import evaluate
    from ifguide.influence.config import CurvatureConfig, DirectionConfig, ScoreConfig
    from ifguide.influence.curvature.fit import fit
    from ifguide.influence.curvature.operators import Curvature
    from ifguide.influence.direction import aim
    from ifguide.influence.score import score
    from ifguide.models.precision import full_precision
    from ifguide.nouns import Contrast, Corpus, Direction, QuerySet, Selection, TokenScores
    from ifguide.selection.blend import blend
    from ifguide.selection.config import LexiconConfig, SelectionConfig, SmoothingConfig
    from ifguide.selection.remap import remap
    from ifguide.selection.select import select
    from ifguide.selection.smooth import smooth
    from ifguide.training.collate import SuppressionCollator, predicted_tokens
    from ifguide.training.config import Objective, TrainingConfig
    from ifguide.training.labels import signed_labels, suppression_loss_of_labels
    from ifguide.training.objectives import suppression_loss
    from ifguide.training.train import SuppressionTrainer, train
    from ifguide.version import VERSION as __version__  # noqa: N811

__all__ = [
    "Contrast",
    "Corpus",
    "Curvature",
    "CurvatureConfig",
    "Direction",
    "DirectionConfig",
    "EvaluationConfig",
    "InputError",
    "LexiconConfig",
    "Objective",
    "QuerySet",
    "ScoreConfig",
    "Selection",
    "SelectionConfig",
    "SmoothingConfig",
    "SuppressionCollator",
    "SuppressionTrainer",
    "TokenScores",
    "TrainingConfig",
    "__version__",
    "aim",
    "blend",
    "evaluate",
    "fit",
    "full_precision",
    "predicted_tokens",
    "remap",
    "score",
    "select",
    "signed_labels",
    "smooth",
    "suppression_loss",
    "suppression_loss_of_labels",
    "train",
]

_HOMES = {  # where each name is at home, as in the imports above
    "errors": ["InputError"],
    "evaluation.config": ["EvaluationConfig"],
    "evaluation.evaluate": ["evaluate"],
    "influence.config": ["CurvatureConfig", "DirectionConfig", "ScoreConfig"],
    "influence.curvature.fit": ["fit"],
    "influence.curvature.operators": ["Curvature"],
    "influence.direction": ["aim"],
    "influence.score": ["score"],
    "models.precision": ["full_precision"],
    "nouns": ["Contrast", "Corpus", "Direction", "QuerySet", "Selection", "TokenScores"],
    "selection.blend": ["blend"],
    "selection.config": ["LexiconConfig", "SelectionConfig", "SmoothingConfig"],
    "selection.remap": ["remap"],
    "selection.select": ["select"],
    "selection.smooth": ["smooth"],
    "training.collate": ["SuppressionCollator", "predicted_tokens"],
    "training.config": ["Objective", "TrainingConfig"],
    "training.labels": ["signed_labels", "suppression_loss_of_labels"],
    "training.objectives": ["suppression_loss"],
    "training.train": ["SuppressionTrainer", "train"],
}
_MODULE_OF = {name: f"ifguide.{module}" for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name of the package when it is first used."""
    if name == "__version__":
        found = import_module("ifguide.version").VERSION
    elif name in _MODULE_OF:
        found = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'ifguide' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
