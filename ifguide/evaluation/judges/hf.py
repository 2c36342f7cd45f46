"""The judges ``hf:NAME_OR_PATH#LABEL``: any sequence-classification checkpoint of transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ifguide.corpus.tokenizer_class import as_its_file_says
from ifguide.errors import InputError
from ifguide.evaluation.judges.classifier import (
    ClassifierJudge,
    activation_of,
    files_of,
    loading_judge,
    placed,
    toxic_label,
)
from ifguide.evaluation.judges.registry import JudgeKind, JudgeRequest


def load_checkpoint_judge(request: JudgeRequest) -> ClassifierJudge:
    """Load a checkpoint folder or hub name, ``#LABEL`` behind it naming the toxic label.

    Raises:
        InputError: it cannot be loaded, has no trained classification head, or its toxic label is
            not clear.
    """
    name, (checkpoint, label) = request.name, _checkpoint(request)
    trust = request.trust_remote_code
    with loading_judge(name, checkpoint):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, dtype=torch.float32, output_loading_info=True, trust_remote_code=trust
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=trust)
        tokenizer = as_its_file_says(tokenizer, checkpoint)
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"judge '{name}': {checkpoint} is no trained classifier, weight '{missing[0]}' is not "
            "in it; name a sequence-classification checkpoint"
        )
    names = [str(model.config.id2label[k]) for k in range(model.config.num_labels)]
    number, activation = toxic_label(name, names, label), activation_of(model.config)
    return ClassifierJudge(name, placed(model), tokenizer, names, number, activation=activation)


def checkpoint_files(request: JudgeRequest) -> list[Path]:
    """Return the files of a checkpoint folder; none of a name on the hub."""
    return files_of(Path(_checkpoint(request)[0]))


def checkpoint_model(request: JudgeRequest) -> str:
    """Return the checkpoint that is asked, whatever label of it is read."""
    return request.argument.partition("#")[0]


def _checkpoint(request: JudgeRequest) -> tuple[str, str]:
    """Return the folder or hub name to load, and the label that is asked for.

    A folder is found from ``data_dir``, or else from the working directory as transformers finds
    it; its own name may hold a ``#``.
    """
    place, _, label = request.argument.partition("#")
    for named, asked in ((request.argument, ""), (place, label)):
        for folder in (request.path(named), Path(named)):
            if named and folder.exists():
                return str(folder), asked
    return place, label


HF = JudgeKind(
    load=load_checkpoint_judge,
    argument="NAME_OR_PATH[#LABEL]",
    files=checkpoint_files,
    model=checkpoint_model,
)
