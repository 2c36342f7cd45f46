"""Judges that are sequence-classification models, Detoxify's checkpoints among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from ifguide.errors import InputError, one_line
from ifguide.evaluation.judges.packages import import_extra
from ifguide.models.forward import positions_of

BATCH = 32
UNLIMITED = 2**20  # tokens; tokenizers without a limit say 1e30
# A label is found by its whole name; an earlier group wins over a later one.
TOXIC_LABELS = (
    {"toxic", "toxicity"},
    {"hate", "hateful", "hate_speech", "offensive", "abusive", "harmful", "unsafe"},
)
DETOXIFY_FILES = (".ckpt", ".safetensors")
# what Detoxify calls the categories of all its models, whatever a checkpoint calls them
DETOXIFY_NAMES = {
    "toxic": "toxicity",
    "severe_toxic": "severe_toxicity",
    "identity_hate": "identity_attack",
}


@final
class ClassifierJudge:
    """The probability that a sequence-classification model gives to one of its labels.

    Independent labels are the judge's categories; exclusive ones say nothing that the toxic one's
    probability does not.

    Args:
        name: of the judge.
        model: gives logits over labels, and may give more behind them; runs where it is.
        tokenizer: the model's.
        labels: their names.
        label: the toxic label's number.
        independent: labels are independent (sigmoid), not exclusive (softmax).
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        label: int,
        *,
        independent: bool,
    ) -> None:
        self.name, self.label, self.independent = name, label, independent
        self.categories = tuple(labels) if independent and len(labels) > 1 else ()
        self._labels = len(labels)
        self._model, self._tokenizer = model.eval(), tokenizer
        self._longest = _longest_input(model, tokenizer)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
            config: Any = model.config
            config.pad_token_id = tokenizer.eos_token_id

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the toxic label's probability; what exceeds the model's positions is cut off."""
        return self.columns(texts)[:, self.label]

    def columns(self, texts: Sequence[str]) -> Float[np.ndarray, "n labels"]:
        """Return the probability of every label."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        scores = np.zeros((len(texts), self._labels))
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            scores[batch] = self._probabilities([texts[number] for number in batch])
        return scores

    @torch.no_grad()
    def _probabilities(self, texts: list[str]) -> Float[np.ndarray, "n labels"]:
        encoded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self._model.device)
        logits = self._model(**encoded).logits.double()
        chances = logits.sigmoid() if self.independent else logits.softmax(-1)
        return chances[:, : self._labels].cpu().numpy()


def load_classifier(name: str, place: str) -> ClassifierJudge:
    """Load a checkpoint folder or hub name, ``#LABEL`` behind it naming the toxic label.

    Raises:
        InputError: it cannot be loaded, has no trained classification head, or its toxic label is
            not clear.
    """
    checkpoint, _, label = (place, "", "") if Path(place).exists() else place.partition("#")
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, checkpoint, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"judge '{name}': {checkpoint} is no trained classifier, weight '{missing[0]}' is not "
            "in it; name a sequence-classification checkpoint"
        )
    names = [str(model.config.id2label[k]) for k in range(model.config.num_labels)]
    independent = len(names) == 1 or model.config.problem_type == "multi_label_classification"
    number = _toxic_label(name, names, label)
    return ClassifierJudge(name, _placed(model), tokenizer, names, number, independent=independent)


def load_detoxify(name: str, place: str) -> ClassifierJudge:
    """Load one of Detoxify's models: by its name there, or from a checkpoint file.

    A file holds ``state_dict`` and ``config`` (read with ``weights_only``), or is a .safetensors
    file with the config as JSON in its metadata. The architecture and tokenizer come from the
    file's folder if it has a config.json, else by the name that the config gives. The models
    trained against unintended bias have identity labels behind their seven categories; they are
    passed over.

    Raises:
        InputError: the package is needed and missing, or the file is not such a checkpoint.
    """
    if place.endswith(DETOXIFY_FILES):
        weights, config = _read_detoxify(name, Path(place))
        folder = Path(place).parent
    else:
        weights, config = _download_detoxify(name, place)
        folder = None
    try:
        arch, data = config["arch"]["args"], config["dataset"]["args"]
        classes = list(arch.get("classes") or data["classes"])
        base = folder if folder and (folder / "config.json").exists() else arch["model_type"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"judge '{name}': the config in {place} lacks {error}; give a checkpoint of Detoxify's "
            "layout (arch.args.model_type, dataset.args.classes)"
        ) from error
    outputs = int(arch.get("num_classes", len(classes)))
    if outputs < len(classes):
        raise InputError(
            f"judge '{name}': the config in {place} names {len(classes)} classes for {outputs} "
            "outputs; give a checkpoint of Detoxify's layout"
        )
    model, tokenizer = _build(name, str(base), weights, outputs)
    number = _toxic_label(name, classes, "")
    names = [DETOXIFY_NAMES.get(label, label) for label in classes]
    return ClassifierJudge(name, _placed(model), tokenizer, names, number, independent=True)


