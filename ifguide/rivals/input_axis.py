"""Position scores as the IF-Guide authors' code reads them."""

from __future__ import annotations

import numpy as np

from ifguide.nouns import TokenScores


def on_input_axis(scores: TokenScores) -> TokenScores:
    """Give each token the share of *its own* input position, not of the one that predicts it.

    Engine ``position`` reports the share of position t at token t + 1, which position t predicts.
    The authors' code masks token t by it. The last token of a block, whose position predicts
    nothing, gets 0.
    """
    values = np.asarray(scores.values)
    moved = np.pad(values[:, 1:], ((0, 0), (0, 1)))
    return TokenScores(moved, scores.corpus, {**scores.metadata, "axis": "input"})
