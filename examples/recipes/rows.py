"""The blocks of a run folder with their mask, as the recipes read them."""

import datasets
import numpy as np


def rows_of(run):
    """Return a dataset of the run's blocks: ``input_ids``, ``labels`` and ``suppress``, [T] each.

    A label is the token's id, -100 where it has no loss: padding and what stands before a text.
    The mask lies beside the token that should not be learnt; nothing is shifted.
    """

    def row(block):
        tokens = np.array(block["input_ids"])
        labels = np.where(np.array(block["document"]) >= 0, tokens, -100)
        return {"input_ids": tokens, "labels": labels, "suppress": block["suppress"]}

    blocks = datasets.load_from_disk(f"{run}/select/mask")
    return blocks.map(row, remove_columns=blocks.column_names)
