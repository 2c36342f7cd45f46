"""What a run is said to take, beside what it took; and what cannot fit is refused at once."""

import json
import re
import time
from dataclasses import replace

import pytest
import torch
from accelerate import init_empty_weights
from accelerate.commands.estimate import estimate_training_usage
from accelerate.utils import calculate_maximum_sizes
from micro import run, write_settings
from tiny import FAMILIES
from transformers import AutoConfig, AutoModelForCausalLM

from ifguide.commands.main import main
from ifguide.errors import InputError
from ifguide.influence.calibrate import calibration_blocks
from ifguide.models.hooks import first_readers
from ifguide.models.shape import shape_of, thinned
from ifguide.models.tracked import find_tracked
from ifguide.run import bench, calibration, effort, room
from ifguide.run.bench import random_corpus
from ifguide.run.clock import undisturbed, waited
from ifguide.run.estimate import (
    Estimate,
    StageEstimate,
    _peaks,
    _problems,
    efforts_of,
    estimate,
    estimate_table,
)
from ifguide.run.memory import held_memory
from ifguide.run.survey import survey
from ifguide.settings.reader import read_config

IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def architecture(family, **changes):
    return AutoConfig.for_model(family, vocab_size=61, **{**IDS, **FAMILIES[family], **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_is_that_of_the_model_and_accelerate_s(family):
    config = architecture(family)
    shape, model = shape_of(config, "float32"), AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    tracked = find_tracked(model)
    assert list(shape.tracked) == [tuple(w.matrix.shape) for w in tracked]
    first = first_readers(model, tracked)
    assert list(shape.inputs) == [w.matrix.shape[1] for w in tracked if first[w.name] == w.name]
    assert shape.vocabulary == 61
    with init_empty_weights():
        empty = AutoModelForCausalLM.from_config(config)
    empty.tie_weights()
    total, _ = calculate_maximum_sizes(empty)
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in empty.buffers())
    assert total - buffers <= shape.weights <= total
    assert estimate_training_usage(shape.weights, "float32")["step"] == effort.training_memory(
        shape
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "qwen2"])
def test_three_thin_copies_come_to_the_whole_model(family, monkeypatch, micro_config):
    """What each copy is measured to take is here its number of weights, which are linear too."""
    layers = "n_layer" if family == "gpt2" else "num_hidden_layers"
    config = architecture(family, **{layers: 7})
    shape = shape_of(config, "float32")
    monkeypatch.setattr(calibration, "WHOLE", 0)
    monkeypatch.setattr(calibration, "FEW", 11)
    rooms = []

    def measured(bench):
        rooms.append(bench.room)
        return float(sum(weight.numel() for weight in bench.model.parameters()))

    monkeypatch.setitem(calibration.OF_MODEL, effort.LOSSES, measured)

    settings = read_config(micro_config)
    seen = survey(settings)
    seen = replace(seen, architecture=config, sizes=replace(seen.sizes, shape=shape))
    found = calibration._of_model(settings, seen, [effort.LOSSES], "cpu")
    assert found[effort.LOSSES] == pytest.approx(shape.parameters, rel=1e-6)
    assert len(rooms) == 3
    assert len(set(rooms)) == 1  # batches of one size, or what a batch costs is taken for a block's


def test_a_thin_copy_has_the_blocks_of_the_whole():
    whole, thin = architecture("gemma2"), thinned(architecture("gemma2"), 1, 7)
    ours, theirs = shape_of(thin, "float32"), shape_of(whole, "float32")
    assert ours.tracked == theirs.tracked[: len(ours.tracked)]
    assert (ours.layers, ours.vocabulary) == (1, 7)


