"""Whole runs: what they leave, what they reuse, and that an interruption changes nothing."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import yaml
from micro import STAGES, contents, figures, manifests, run, settings, write_settings

from ifguide import SmoothingConfig, blend, smooth
from ifguide.corpus.prepare import open_prepared
from ifguide.corpus.queries import load_contrast
from ifguide.corpus.words import spelling
from ifguide.run import artifacts
from ifguide.run.folder import CONFIG, MARK
from ifguide.selection.lexicon import lexicon
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config
from ifguide.version import VERSION


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_tokens_are_selected_by_what_smoothing_and_the_lexicon_make_of_the_scores(
    copied, micro_config
):
    wanted = [
        "--smoothing.unit",
        "word",
        "--smoothing.type_share",
        "0.75",
        "--lexicon.share",
        "0.4",
    ]
    assert run("select", micro_config, copied, "--replace", *wanted) == 0
    text = open_prepared(copied / "corpus")
    config, spelt = read_config(copied / "config.yaml"), spelling(text.tokenizer)
    scores = artifacts.load_scores(copied / "score", text.corpus)
    contrast = load_contrast(
        config.queries, text.tokenizer, copied, seed_of_builtin=config.seed + 1
    )
    smoothed = smooth(scores, SmoothingConfig(unit="word", type_share=0.75), spelt)
    expected = blend(smoothed, lexicon(text.corpus, contrast, 4.0, spelt), 0.4)
    used = artifacts.load_mask_scores(copied / "select", text.corpus)
    np.testing.assert_array_equal(used.values, np.asarray(expected.values))
    assert used.metadata["blended"]["unit"] == "word"


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
    assert manifests(finished).keys() == set(STAGES)
    assert {f.name for f in finished.iterdir() if f.is_dir()} == {s.split("/")[0] for s in STAGES}
    for left in ("*.part", "*-tmp", "scratch", "cost.json", "made-for.json", "journal*"):
        assert not list(finished.rglob(left))


def test_its_settings_replay_the_run(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("run", finished / "config.yaml", tmp_path / "again") == 0
    assert figures(tmp_path / "again") == figures(finished)
    assert contents(tmp_path / "again") == contents(finished)


def test_another_seed_gives_another_run(micro_config, finished, tmp_path):
    assert run("run", micro_config, tmp_path / "run", "--seed", "4") == 0
    assert figures(tmp_path / "run") != figures(finished)


def test_the_result_is_printed_and_nothing_else_when_quiet(copied, micro_config, capfd):
    assert run("run", micro_config, copied) == 0
    shown = capfd.readouterr()
    assert "Perplexity, benign" in shown.out
    assert shown.out.rstrip().endswith(f"The page: {copied / 'report.html'}")
    assert shown.err == ""


# reuse


def test_a_second_run_makes_nothing_again(copied, micro_config):
    before = manifests(copied), {f: f.stat().st_mtime_ns for f in copied.glob("*/**/*")}
    assert run("run", micro_config, copied) == 0
    assert (manifests(copied), {f: f.stat().st_mtime_ns for f in copied.glob("*/**/*")}) == before


def test_other_settings_need_replace_and_remake_only_what_follows(copied, micro_config, capfd):
    before, folder = manifests(copied), sorted(copied.rglob("*"))
    assert run("run", micro_config, copied, "--selection.budget", "0.1") == 2
    refusal = capfd.readouterr()
    assert refusal.out == ""
    assert refusal.err.count("\n") == 1
    assert "selection.budget: 0.02, now 0.1" in refusal.err
    assert "--replace" in refusal.err
    assert sorted(copied.rglob("*")) == folder

    assert run("run", micro_config, copied, "--selection.budget", "0.1", "--replace") == 0
    after = manifests(copied)
    remade = {name for name in STAGES if after[name] != before[name]}
    assert remade == {
        "select",
        "train",
        "sample/suppressed",
        "judge/suppressed",
        "fluency/suppressed",
        "evaluate",
        "report",
    }
    assert figures(copied)["selection"]["budget"] > 3 * settings_budget(before)


def settings_budget(before):
    corpus = json.loads(before["corpus"])["files"]["blocks/tokens.bin"]["bytes"] // 4
    return int(0.02 * corpus) - 1


def test_a_change_of_the_evaluation_retrains_nothing(copied, micro_config):
    before = manifests(copied)
    assert run("run", micro_config, copied, "--evaluation.threshold", "0.9", "--replace") == 0
    after = manifests(copied)
    remade = {name for name in STAGES if after[name] != before[name]}
    assert remade == {"judge/baseline", "judge/suppressed", "evaluate", "report"}


def test_a_damaged_file_is_made_again(copied, micro_config, finished):
    shards = sorted((copied / "score").glob("*.npy"))
    assert len(shards) > 1
    shards[1].write_bytes(b"damaged")
    (copied / "train" / "model.safetensors").unlink()
    assert run("run", micro_config, copied) == 0
    assert contents(copied) == contents(finished)
    assert figures(copied) == figures(finished)


@pytest.mark.parametrize(
    "stage", ["baseline", "fit", "aim", "score", "select", "train", "evaluate", "report"]
)
def test_a_command_stops_after_its_stage(stage, finished, micro_config, tmp_path):
    """Everything before it is there already, so only this stage is made."""
    out = tmp_path / "run"
    out.mkdir()
    for name in (MARK, CONFIG):
        shutil.copy(finished / name, out)
    before = STAGES[: STAGES.index(stage)]
    for name in before:
        shutil.copytree(finished / name, out / name)
    assert run(stage, micro_config, out) == 0
    assert manifests(out).keys() == {*before, stage}
    assert (out / "report.json").exists() == (stage == "report")
    if stage != "report":
        assert contents(out).items() <= contents(finished).items()


# inspect


def test_inspect_shows_the_highest_ranked_documents(finished, capfd):
    from ifguide.commands.main import main

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
    from ifguide.commands.main import main

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


def test_scores_can_be_taken_at_the_weights_that_training_starts_from(finished, tmp_path):
    given = {
        "model": {"path": str(finished / "baseline")},
        "tokenizer": {"path": str(finished / "corpus" / "tokenizer")},
    }
    folders = {"untrained": {"baseline": None}, "initial": {}, "baseline": {}}
    for name, changes in folders.items():
        (tmp_path / name).mkdir()
        weights = {} if name == "untrained" else {"scores__weights": name}
        config = write_settings(tmp_path / name, **given, **changes, **weights)
        assert run("score", config, tmp_path / name / "out") == 0
    untrained, initial, baseline = (
        np.load(next((tmp_path / name / "out" / "score").glob("scores-*.npy"))) for name in folders
    )
    assert np.array_equal(initial, untrained, equal_nan=True)
    assert not np.array_equal(initial, baseline, equal_nan=True)


def test_suppression_can_start_from_the_baseline(copied, micro_config, finished):
    assert run("run", micro_config, copied, "--training.start", "baseline", "--replace") == 0
    ours, before = (figures(out)["models"] for out in (copied, finished))
    assert ours["baseline"] == before["baseline"]
    assert ours["suppressed"] != before["suppressed"]
    unchanged = tuple(f"{stage}/" for stage in STAGES[: STAGES.index("train")])
    for file, checksum in contents(copied).items():
        if file.startswith(unchanged):
            assert contents(finished)[file] == checksum


# settings


def test_printed_settings_are_the_ones_that_were_read(micro_config, finished):
    read = read_config(micro_config)
    assert isinstance(read, Config)
    assert read_config(finished / "config.yaml") == read_config(
        micro_config, ["--data_dir", os.getcwd()]
    )
    assert yaml.safe_load((finished / "config.yaml").read_text()).keys() >= settings().keys()
