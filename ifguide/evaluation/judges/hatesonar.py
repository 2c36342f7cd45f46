"""The judge hatesonar: a package with its model inside, which needs no network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from ifguide.evaluation.judges.registry import SETTING, JudgeKind, version_of
from ifguide.extras import import_extra


@final
class HateSonarJudge:
    """The package hatesonar (Davidson et al. 2017): p(hate speech) + p(offensive language)."""

    name = "hatesonar"

    def __init__(self) -> None:
        api = import_extra("hatesonar.api", self.name, "hatesonar", SETTING)
        self._sonar = api.Sonar(_with_plain_locale(api.DEFAULT_MODEL_FILE))

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return 1 - p(neither) of each text."""
        neither = [
            {found["class_name"]: found["confidence"] for found in answer["classes"]}["neither"]
            for answer in map(self._sonar.ping, texts)
        ]
        return np.clip(1 - np.array(neither, dtype=np.float64), 0, 1)  # float32 rounding only


def _with_plain_locale(model_file: Path) -> Path | bytes:
    """Return hatesonar's ONNX model so that it loads without the system's en_US locale.

    Its lower-casing step asks onnxruntime for en_US.UTF-8 by default, which small Linux systems
    lack; C.UTF-8 is always there on Linux and lower-cases alike.
    """
    if sys.platform != "linux":
        return model_file
    onnx = import_extra("onnx", "onnx", "hatesonar", SETTING)
    model = onnx.load(model_file)
    for node in model.graph.node:
        if node.op_type == "StringNormalizer" and all(a.name != "locale" for a in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return model.SerializeToString()


HATESONAR = JudgeKind(
    load=lambda request: HateSonarJudge(),
    identity=lambda request: version_of("hatesonar"),
)