def _read_detoxify(name: str, file: Path) -> tuple[Mapping[str, Tensor], Any]:
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as stored:
                config = json.loads((stored.metadata() or {})["config"])
                return {key: stored.get_tensor(key) for key in stored.keys()}, config  # noqa: SIM118
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        return loaded["state_dict"], loaded["config"]
    except KeyError as error:
        raise InputError(
            f"judge '{name}': {file} has no {error}; give a file with state_dict and config"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError, SafetensorError) as error:
        raise _not_loaded(name, str(file), error) from error


def _download_detoxify(name: str, model: str) -> tuple[Mapping[str, Tensor], Any]:
    addresses = import_extra("detoxify.detoxify", "detoxify", "detoxify").MODEL_URLS
    if model not in addresses:
        raise InputError(
            f"judge '{name}': Detoxify has no model '{model}'; use one of {', '.join(addresses)}, "
            "or a .ckpt or .safetensors file"
        )
    try:
        loaded = torch.hub.load_state_dict_from_url(
            addresses[model], map_location="cpu", weights_only=True
        )
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise _not_loaded(name, model, error) from error
    return loaded["state_dict"], loaded["config"]


def _build(
    name: str, base: str, weights: Mapping[str, Tensor], labels: int
) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """Make the classifier that ``base`` describes and fill it; every weight must be given."""
    try:
        config = AutoConfig.from_pretrained(base, num_labels=labels, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
        missing, extra = model.load_state_dict(weights, strict=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_loaded(name, base, error) from error
    # position_ids: a buffer that older releases of transformers stored
    wrong = [*missing, *(key for key in extra if not key.endswith("position_ids"))]
    if wrong:
        raise InputError(
            f"judge '{name}': weight '{wrong[0]}' does not fit the architecture {base}; give the "
            "checkpoint and the config.json that belong together"
        )
    return model, tokenizer


def _toxic_label(name: str, labels: Sequence[str], wanted: str) -> int:
    """Return the number of the wanted label, or of the only one whose name says toxic."""
    if wanted:
        if wanted in labels:
            return labels.index(wanted)
        if wanted.isdecimal() and int(wanted) < len(labels):
            return int(wanted)
        raise InputError(f"judge '{name}': no label '{wanted}' among {', '.join(labels)}")
    plain = [label.lower().replace(" ", "_").replace("-", "_") for label in labels]
    for group in TOXIC_LABELS:
        found = [number for number, label in enumerate(plain) if label in group]
        if len(found) == 1:
            return found[0]
    raise InputError(
        f"judge '{name}': which of its labels means toxic is not clear ({', '.join(labels)}); add "
        "#LABEL to the judge's name"
    )


def _longest_input(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the most tokens the model reads; RoBERTa's positions begin behind its padding id."""
    positions = positions_of(model)
    offsets = [
        module.padding_idx + 1
        for path, module in model.named_modules()
        if path.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    room = UNLIMITED if positions is None else positions - max(offsets, default=0)
    return int(min(room, tokenizer.model_max_length, UNLIMITED))


def _placed(model: nn.Module) -> nn.Module:
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _not_loaded(name: str, place: str, error: BaseException) -> InputError:
    return InputError(
        f"judge '{name}': {place} cannot be loaded: {one_line(error, 1)}; give a checkpoint on "
        "this machine, or a name on the hub (which needs the network)"
    )
