"""The judge toxigen-roberta (Hartvigsen et al. 2022, arXiv 2203.09509)."""

from __future__ import annotations

from dataclasses import replace

from ifguide.evaluation.judges.hf import (
    checkpoint_commit,
    checkpoint_files,
    checkpoint_model,
    load_checkpoint_judge,
)
from ifguide.evaluation.judges.registry import JudgeKind, JudgeRequest

CHECKPOINT = "tomh/toxigen_roberta#1"  # its labels have no names; the second one is toxic


def _as_checkpoint(request: JudgeRequest) -> JudgeRequest:
    return replace(request, argument=CHECKPOINT)


TOXIGEN = JudgeKind(
    load=lambda request: load_checkpoint_judge(_as_checkpoint(request)),
    files=lambda request: checkpoint_files(_as_checkpoint(request)),
    identity=lambda request: checkpoint_commit(_as_checkpoint(request)),
    model=lambda request: checkpoint_model(_as_checkpoint(request)),
)
