"""Find the tokens of a corpus that teach a language model to be toxic; train without learning them.

The nouns are frozen values, the verbs are functions that take nouns and return one::

    curvature = fit(model, corpus)
    direction = aim(model, contrast, curvature)
    scores    = score(model, corpus, direction)
    selection = select(scores)
    train(model, corpus, selection, TrainingConfig(), folder=checkpoints)
"""

from ifguide.errors import InputError
from ifguide.evaluation.evaluate import EvaluationConfig, evaluate
from ifguide.influence.curvature.fit import CurvatureConfig, fit
from ifguide.influence.curvature.operators import Curvature
from ifguide.influence.direction import DirectionConfig, aim
from ifguide.influence.score import ScoreConfig, score
from ifguide.models.precision import full_precision
from ifguide.nouns import Contrast, Corpus, Direction, QuerySet, Selection, TokenScores
from ifguide.selection.blend import LexiconConfig, blend
from ifguide.selection.select import SelectionConfig, select
from ifguide.selection.smooth import SmoothingConfig, smooth
from ifguide.training.objectives import Objective, suppression_loss
from ifguide.training.train import SuppressionTrainer, TrainingConfig, train
from ifguide.version import VERSION

__version__ = VERSION

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
    "SuppressionTrainer",
    "TokenScores",
    "TrainingConfig",
    "__version__",
    "aim",
    "blend",
    "evaluate",
    "fit",
    "full_precision",
    "score",
    "select",
    "smooth",
    "suppression_loss",
    "train",
]
