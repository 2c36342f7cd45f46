"""A plugin of axolotl that puts the suppression loss into its trainer.

``prepare(RUN, FOLDER)`` writes rows that are tokenised already. Name the folder in ``datasets``,
with an empty ``type``, and this module's class in ``plugins``; the module must be on the path:

    plugins:
      - axolotl_plugin.SuppressionPlugin
"""

import numpy as np
import torch
from axolotl.integrations.base import BasePlugin
from rows import rows_of

from ifguide import Objective, signed_labels, suppression_loss_of_labels

OBJECTIVE = Objective(kind="clamped", weight=1.0)


def loss_of(outputs, labels, num_items_in_batch=None):
    """Return the objective's mean over the tokens of the whole update."""
    return suppression_loss_of_labels(outputs.logits, labels, OBJECTIVE, num_items_in_batch)


class SuppressionPlugin(BasePlugin):
    """Puts ``loss_of`` where transformers' Trainer looks for a loss."""

    def post_trainer_create(self, cfg, trainer):
        """Set the trainer's loss."""
        trainer.compute_loss_func = loss_of


def prepare(run, folder):
    """Write a run's blocks as rows that axolotl takes as they are, the mask in their labels."""

    def row(block):
        labels, suppress = (torch.tensor(block[name]) for name in ("labels", "suppress"))
        return {
            "input_ids": block["input_ids"],
            "attention_mask": np.ones(len(labels), dtype=np.int64),
            "labels": signed_labels(labels, suppress).numpy(),
        }

    rows = rows_of(run)
    rows.map(row, remove_columns=rows.column_names).save_to_disk(folder)
