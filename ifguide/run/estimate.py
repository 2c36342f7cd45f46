"""What a run will take, stage by stage, before anything of it is computed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ifguide.errors import InputError
from ifguide.influence.config import CurvatureConfig, DirectionConfig
from ifguide.report.tables import Table, bytes_text, duration
from ifguide.run.calibration import calibrate
from ifguide.run.clock import waited
from ifguide.run.effort import NOTHING, Effort, Number, Sizes
from ifguide.run.memory import held_memory, memory_of_machine
from ifguide.run.room import free_at
from ifguide.run.run import closure
from ifguide.run.stage import AnyStage
from ifguide.run.stages import REPORT
from ifguide.run.survey import survey
from ifguide.settings.config import Config

BUSY = 1.2  # times as long, from which on it is said that the machine is busy
TRAININGS = ("baseline", "training")


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take.

    Args:
        name: of the stage.
        seconds: that it runs.
        peak: bytes of memory at its largest, with all that earlier stages hold.
        disk: bytes that it leaves.
        scratch: bytes more that it needs on disk meanwhile.
    """

    name: str
    seconds: Number
    peak: Number
    disk: Number
    scratch: Number


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Args:
        stages: in the order in which they are made.
        sizes: what it goes through.
        memory: bytes that there are where the model lies.
        free: bytes that are free where the run folder will be.
        slowed: how many times as long things take while other work has this machine as now.
        problems: why it cannot fit, and the settings that would make it fit, a line each.
    """

    stages: tuple[StageEstimate, ...]
    sizes: Sizes
    memory: int
    free: int
    slowed: float
    problems: tuple[str, ...]

    @property
    def seconds(self) -> Number:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak(self) -> Number:
        """Bytes of memory at most."""
        return max(stage.peak for stage in self.stages)

    @property
    def disk(self) -> Number:
        """Bytes of disk at most, with what is only needed meanwhile."""
        left: Number = 0.0
        most: Number = 0.0
        for stage in self.stages:
            left += stage.disk
            most = max(most, left + stage.scratch)
        return most


def estimate(config: Config, out: Path | None = None, device: str | None = None) -> Estimate:
    """Return what a run will take on this machine.

    Args:
        config: its settings.
        out: where its folder will be, for the disk that is free there; by default here.
        device: ``cpu`` or ``cuda``; by default what the run will use.

    Raises:
        InputError: something given cannot be used, or there is no such device.
    """
    where = _device(device)
    started, waits = time.perf_counter(), waited()
    seen = survey(config)
    efforts = efforts_of(config, seen.sizes)
    kinds = {kind for _, effort in efforts for kind in effort.work}
    rates = calibrate(config, seen, kinds, where)
    base = float(held_memory()) if where == "cpu" else 0.0
    peaks = _peaks(base, [effort for _, effort in efforts])
    stages = tuple(
        StageEstimate(stage.name, rates.of(effort), peak, effort.disk, effort.scratch)
        for (stage, effort), peak in zip(efforts, peaks, strict=True)
    )
    memory = _memory(where)
    took, lost = time.perf_counter() - started, waited() - waits
    slowed = took / max(1e-9, took - lost)
    found = Estimate(stages, seen.sizes, memory, free_at(out or Path()), slowed, ())
    return replace(found, problems=tuple(_problems(found, config)))


def efforts_of(config: Config, sizes: Sizes) -> list[tuple[AnyStage, Effort]]:
    """Return what each stage of a whole run takes, in the order in which they are made."""
    stages = [stage for stage in closure([REPORT], config) if stage.kept(config)]
    return [(s, NOTHING if s.effort is None else s.effort(config, sizes)) for s in stages]


def _peaks(base: Number, efforts: Sequence[Effort]) -> list[Number]:
    """Return the memory of a process at most in each stage.

    What a stage gives back, the process keeps for the next ones; files that are mapped come on top.
    """
    held, reached, mapped, peaks = base, base, 0.0, list[Number]()
    for effort in efforts:
        reached = max(reached, held + effort.memory)
        peaks.append(reached + mapped)
        held, mapped = held + effort.holds, mapped + effort.maps
    return peaks


def estimate_table(found: Estimate) -> Table:
    """Return a row a stage and one of all, as text."""
    rows = [
        (s.name, duration(s.seconds), *map(bytes_text, (s.peak, s.disk, s.disk + s.scratch)))
        for s in found.stages
    ]
    whole = ("all", duration(found.seconds), bytes_text(found.peak), "", bytes_text(found.disk))
    header = ("", "time", "memory", "disk", "disk meanwhile")
    return Table("estimate", "What the run will take, about", header, (*rows, whole))


def said_of(found: Estimate) -> str:
    """Return what the run goes through, and what keeps the machine busy, in a line each."""
    sizes = found.sizes
    sampled = f"{sum(sizes.prompts.values()):,} prompts"
    text = (
        f"{sizes.shape.parameters:,} weights; {sizes.tokens:,} tokens in {sizes.blocks:,} blocks; "
        f"{sizes.queries:,} queries; {sampled}"
    )
    if sizes.guessed:
        text += f" (of {', '.join(sizes.guessed)} a part was read, and the rest guessed)"
    if found.slowed > BUSY:
        text += (
            "\ntimes are those of a machine that does nothing else; other work makes them "
            f"{found.slowed:.1f} times as long just now"
        )
    return text


def _problems(found: Estimate, config: Config) -> list[str]:
    problems = []
    if found.peak > found.memory:
        worst = max(found.stages, key=lambda stage: stage.peak)
        problems.append(
            f"memory: '{worst.name}' needs about {bytes_text(worst.peak)}, there are "
            f"{bytes_text(found.memory)}; {memory_mend(config, found.sizes, found.memory)}"
        )
    if found.disk > found.free:
        problems.append(
            f"disk: the run needs about {bytes_text(found.disk)}, there are "
            f"{bytes_text(found.free)} free; "
            f"{disk_mend(config, found.sizes)}"
        )
    return problems


def memory_mend(config: Config, sizes: Sizes, memory: Number) -> str:
    """Return the settings by which a run would fit into some memory, or how much it needs."""
    least: Number = float("inf")
    for name, other in _lighter(config):
        efforts = [effort for _, effort in efforts_of(other, sizes)]
        least = min(least, max(_peaks(held_memory(), efforts)))
        if least < memory:
            return f"set {name}"
    return f"take a smaller model, or a machine of {bytes_text(1.1 * least)}"


def _lighter(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield changes of settings that need less memory, the least change first."""
    named, other = "", config
    for size in (16, 8, 4, 2, 1):
        changes = []
        for section in TRAININGS:
            given = getattr(config, section)
            if given is not None and given.batch_size > size:
                share = given.accumulation * -(-given.batch_size // size)
                less = replace(given, batch_size=size, accumulation=share)
                other = replace(other, **{section: less})
                changes += [f"{section}.batch_size: {size}", f"{section}.accumulation: {share}"]
        if changes:
            named = ", ".join(changes)
            yield named, other
    plain, usual = CurvatureConfig(kind="identity"), DirectionConfig(batch_size=1)
    changed = replace(other, curvature=plain, direction=usual)
    least = "curvature.kind: identity, direction.batch_size: 1"
    yield ", ".join(filter(None, (named, least))), changed


def disk_mend(config: Config, sizes: Sizes) -> str:
    """Return the settings by which a run would need less disk."""
    if config.curvature.kind != "identity":
        factors = bytes_text(sizes.shape.factors)
        return f"set curvature.kind: identity ({factors} less), or give --out on a larger disk"
    return "give --out on a larger disk"


def _device(given: str | None) -> str:
    """Return where the run's models will lie.

    Raises:
        InputError: there is no such device here, or the run would take another one.
    """
    here = "cuda" if torch.cuda.is_available() else "cpu"
    if given in (None, here):
        return here
    if given == "cuda":
        raise InputError("--device: there is no CUDA device here; run this on the machine that has")
    raise InputError(
        "--device: the run would take the CUDA device; set CUDA_VISIBLE_DEVICES= to use the cpu"
    )


def _memory(device: str) -> int:
    """Return the bytes that there are where models lie."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return memory_of_machine()
