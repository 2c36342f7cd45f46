"""Whether a run can fit into memory and onto the disk at all, seen before anything is read.

Only what is certain is refused: bytes that no run of these settings can do without.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from ifguide.corpus.config import SMALLEST
from ifguide.distributed import ranks
from ifguide.errors import InputError
from ifguide.models.load import SpecialTokens
from ifguide.models.quantised import stored_quantised
from ifguide.models.shape import ModelShape, architecture_of, shape_of
from ifguide.report.tables import bytes_text
from ifguide.run.effort import training_memory
from ifguide.run.manifest import MANIFEST
from ifguide.run.memory import memory_of_machine, swap_of_machine
from ifguide.run.stage import AnyStage
from ifguide.settings.config import Config

LIGHTER = {  # fields of ``TrainingArguments`` by which AdamW may hold less, or elsewhere
    "optim",
    "optim_args",
    "optim_target_modules",
    "deepspeed",
    "fsdp",
    "fsdp_config",
    "parallelism_config",
    "accelerator_config",
}


def check_room(config: Config, out: Path, stages: Sequence[AnyStage]) -> None:
    """Refuse a run that cannot fit, with the settings that would make it fit.

    Args:
        config: its settings.
        out: the run folder, there or not.
        stages: that are to be made, unless they are there.

    Raises:
        InputError: memory or disk is too small, whatever the texts hold.
    """
    if ranks.world_size() > 1:
        return
    shape = _least_shape(config)
    missing = {
        stage.name
        for stage in stages
        if stage.kept(config) and not (out / stage.name / MANIFEST).is_file()
    }
    if shape is not None and missing:
        _check_memory(config, shape, missing)
        _check_disk(config, shape, missing, out)


def free_at(place: Path) -> int:
    """Return the bytes that are free where a folder is, or will be."""
    there = next(up for up in (place.absolute(), *place.absolute().parents) if up.is_dir())
    return shutil.disk_usage(there).free


def _least_shape(config: Config) -> ModelShape | None:
    """Return the model's sizes with the smallest vocabulary it may get; None if not told at once.

    A name on the hub, a GGUF file, quantised weights and code of a checkpoint's own are left to
    what loads them.
    """
    model, path = config.model, Path(config.model.path or "")
    if model.gguf is not None or model.trust_remote_code:
        return None
    if model.scratch is None and (not path.is_dir() or stored_quantised(path)):
        return None
    with suppress(InputError):  # of what is wrong with it the loader tells
        return shape_of(architecture_of(model, SpecialTokens(SMALLEST, 0, 0)), model.dtype)
    return None


def _check_memory(config: Config, shape: ModelShape, missing: set[str]) -> None:
    gpu = torch.cuda.is_available()
    there = (
        torch.cuda.get_device_properties(0).total_memory
        if gpu
        else memory_of_machine() + swap_of_machine()
    )
    for stage, section in (("baseline", "baseline"), ("train", "training")):
        training = getattr(config, section)
        wanted = training_memory(shape)
        if stage not in missing or training is None or LIGHTER & set(training.trainer):
            continue
        if wanted > there:
            raise InputError(
                f"{section}: the model's {shape.parameters:,} weights, their gradients and AdamW's "
                f"two numbers each take {bytes_text(wanted)}, this "
                f"{'GPU' if gpu else 'machine'} has {bytes_text(there)}; "
                f"{_mend(config, shape, section, there)}"
            )


def _mend(config: Config, shape: ModelShape, section: str, there: int) -> str:
    """Return the settings by which training would fit, as far as weights go."""
    half = shape.weights * 2 // shape.item if shape.item > 2 else shape.weights
    weights_and_gradients = 2 * shape.weights
    if 4 * half <= there:
        return "set model.dtype: bfloat16"
    if weights_and_gradients <= there:
        return f"set {section}.trainer: {{optim: adafactor}}"
    return "take a smaller model, or a larger machine"


def _check_disk(config: Config, shape: ModelShape, missing: set[str], out: Path) -> None:
    wanted = {name: size for name, size in _least_files(config, shape) if name in missing}
    begun = sum(_bytes_in(out / f"{name}.part") for name in wanted)
    needed, free = sum(wanted.values()) - begun, free_at(out)
    if needed <= free:
        return
    mend = "give --out on a larger disk"
    if needed - wanted.get("fit", 0) <= free and "fit" in wanted:
        mend = f"set curvature.kind: identity, or {mend}"
    parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in wanted.items())
    raise InputError(
        f"{out}: the run writes {bytes_text(needed)} at least ({parts}), {bytes_text(free)} are "
        f"free; {mend}"
    )


def _least_files(config: Config, shape: ModelShape) -> Iterator[tuple[str, int]]:
    """Yield the bytes that stages write whatever the texts are."""
    yield "baseline", shape.weights
    yield "train", shape.weights
    yield "aim", shape.direction
    if config.curvature.kind in ("kfac", "ekfac"):
        yield "fit", shape.factors


def _bytes_in(folder: Path) -> int:
    """Return the bytes of all files below a folder, links not followed."""
    return sum(
        os.lstat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(folder)
        for name in names
    )
