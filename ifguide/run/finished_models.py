"""What a run folder holds of its models: checkpoints, and what they said to prompts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ifguide.errors import InputError
from ifguide.evaluation.config import EvaluationConfig
from ifguide.run.finished import STAGE_OF
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config


def config_of(run: Path) -> Config:
    """Return the settings of a run folder.

    Raises:
        InputError: it is no run folder.
    """
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: it holds no config.yaml; give the folder of a run")
    return read_config(run / "config.yaml")


def kept_continuations(run: Path, config: EvaluationConfig) -> dict[str, dict[str, pa.Table]]:
    """Return the continuations in a run folder, those of a comparison's methods too.

    Raises:
        InputError: there are none.
    """
    models: dict[str, dict[str, pa.Table]] = {}
    files = sorted(run.rglob("samples-*.parquet"), key=lambda file: (len(file.parts), file))
    for prompts in config.prompt_sets:
        ending = f"-{prompts}"
        for file in files:
            name = file.stem.removeprefix("samples-")
            if name.endswith(ending):
                tables = models.setdefault(name.removesuffix(ending), {})
                tables.setdefault(prompts, pq.read_table(file))
    if not models:
        raise InputError(f"{run}: it holds no continuations; run `ifguide evaluate` first")
    return models


def checkpoint_of(run: Path, model: str) -> str:
    """Return a model's folder, or the name of the checkpoint that a run took as its baseline.

    Raises:
        InputError: there is no such model in the run folder.
    """
    folder = run / STAGE_OF.get(model, model)
    if (folder / "config.json").exists():
        return str(folder)
    if model == "baseline" and (run / "config.yaml").exists():
        config = read_config(run / "config.yaml")
        if config.baseline is None and config.model.path is not None:
            return config.model.path
    raise InputError(
        f"{run}: it holds no model '{model}'; run `ifguide train` first, or name baseline, "
        "suppressed or a checkpoint's folder in it"
    )
