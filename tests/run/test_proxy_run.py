"""``training.mask_from``: a target of another family and tokenizer, by a finished run's mask."""

import json
import shutil

import numpy as np
import pytest
from cutters import MORE
from micro import TRAINING, manifests, run, write_settings

from ifguide.evaluation.figures import read_report
from ifguide.rivals.methods import rows_of
from ifguide.run.proxy_makers import mask_and_scores
from ifguide.run.rivals import Rivals
from ifguide.run.run import closure, looked_at, opened
from ifguide.run.stages import BASELINE, CORPUS, PROXY_MASK, SELECTED, TRAIN
from ifguide.selection.remap import remap_onto, spread
from ifguide.settings.reader import read_config, read_run_config

NEOX = {
    "model_type": "gpt_neox",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 48,
}
SCORING = {"queries", "fit", "aim", "score", "select"}


@pytest.fixture(scope="module")
def proxy(finished, tmp_path_factory):
    """A copy of the finished run, so that it may be looked at and not changed."""
    folder = tmp_path_factory.mktemp("proxy") / "run"
    shutil.copytree(finished, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    MORE["unigram"]().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def target(tokenizer):
    """Writes the settings of another family by another tokenizer, with the proxy's documents."""

    def write(folder, proxy, **changes):
        given = {
            "tokenizer": {"path": str(tokenizer)},
            "corpus__block_length": 48,
            "queries__max_length": 48,
            "model__scratch": NEOX,
            "training": {**TRAINING, "mask_from": str(proxy)},
            **changes,
        }
        return write_settings(folder, **given)

    return write


def seen(folder):
    return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in folder.rglob("*")}


@pytest.fixture(scope="module")
def made(proxy, target, tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")
    before = seen(proxy)
    assert run("run", target(folder, proxy), folder / "run") == 0
    assert seen(proxy) == before
    return folder / "run"


def test_the_target_is_trained_by_the_proxys_mask_and_nothing_is_scored(made, proxy):
    assert not SCORING & manifests(made).keys()
    assert {"proxy/mask", "train", "report"} <= manifests(made).keys()
    with looked_at(read_run_config(proxy), proxy) as other:
        selection, scores = mask_and_scores(other)
    with looked_at(read_run_config(made), made) as mine:
        used, corpus = mine(SELECTED), mine(CORPUS).corpus
        _, shown = mask_and_scores(mine)
    expected, counts = remap_onto(selection, corpus)
    np.testing.assert_array_equal(used.suppress, expected.suppress)
    np.testing.assert_array_equal(shown.values, spread(scores, corpus).values)
    assert 0 < used.suppress.sum() < corpus.has_loss.sum()
    report = read_report(made / "report.json").selection
    assert report.proxy.model == "llama"
    assert report.proxy.run == json.loads((proxy / "ifguide-run.json").read_text())["id"]
    assert (report.proxy.selected, report.proxy.lost, report.proxy.gained) == (
        counts.selected,
        counts.lost,
        counts.gained,
    )
    assert report.selected == expected.suppress.sum()
    page = (made / "report.html").read_text()
    assert "llama (run " in page
    assert f"{counts.lost:,}" in page


def test_status_and_inspect_show_it(made, capfd):
    from ifguide.commands.main import main

    assert main(["status", str(made)]) == 0
    assert "proxy/mask" in capfd.readouterr().out
    assert main(["inspect", str(made), "--top", "1"]) == 0
    assert capfd.readouterr().out


def test_the_proxys_content_counts_and_its_place_does_not(made, proxy, target, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(proxy, moved)
    config = read_config(target(tmp_path, moved))
    with looked_at(config, made) as mine:
        assert mine.standing(TRAIN).state == "stands"
    settings = moved / "config.yaml"
    assert run("select", settings, moved, "--selection.budget", "0.1", "--replace") == 0
    with looked_at(config, made) as mine:
        assert mine.standing(BASELINE).state == "stands"
        assert mine.standing(TRAIN).state == "stale"
        stale = mine.standing(PROXY_MASK)
    assert stale.state == "stale"
    assert "selection.json changed" in stale.why


def test_a_mask_goes_on_from_target_to_target(made, target, tmp_path):
    training = {**TRAINING, "mask_from": str(made), "mask_share": 0.0}
    file = target(tmp_path, made, tokenizer={"vocab_size": 300}, training=training)
    with opened(read_config(file), tmp_path / "run", quiet=True) as mine:
        found = mine(PROXY_MASK)
    assert found.selection.suppress.any()
    held = json.loads((tmp_path / "run/proxy/mask/selection.json").read_text())
    assert held["metadata"]["proxy"]["model"] == "gpt_neox"
    assert held["metadata"]["proxy"]["lost"] == 0


def test_compare_sets_the_targets_own_scores_beside_the_proxys(proxy, target, tmp_path):
    config = read_config(target(tmp_path, proxy))
    rivals = Rivals(config)
    ours, other = rows_of(["ours", "proxy"], list(rivals.trainings))
    assert rivals.model(other) is TRAIN
    assert rivals.training(ours).mask_from is None
    below = {
        name: closure([rivals.model(row)], config) for name, row in (("a", ours), ("b", other))
    }
    names = {key: {stage.name for stage in found} for key, found in below.items()}
    assert {"score", "chosen"} <= names["a"]
    assert "proxy/mask" not in names["a"]
    assert "proxy/mask" in names["b"]
    assert not SCORING & names["b"]
    alone = read_config(target(tmp_path, proxy, training=TRAINING))
    assert Rivals(alone).model(ours) is TRAIN
    assert "scores/proxy" in {s.name for s in closure([Rivals(alone).model(other)], alone)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpus__sources": [{"name": "posts", "builtin": 90, "held_out": 0.3}]}, "documents"),
        ({"baseline": {**TRAINING, "mask_from": "x"}}, "baseline.mask_from: "),
        (
            {"compare": {"trainings": {"way": {"mask_from": "x"}}}},
            "compare.trainings.way.mask_from",
        ),
        ({"compare": {"proxy": {"path": "x"}}}, "compare.proxy: "),
    ],
)
def test_what_does_not_fit_is_refused(proxy, target, tmp_path, refused, changes, said):
    config = target(tmp_path, proxy, **changes)
    assert said in refused("train", config, "--out", tmp_path / "run", "--quiet")
    assert not (tmp_path / "run" / "baseline").exists()


def test_what_is_no_finished_run_is_refused(proxy, target, tmp_path, refused):
    out = tmp_path / "run"
    for folder, said in ((tmp_path / "gone", "no such folder"), (tmp_path, "no run folder")):
        line = refused("train", target(tmp_path, folder), "--out", out, "--quiet")
        assert line.startswith("training.mask_from: ")
        assert said in line
    half = tmp_path / "half"
    shutil.copytree(proxy, half, ignore=shutil.ignore_patterns("select"))
    assert "ifguide select" in refused("train", target(tmp_path, half), "--out", out, "--quiet")
    line = refused("train", target(tmp_path, out), "--out", out, "--quiet")
    assert "the run folder itself" in line
    config = target(tmp_path, proxy, training={**TRAINING, "mask_share": 0.5})
    assert "training.mask_share: 0.5 would be ignored" in refused("train", config, "--out", out)
