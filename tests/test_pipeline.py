"""Whole runs: what they leave, what they reuse, and that an interruption changes nothing."""

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from micro import STAGES, contents, figures, manifests, run, settings, write_settings

from ifguide.config import Config
from ifguide.settings import read_config
from ifguide.version import VERSION


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_settings(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run folder that no test may change."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert run("run", config, out) == 0
    return out


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def processes():
    """Makes processes in which ifguide is imported already, but nothing has run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ifguide.cli", "ifguide.pipeline", "micro"])
    return context


# what a run leaves


def test_the_report_has_the_documented_parts(finished):
    report = json.loads((finished / "report.json").read_text())
    assert {"version", "config_fingerprint", "models", "localisation", "cost"} <= report.keys()
    assert report["version"] == VERSION
    assert report["models"].keys() == {"baseline", "suppressed"}
    for model in report["models"].values():
        for figure in (model["emt"], model["tp"]):
            assert figure.keys() == {"toxic", "neutral"}
            for interval in figure.values():
                assert interval.keys() == {"value", "low", "high"}
                assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
        assert model["perplexity"].keys() == {"benign"}
        assert "lambada_accuracy" not in model
    assert {"average_precision", "precision_at_1_percent"} <= report["localisation"].keys()
    assert report["cost"].keys() == set(STAGES) - {"report"}
    for cost in report["cost"].values():
        assert cost.keys() == {"seconds", "tokens", "peak_rss_bytes"}


def test_costs_count_the_tokens_that_were_processed(finished):
    report = json.loads((finished / "report.json").read_text())
    blocks = json.loads((finished / "corpus/blocks/corpus.json").read_text())["blocks"]
    assert report["cost"]["score"]["tokens"] == blocks * 64
    updates = math.ceil(0.15 * math.ceil(blocks / 4))
    for trained in ("baseline", "train"):
        assert report["cost"][trained]["tokens"] == updates * 4 * 64


def test_the_page_is_there_and_the_copies_are_the_stage_s(finished):
    assert "<html" in (finished / "report.html").read_text()
    for name in ("report.json", "report.html"):
        assert (finished / name).read_bytes() == (finished / "report" / name).read_bytes()


def test_nothing_half_made_is_left(finished):
    assert {f.name for f in finished.iterdir() if f.is_dir()} == set(STAGES)
    assert not list(finished.rglob("*.tmp"))
    assert not list(finished.rglob("scratch"))


def test_its_settings_replay_the_run(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("run", finished / "config.yaml", tmp_path / "again") == 0
    assert figures(tmp_path / "again") == figures(finished)
    assert contents(tmp_path / "again") == contents(finished)


def test_another_seed_gives_another_run(config, finished, tmp_path):
    assert run("run", config, tmp_path / "run", "--seed", "4") == 0
    assert figures(tmp_path / "run") != figures(finished)


def test_the_result_is_printed_and_nothing_else_when_quiet(copied, config, capfd):
    assert run("run", config, copied) == 0
    shown = capfd.readouterr()
    assert "Perplexity, benign" in shown.out
    assert shown.out.rstrip().endswith(f"The page: {copied / 'report.html'}")
    assert shown.err == ""


# reuse


def test_a_second_run_makes_nothing_again(copied, config):
    before = manifests(copied), {f: f.stat().st_mtime_ns for f in copied.glob("*/**/*")}
    assert run("run", config, copied) == 0
    assert (manifests(copied), {f: f.stat().st_mtime_ns for f in copied.glob("*/**/*")}) == before


def test_other_settings_need_replace_and_remake_only_what_follows(copied, config, capfd):
    before, folder = manifests(copied), sorted(copied.rglob("*"))
    assert run("run", config, copied, "--selection.budget", "0.1") == 2
    refusal = capfd.readouterr()
    assert refusal.out == ""
    assert refusal.err.count("\n") == 1
    assert "selection.budget: 0.02, now 0.1" in refusal.err
    assert "--replace" in refusal.err
    assert sorted(copied.rglob("*")) == folder

    assert run("run", config, copied, "--selection.budget", "0.1", "--replace") == 0
    after = manifests(copied)
    remade = {name for name in STAGES if after[name] != before[name]}
    assert remade == {"select", "train", "evaluate", "report"}
    assert figures(copied)["selection"]["budget"] > 3 * settings_budget(before)


def settings_budget(before):
    corpus = json.loads(before["corpus"])["files"]["blocks/tokens.bin"]["bytes"] // 4
    return int(0.02 * corpus) - 1


def test_a_change_of_the_evaluation_retrains_nothing(copied, config):
    before = manifests(copied)
    assert run("run", config, copied, "--evaluation.threshold", "0.9", "--replace") == 0
    after = manifests(copied)
    assert {name for name in STAGES if after[name] != before[name]} == {"evaluate", "report"}


def test_a_damaged_file_is_made_again(copied, config, finished):
    shards = sorted((copied / "score").glob("*.npy"))
    assert len(shards) > 1
    shards[1].write_bytes(b"damaged")
    (copied / "train" / "model.safetensors").unlink()
    assert run("run", config, copied) == 0
    assert contents(copied) == contents(finished)
    assert figures(copied) == figures(finished)


@pytest.mark.parametrize("stage", STAGES[3:])
def test_a_command_stops_after_its_stage(stage, finished, config, tmp_path):
    """Everything before it is there already, so only this stage is made."""
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(finished / "config.yaml", out)
    before = STAGES[: STAGES.index(stage)]
    for name in before:
        shutil.copytree(finished / name, out / name)
    assert run(stage, config, out) == 0
    assert manifests(out).keys() == {*before, stage}
    assert (out / "report.json").exists() == (stage == "report")
    if stage != "report":
        assert contents(out).items() <= contents(finished).items()


# inspect


def test_inspect_shows_the_highest_ranked_documents(finished, capfd):
    from ifguide.cli import main

    assert main(["inspect", str(finished), "--top", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert [line.split()[0] for line in shown.out.splitlines() if line.startswith("#")] == [
        "#1",
        "#2",
    ]
    assert "[" in shown.out, "selected tokens stand in brackets where there is no colour"
    assert "\x1b" not in shown.out


def test_inspect_shows_a_document_by_its_id(finished, capfd):
    from ifguide.cli import main

    assert main(["inspect", str(finished), "--top", "1"]) == 0
    name = capfd.readouterr().out.split()[1]
    assert main(["inspect", str(finished), "--doc", name]) == 0
    assert capfd.readouterr().out.split()[1] == name


# other ways to train


def test_fine_tuning_a_checkpoint_folder(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.parent)
    changes = {"model": {"path": "finished/baseline"}, "baseline": None}
    config = write_settings(tmp_path, **changes, tokenizer={"path": "finished/corpus/tokenizer"})
    assert run("run", config, tmp_path / "tuned") == 0
    assert not (tmp_path / "tuned" / "baseline").exists()
    before, after = figures(finished)["models"], figures(tmp_path / "tuned")["models"]
    assert after["baseline"] == before["baseline"], "the checkpoint is taken as it is"
    assert after["suppressed"]["perplexity"] != before["baseline"]["perplexity"]

    monkeypatch.chdir(tmp_path)  # config.yaml names the folder in full
    assert run("run", tmp_path / "tuned" / "config.yaml", tmp_path / "again") == 0
    assert figures(tmp_path / "again") == figures(tmp_path / "tuned")


def test_suppression_can_start_from_the_baseline(copied, config, finished):
    assert run("run", config, copied, "--training.start", "baseline", "--replace") == 0
    ours, before = (figures(out)["models"] for out in (copied, finished))
    assert ours["baseline"] == before["baseline"]
    assert ours["suppressed"] != before["suppressed"]
    unchanged = ("corpus", "held_out", "baseline", "fit", "aim", "score", "select/")
    for file, checksum in contents(copied).items():
        if file.startswith(unchanged):
            assert contents(finished)[file] == checksum


# interruption

AT_WORK = {  # stages that keep what is done so far, and where
    "baseline": "scratch/checkpoint-1/complete",
    "score": "scores-000000000.npy",
    "train": "scratch/checkpoint-1/complete",
    "evaluate": "samples-baseline-toxic.parquet",
}
KILLS = [
    (stage, moment)
    for stage in STAGES
    for moment in ("at work", "before its name")
    if moment != "at work" or stage in AT_WORK
]


def killed_run(config, out, stage, moment):
    """Run, and die by SIGKILL in a stage: with something kept, or when all of it is written."""
    from ifguide import store

    progress, promote = store.StageFolder.progress, store._promote

    def die(folder):
        if folder.path.name == f"{stage}.part":
            os.kill(os.getpid(), signal.SIGKILL)

    def die_at_work(folder, tokens):
        progress(folder, tokens)
        if (folder.path / AT_WORK.get(stage, "")).is_file():
            die(folder)

    def die_before_its_name(folder, *rest):
        die(folder)
        promote(folder, *rest)

    if moment == "at work":
        store.StageFolder.progress = die_at_work
    else:
        store._promote = die_before_its_name
    run("run", config, out)


def resumed_run(config, out):
    sys.exit(run("run", config, out))


def test_killed_in_every_stage_and_run_again(processes, config, finished, tmp_path):
    """One folder, killed again and again; what is finished by then is as if never killed."""
    out, wanted = tmp_path / "run", contents(finished)
    for stage, moment in KILLS:
        process = processes.Process(target=killed_run, args=(config, out, stage, moment))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (stage, moment)
        assert manifests(out).keys() == set(STAGES[: STAGES.index(stage)])
        changed = contents(out).items() - wanted.items()
        assert not changed, (stage, moment)
    process = processes.Process(target=resumed_run, args=(config, out))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert figures(out) == figures(finished)
    assert contents(out) == wanted


# several processes


def test_two_processes_give_the_same_scores(config, finished, tmp_path):
    """Half the batch on each of two processes is the same training."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "ifguide", "run", str(config)]
    command += ["--out", str(tmp_path / "run"), "--quiet"]
    command += ["--baseline.batch_size", "2", "--training.batch_size", "2"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("The page:") == 1
    assert "Warning" not in shown.stderr
    ours, theirs = (
        np.concatenate([np.load(f) for f in sorted((out / "score").glob("*.npy"))])
        for out in (tmp_path / "run", finished)
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    ours, theirs = (figures(out)["models"] for out in (tmp_path / "run", finished))
    for name in ("baseline", "suppressed"):
        assert ours[name]["perplexity"]["benign"] == pytest.approx(
            theirs[name]["perplexity"]["benign"], rel=1e-5
        )


# settings


def test_printed_settings_are_the_ones_that_were_read(config, finished):
    read = read_config(config)
    assert isinstance(read, Config)
    assert read_config(finished / "config.yaml") == read_config(config, ["--data_dir", os.getcwd()])
    assert yaml.safe_load((finished / "config.yaml").read_text()).keys() >= settings().keys()