@pytest.mark.parametrize(
    ("changes", "tried"),
    [({}, bench.TRIED), ({"tolerance": 0.01}, 1), ({"step": 0.01}, None)],
    ids=["searched", "the first is enough", "given"],
)
def test_what_the_search_for_a_step_is_said_to_take(changes, tried, micro_config, monkeypatch):
    """Moved weights take 10 s, a token by ``jvp`` 3 and by two points 2."""
    config = read_config(micro_config)
    scores = replace(config.scores.by("difference"), **changes)
    config, seen = replace(config, scores=scores), survey(config)
    monkeypatch.setattr(bench, "_scoring", lambda given: (2.0, 10.0))
    monkeypatch.setattr(bench, "_exact", lambda given: 3.0)
    model = AutoModelForCausalLM.from_config(seen.architecture)
    found = bench._step(bench.Bench(config, model, seen, 61, 100.0))
    corpus = random_corpus(seen.sizes.blocks, seen.sizes.block_length, 61)
    tokens = calibration_blocks(model, corpus).numel()
    assert found == (10.0 if tried is None else 10.0 * (1 + tried) + tokens * (3.0 + 2.0 * tried))


def manifest(finished, stage):
    return json.loads((finished / stage / "manifest.json").read_text())


def test_sizes_and_disk_beside_a_run_s_own(finished, micro_config):
    config = read_config(micro_config)
    sizes = survey(config).sizes
    corpus = json.loads((finished / "corpus" / "blocks" / "corpus.json").read_text())
    assert sizes.tokens == pytest.approx(corpus["blocks"] * corpus["block_length"], rel=0.15)
    prompts = json.loads((finished / "prompts" / "prompts.json").read_text())["sets"]
    assert sizes.prompts == {held["name"]: len(held["prompts"]) for held in prompts}
    found = {stage.name: taken for stage, taken in efforts_of(config, sizes)}
    for stage in ("fit", "aim", "baseline", "train"):
        held = sum(file["bytes"] for file in manifest(finished, stage)["files"].values())
        other = sum(
            file["bytes"]
            for name, file in manifest(finished, stage)["files"].items()
            if not name.endswith(".safetensors")
        )
        assert found[stage].disk == pytest.approx(held - other, rel=0.2), stage
    for stage in ("score", "corpus", "select"):
        held = sum(file["bytes"] for file in manifest(finished, stage)["files"].values())
        assert found[stage].disk == pytest.approx(held, rel=0.6), stage


def test_the_tokens_of_a_training_are_those_that_it_counted(finished, micro_config):
    config = read_config(micro_config)
    corpus = json.loads((finished / "corpus" / "blocks" / "corpus.json").read_text())
    told = effort.training_tokens(corpus["blocks"], corpus["block_length"], config.training)
    counted = manifest(finished, "train")["cost"]["tokens"]
    batch = config.training.batch_size * corpus["block_length"]
    assert abs(told - counted) <= batch  # Trainer makes whole updates
    steps = effort.updates(corpus["blocks"], config.training)
    assert steps == -(-counted // batch)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores__engine": "difference", "scores__tolerance": 0.01},
        {
            "curvature": {"kind": "kfac"},
            "scores__engine": "position",
            "smoothing": {"neighbours": 1},
        },
        {"curvature": {"kind": "identity"}, "training__objective": {"kind": "npo"}},
    ],
    ids=["ekfac, difference", "kfac, position", "identity, npo"],
)
def test_every_stage_has_an_estimate(tmp_path, changes):
    config = read_config(write_settings(tmp_path, **changes))
    found = estimate(config, tmp_path / "not" / "there")
    names = [stage.name for stage in found.stages]
    assert names == [stage.name for stage, _ in efforts_of(config, found.sizes)]
    costly = {"corpus", "baseline", "aim", "score", "train", "sample/baseline"}
    assert all(s.seconds > 0 for s in found.stages if s.name in costly)
    assert all(s.seconds >= 0 and s.peak > 0 for s in found.stages)
    assert found.problems == ()
    assert len(estimate_table(found).rows) == len(names) + 1


