"""A damaged file of a run is told of in one line, made again to the same bits, or shown nowhere."""

import random
import shutil
from pathlib import Path

import pytest
from damage import AGAIN, FAULT, NOTICED, WAYS, damage, drawn, held, kill, outcome, tried
from micro import run

FILES = (  # one of each kind that a finished run holds
    ".ifguide-checksums.json",
    "config.yaml",
    "corpus/blocks/tokens.bin",
    "fit/curvature.safetensors",
    "sample/suppressed/manifest.json",
    "sample/suppressed/samples-0.parquet",
    "select/ranking.npz",
)


@pytest.fixture(scope="module")
def tree(micro_config, finished, tmp_path_factory):
    """A finished run beside its settings, as ``tried`` takes it."""
    folder = tmp_path_factory.mktemp("damage") / "start"
    shutil.copytree(finished, folder / "run")
    shutil.copy(micro_config, folder / "run.yaml")
    return folder


def faults(ends):
    return [end for end in ends if end[-1][0] == FAULT]


@pytest.mark.parametrize("command", ["run", "inspect", "judge", "lm-eval", "status"])
def test_damage_to_a_finished_run(command, tree, tmp_path):
    pairs = [(f"run/{name}", way) for name in FILES for way in WAYS]
    ends = list(tried(tree, tmp_path / "tree", command, pairs))
    assert not faults(ends)
    assert {end[-1][0] for end in ends} & {NOTICED, AGAIN}


@pytest.mark.parametrize("command", ["run", "status"])
def test_damage_to_what_is_half_made(command, half_made, tmp_path):
    names = [name for name in held(half_made) if ".part/" in name]
    assert {Path(name).name for name in names} > {"made-for.json", "cost.json", "journal-0.jsonl"}
    ends = list(tried(half_made, tmp_path / "tree", command, drawn(names, WAYS, 0, len(names))))
    assert not faults(ends)


@pytest.fixture(scope="module")
def half_made(micro_config, tree, tmp_path_factory):
    """A run that was killed after its first shard of scores."""
    folder = tmp_path_factory.mktemp("half") / "tree"
    folder.mkdir()
    shutil.copy(micro_config, folder / "run.yaml")
    kill("run", folder, "score")
    return folder


def shown_settings(out, old, new):
    file = out / "config.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_settings_of_a_run_folder_that_have_changed_are_refused(finished, refused, tmp_path):
    """Even one that no stage is known by."""
    out = shutil.copytree(finished, tmp_path / "run")
    shown_settings(out, "resamples: 50", "resamples: 51")
    line = refused("judge", out, "--judges", "rule")
    assert line.startswith(f"{out}/config.yaml: it is damaged, or was changed by hand; give ")
    first, rest = (out / "config.yaml").read_text(encoding="utf-8").split("\n", 1)
    assert first.startswith("# checksum of these settings: ")
    (out / "config.yaml").write_text(rest, encoding="utf-8")
    assert outcome("judge", tmp_path).code == 0


def test_checksums_that_are_damaged_are_taken_again(micro_config, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    assert run("run", micro_config, out) == 0
    memory, before = out / ".ifguide-checksums.json", held(out)
    for way in WAYS:
        damage(memory, way, random.Random(1))
        assert run("run", micro_config, out) == 0
        assert {n: b for n, b in held(out).items() if n != memory.name} == {
            n: b for n, b in before.items() if n != memory.name
        }


def test_pages_never_stay_beside_other_data(micro_config, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "run")
    assert run("corpus", micro_config, out, "--corpus.block_length", "32", "--replace") == 0
    assert not (out / "report.json").exists()
    assert not (out / "report.html").exists()
    assert (out / "config.yaml").exists()


def test_pages_stay_where_a_stage_is_made_again_as_it_was(micro_config, finished, tmp_path):
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    page = (out / "report.json").read_bytes()
    damage(out / "corpus/blocks/tokens.bin", "bit", random.Random(0))
    assert run("corpus", micro_config, out) == 0
    assert (out / "report.json").read_bytes() == page


def test_a_stage_that_has_lost_its_manifest_is_not_passed_over(
    finished, micro_config, refused, tmp_path
):
    """Its continuations would be missing from what is shown, and nothing would say so."""
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    (out / "sample/suppressed/manifest.json").unlink()
    line = refused("judge", out, "--judges", "rule")
    assert "it has no finished stage 'sample/suppressed'" in line
    assert "move sample/suppressed away); run `ifguide evaluate` first" in line
    assert "it has files and no manifest.json" in outcome("status", tmp_path).printed
    (out / "sample/suppressed").rename(tmp_path / "away")  # as the line says
    assert run("evaluate", micro_config, out) == 0
    assert (out / "sample/suppressed/manifest.json").is_file()
