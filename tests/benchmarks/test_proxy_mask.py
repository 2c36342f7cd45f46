"""The target by its own scores and by another run's mask, on a run that takes seconds."""

import shutil
from importlib import import_module
from pathlib import Path

import pytest
from micro import TRAINING, manifests, write_settings

from ifguide.settings.reader import read_config

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def proxy_mask(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("proxy_mask")


def test_the_page_has_both_rows_and_goes_on_where_it_was(
    proxy_mask, finished, tmp_path, capfd, monkeypatch
):
    proxy = tmp_path / "proxy"
    shutil.copytree(finished, proxy)
    changes = {"tokenizer": {"vocab_size": 300}, "training": TRAINING}
    config, page = write_settings(tmp_path, **changes), tmp_path / "page.md"
    options = [str(config), "--mask-from", str(proxy), "--out", str(tmp_path / "out")]
    assert proxy_mask.main([*options, "--page", str(page)]) == 0
    text = page.read_text()
    assert capfd.readouterr().out == text
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["| row", "| baseline", "| ours@run", "| proxy@run"]
    assert "the mask of llama (run " in text
    before = manifests(tmp_path / "out" / "share-0.5")
    assert {"proxy/mask", "train", "score"} <= before.keys()
    assert proxy_mask.main(options) == 0
    assert manifests(tmp_path / "out" / "share-0.5") == before


def test_the_proxy_and_the_target_have_the_same_documents():
    proxy, target = (
        read_config(file)
        for file in (FOLDER / "proxy_neox.yaml", FOLDER.parent / "examples" / "smollm2.yaml")
    )
    assert proxy.corpus.sources == target.corpus.sources
    assert proxy.model.scratch["model_type"] == "gpt_neox"


def test_bad_input_is_one_line(proxy_mask, tmp_path, capfd):
    config = write_settings(tmp_path)
    options = ["--mask-from", str(tmp_path), "--out", str(tmp_path / "out")]
    assert proxy_mask.main([str(config), *options]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "no run folder" in shown.err