def test_the_command(tmp_path, capfd, monkeypatch):
    config, out = write_settings(tmp_path), tmp_path / "run"
    assert main(["estimate", str(config), "--out", str(out), "--quiet"]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert [line.split()[0] for line in shown.out.splitlines() if line.startswith("train")]
    assert not out.exists()
    monkeypatch.setattr("ifguide.run.estimate.free_at", lambda place: 1000)
    assert main(["estimate", str(config), "--out", str(out), "--quiet"]) == 2
    line = capfd.readouterr().err
    assert line.startswith("ifguide: error: disk: the run needs about ")
    assert "set curvature.kind: identity" in line
    assert line.count("\n") == 1


def test_what_does_not_fit_is_said_with_the_setting_that_helps(micro_config):
    """Half of what the stage of the most memory needs beyond the process is too little."""
    config = read_config(micro_config)
    wide = replace(config, training=replace(config.training, batch_size=1024))
    sizes = survey(wide).sizes
    found = Estimate(tuple(_stages(wide, sizes)), sizes, 1 << 40, 1 << 40, 1.0, ())
    assert _problems(found, wide) == []
    base = found.stages[0].peak
    enough = base + (found.peak - base) / 2
    (line,) = _problems(replace(found, memory=int(enough)), wide)
    assert line.startswith("memory: 'train' needs about ")
    changed = re.search(r"set training.batch_size: (\d+), training.accumulation: (\d+)", line)
    size, accumulation = map(int, changed.groups())
    assert size * accumulation == 1024
    less = replace(wide, training=replace(wide.training, batch_size=size))
    assert max(stage.peak for stage in _stages(less, sizes)) < enough
    (line,) = _problems(replace(found, memory=int(base) // 2), wide)
    assert "take a smaller model, or a machine of " in line


def _stages(config, sizes):
    efforts = efforts_of(config, sizes)
    peaks = _peaks(held_memory(), [taken for _, taken in efforts])
    for (stage, taken), peak in zip(efforts, peaks, strict=True):
        yield StageEstimate(stage.name, 0.0, peak, taken.disk, taken.scratch)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_a_device_that_is_not_there_is_refused(tmp_path, capfd):
    assert main(["estimate", str(write_settings(tmp_path)), "--device", "cuda", "--quiet"]) == 2
    assert "--device: there is no CUDA device here" in capfd.readouterr().err


HUGE = {
    "model_type": "llama",
    "hidden_size": 1 << 15,
    "num_hidden_layers": 200,
    "num_attention_heads": 64,
    "intermediate_size": 1 << 17,
    "max_position_embeddings": 64,
}


def test_a_model_that_no_memory_holds_is_refused_before_anything_is_made(tmp_path, capfd):
    config = write_settings(tmp_path, model__scratch=HUGE)
    assert run("run", config, tmp_path / "run") == 2
    line = capfd.readouterr().err
    assert line.startswith("ifguide: error: baseline: the model's ")
    assert "; take a smaller model, or a larger machine" in line
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_refused_unless_the_stages_are_there(
    finished, micro_config, monkeypatch, capfd, tmp_path
):
    monkeypatch.setattr("ifguide.run.room.free_at", lambda place: 1000)
    assert run("report", micro_config, finished) == 0
    assert run("run", micro_config, tmp_path / "new") == 2
    line = capfd.readouterr().err
    assert "the run writes" in line
    assert not (tmp_path / "new").exists()


def test_room_for_bfloat16_or_another_optimiser_alone(tmp_path, monkeypatch):
    config = read_config(write_settings(tmp_path))
    shape = room._least_shape(config)
    monkeypatch.setattr(room, "swap_of_machine", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for there, mend in (
        (shape.weights * 2, "set model.dtype: bfloat16"),
        (shape.weights, "take a smaller model, or a larger machine"),
    ):
        monkeypatch.setattr(room, "memory_of_machine", lambda there=there: there)
        with pytest.raises(InputError, match=mend):
            room._check_memory(config, shape, {"baseline"})
    trainer = read_config(write_settings(tmp_path, baseline__trainer={"optim": "adafactor"}))
    room._check_memory(trainer, shape, {"baseline"})


def test_the_clock_is_never_ahead_of_the_wall():
    wall, own, lost = time.perf_counter(), undisturbed(), waited()
    total = sum(range(300_000))
    assert total
    assert 0 < undisturbed() - own <= time.perf_counter() - wall + 1e-6
    assert waited() >= lost
