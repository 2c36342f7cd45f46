"""The judges ``detoxify:NAME`` and ``detoxify:FILE``: Detoxify's models (Hanu and Unitary 2020)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from ifguide.errors import InputError
from ifguide.evaluation.judges.classifier import (
    ClassifierJudge,
    files_of,
    loading_judge,
    placed,
    toxic_label,
)
from ifguide.evaluation.judges.registry import SETTING, JudgeKind, JudgeRequest, version_of
from ifguide.extras import import_extra
from ifguide.files import check_plain

FILES = (".ckpt", ".safetensors")
# what Detoxify calls the categories of all its models, whatever a checkpoint calls them
NAMES = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "identity_hate": "identity_attack",
}


@dataclass(frozen=True)
class _Layout:
    """What a checkpoint's config says of its model.

    ``base`` is the folder or hub name of its architecture and tokenizer, ``outputs`` how many the
    model gives, ``classes`` what the first ones mean.
    """

    base: str
    classes: Sequence[str]
    outputs: int


def _load(request: JudgeRequest) -> ClassifierJudge:
    """Load one of Detoxify's models: by its name there, or from a checkpoint file.

    A file holds ``state_dict`` and ``config`` (read with ``weights_only``), or is a .safetensors
    file with the config as JSON in its metadata. The architecture and tokenizer come from the
    file's folder if it has a config.json, else by the name that the config gives. The models
    trained against unintended bias have identity labels behind their seven categories; they are
    passed over.

    Raises:
        InputError: the package is needed and missing, or the file is not such a checkpoint.
    """
    name, file = request.name, _file(request)
    weights, config = _read(name, file) if file else _download(name, request.argument)
    layout = _layout(name, str(file or request.argument), config, file.parent if file else None)
    model, tokenizer = _build(request, layout, weights)
    number = toxic_label(name, layout.classes, "")
    names = [NAMES.get(label, label) for label in layout.classes]
    return ClassifierJudge(name, placed(model), tokenizer, names, number, activation="sigmoid")


def _files(request: JudgeRequest) -> list[Path]:
    """Return the checkpoint file, and the config and tokenizer that lie beside it, if any do."""
    file = _file(request)
    if file is None:
        return []
    if not (file.parent / "config.json").exists():
        return [file]
    beside = [f for f in files_of(file.parent) if f.suffix not in FILES and f != file]
    return [file, *beside]


def _file(request: JudgeRequest) -> Path | None:
    return request.path(request.argument) if request.argument.endswith(FILES) else None


def _layout(name: str, place: str, config: Any, folder: Path | None) -> _Layout:
    """Read a checkpoint's config."""
    try:
        arch, data = config["arch"]["args"], config["dataset"]["args"]
        classes = list(arch.get("classes") or data["classes"])
        outputs = int(arch.get("num_classes", len(classes)))
        base = folder if folder and (folder / "config.json").exists() else arch["model_type"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"judge '{name}': the config in {place} lacks {error}; give a checkpoint of Detoxify's "
            "layout (arch.args.model_type, dataset.args.classes)"
        ) from error
    if outputs < len(classes):
        raise InputError(
            f"judge '{name}': the config in {place} names {len(classes)} classes for {outputs} "
            "outputs; give a checkpoint of Detoxify's layout"
        )
    return _Layout(str(base), classes, outputs)


def _read(name: str, file: Path) -> tuple[Mapping[str, Tensor], Any]:
    with loading_judge(name, str(file)):
        check_plain(file, f"judge '{name}'")
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as stored:
                loaded = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
                found = {"state_dict": loaded, **(stored.metadata() or {})}
                found["config"] = json.loads(found["config"]) if "config" in found else None
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
        lacking = [key for key in ("state_dict", "config") if found.get(key) is None]
        if lacking:
            raise InputError(
                f"judge '{name}': {file} has no '{lacking[0]}'; give a file with state_dict and "
                "config"
            )
        return found["state_dict"], found["config"]


def _download(name: str, model: str) -> tuple[Mapping[str, Tensor], Any]:
    addresses = import_extra("detoxify.detoxify", "detoxify", "detoxify", SETTING).MODEL_URLS
    if model not in addresses:
        raise InputError(
            f"judge '{name}': Detoxify has no model '{model}'; use one of {', '.join(addresses)}, "
            "or a .ckpt or .safetensors file"
        )
    with loading_judge(name, model):
        loaded = torch.hub.load_state_dict_from_url(
            addresses[model], map_location="cpu", weights_only=True
        )
    return loaded["state_dict"], loaded["config"]


def _build(
    request: JudgeRequest, layout: _Layout, weights: Mapping[str, Tensor]
) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """Make the classifier that the layout describes and fill it; every weight must be given."""
    base, trust = layout.base, request.trust_remote_code
    with loading_judge(request.name, base):
        config = AutoConfig.from_pretrained(
            base, num_labels=layout.outputs, trust_remote_code=trust
        )
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=trust)
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=trust
        )
        missing, extra = model.load_state_dict(weights, strict=False)
    # position_ids: a buffer that older releases of transformers stored
    wrong = [*missing, *(key for key in extra if not key.endswith("position_ids"))]
    if wrong:
        raise InputError(
            f"judge '{request.name}': weight '{wrong[0]}' does not fit the architecture {base}; "
            "give the checkpoint and the config.json that belong together"
        )
    return model, tokenizer


DETOXIFY = JudgeKind(
    load=_load,
    argument="NAME_OR_FILE",
    files=_files,
    identity=lambda request: "" if _file(request) else version_of("detoxify"),
)
