"""The judges ``hf:NAME_OR_PATH#LABEL``: any sequence-classification checkpoint of transformers.

A name on the hub may have ``@REVISION`` behind it. Without one it is the commit that this machine
has of the branch ``main``, or that is there when it is first asked for; either is in its identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ifguide.corpus.hub import commit_of
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


@dataclass(frozen=True)
class _Checkpoint:
    """What a judge's argument names.

    ``place`` is a folder or a hub name, ``label`` the one that is asked for, ``revision`` that of
    a hub name and "" of a folder.
    """

    place: str
    label: str
    revision: str

    @property
    def commit(self) -> str:
        """The commit of a hub name, where it is known."""
        return commit_of(self.place, self.revision) if self.revision else ""


def load_checkpoint_judge(request: JudgeRequest) -> ClassifierJudge:
    """Load a checkpoint folder or hub name, ``#LABEL`` behind it naming the toxic label.

    Raises:
        InputError: it cannot be loaded, has no trained classification head, or its toxic label is
            not clear.
    """
    name, found = request.name, _checkpoint(request)
    checkpoint, commit = found.place, found.commit or found.revision or "main"
    trust = request.trust_remote_code
    with loading_judge(name, checkpoint):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            revision=commit,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=trust,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint, revision=commit, trust_remote_code=trust
        )
        tokenizer = as_its_file_says(tokenizer, checkpoint, commit)
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"judge '{name}': {checkpoint} is no trained classifier, weight '{missing[0]}' is not "
            "in it; name a sequence-classification checkpoint"
        )
    names = [str(model.config.id2label[k]) for k in range(model.config.num_labels)]
    number, activation = toxic_label(name, names, found.label), activation_of(model.config)
    return ClassifierJudge(name, placed(model), tokenizer, names, number, activation=activation)


def checkpoint_files(request: JudgeRequest) -> list[Path]:
    """Return the files of a checkpoint folder; none of a name on the hub."""
    return files_of(Path(_checkpoint(request).place))


def checkpoint_model(request: JudgeRequest) -> str:
    """Return the checkpoint that is asked, whatever label or revision of it is read."""
    return _checkpoint(request).place


def checkpoint_commit(request: JudgeRequest) -> str:
    """Return the commit of a name on the hub, where it is known."""
    return _checkpoint(request).commit


def _checkpoint(request: JudgeRequest) -> _Checkpoint:
    """Read a judge's argument.

    A folder is found from ``data_dir``, or else from the working directory as transformers finds
    it; its own name may hold a ``#`` or ``@``.
    """
    place, _, label = request.argument.partition("#")
    for named, asked in ((request.argument, ""), (place, label)):
        for folder in (request.path(named), Path(named)):
            if named and folder.exists():
                return _Checkpoint(str(folder), asked, "")
    name, _, revision = place.partition("@")
    return _Checkpoint(name, label, revision or "main")


HF = JudgeKind(
    load=load_checkpoint_judge,
    argument="NAME_OR_PATH[@REVISION][#LABEL]",
    files=checkpoint_files,
    identity=checkpoint_commit,
    model=checkpoint_model,
)
