"""Rival token scores: what a simpler method makes of the same queries and the same corpus.

Each returns ``TokenScores``, higher = more likely to be toxic, that ``select`` takes like any
others. None of them says what learning a token does to the model.
"""

from ifguide.selection.controls.lexicon import lexicon, lexicon_log_odds
from ifguide.selection.controls.loss import token_loss
from ifguide.selection.controls.position import on_input_axis
from ifguide.selection.controls.probe import ProbeConfig, probe
from ifguide.selection.controls.windows import judged_windows

__all__ = [
    "ProbeConfig",
    "judged_windows",
    "lexicon",
    "lexicon_log_odds",
    "on_input_axis",
    "probe",
    "token_loss",
]
