"""The judge toxigen-roberta (Hartvigsen et al. 2022, arXiv 2203.09509)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ifguide.evaluation.judges.classifier import ClassifierJudge
from ifguide.evaluation.judges.hf import checkpoint_files, load_checkpoint_judge
from ifguide.evaluation.judges.registry import JudgeKind, JudgeRequest

CHECKPOINT = "tomh/toxigen_roberta#1"  # its labels have no names; the second one is toxic


def _load(request: JudgeRequest) -> ClassifierJudge:
    return load_checkpoint_judge(replace(request, argument=CHECKPOINT))


def _files(request: JudgeRequest) -> list[Path]:
    return checkpoint_files(replace(request, argument=CHECKPOINT))


TOXIGEN = JudgeKind(load=_load, files=_files)
