"""Judges that are optional packages with their model inside: they work without a network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from ifguide import extras


@final
class ProfanityJudge:
    """The linear classifier of the package alt-profanity-check: its probability of profanity."""

    name = "alt-profanity-check"

    def __init__(self) -> None:
        self._predict = import_extra("profanity_check", self.name, "profanity").predict_prob

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return the probability that each text is profane or offensive."""
        return np.asarray(self._predict(list(texts)), dtype=np.float64)


@final
class HateSonarJudge:
    """The package hatesonar (Davidson et al. 2017): p(hate speech) + p(offensive language)."""

    name = "hatesonar"

    def __init__(self) -> None:
        api = import_extra("hatesonar.api", self.name, "hatesonar")
        self._sonar = api.Sonar(_with_plain_locale(api.DEFAULT_MODEL_FILE))

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return 1 - p(neither) of each text."""
        neither = [
            {found["class_name"]: found["confidence"] for found in answer["classes"]}["neither"]
            for answer in map(self._sonar.ping, texts)
        ]
        return np.clip(1 - np.array(neither, dtype=np.float64), 0, 1)  # float32 rounding only


def import_extra(module: str, package: str, extra: str) -> Any:
    """Import a module of a judge's package.

    Raises:
        InputError: it is not installed; the message names the extra.
    """
    return extras.import_extra(module, package, extra, "evaluation.judges")


def _with_plain_locale(model_file: Path) -> Path | bytes:
    """Return hatesonar's ONNX model so that it loads without the system's en_US locale.

    Its lower-casing step asks onnxruntime for en_US.UTF-8 by default, which small Linux systems
    lack; C.UTF-8 is always there on Linux and lower-cases alike.
    """
    if sys.platform != "linux":
        return model_file
    onnx = import_extra("onnx", "onnx", "hatesonar")
    model = onnx.load(model_file)
    for node in model.graph.node:
        if node.op_type == "StringNormalizer" and all(a.name != "locale" for a in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return model.SerializeToString()
