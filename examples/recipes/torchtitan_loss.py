"""A loss for torchtitan's trainer: a ``BaseLoss`` that reads the mask out of the labels.

Name ``SuppressionLoss.Config(kind="clamped", weight=1.0)`` as the ``loss`` of a trainer's config,
and let the data loader give ``labels_of(tokens, suppress)`` beside ``tokens[:-1]``. A head that is
split over several devices is refused; what torchtitan compiles of a loss is left as it is.
"""

from dataclasses import dataclass
from functools import partial

from torch.distributed.tensor import DTensor
from torchtitan.components.loss import BaseLoss

from ifguide import InputError, Objective, signed_labels, suppression_loss_of_labels


def labels_of(tokens, suppress):
    """Return what ``tokens[:-1]`` predict, with the mask in it, as torchtitan's labels are."""
    return signed_labels(tokens, suppress)[..., 1:]


def summed(pred, labels, objective):
    """Return the objective's sum over tokens, as torchtitan divides by their number itself."""
    if isinstance(pred, DTensor):
        raise InputError("parallelism: the logits lie on several devices; gather them (no TP loss)")
    return suppression_loss_of_labels(pred, labels, objective, count=1, shifted=True)


class SuppressionLoss(BaseLoss):
    """``-100`` has no loss, a label below it is a selected token's."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseLoss.Config):
        """What a selected token contributes."""

        kind: str = "clamped"
        weight: float = 1.0

    def __init__(self, config, *, compile_config=None):
        objective = Objective(kind=config.kind, weight=config.weight)
        self.fn = partial(summed, objective=objective)
