"""docs/around-a-run.md: its commands are run in their order, on a small run."""

import ast
import json
import shlex

import pytest
from completions import serving
from micro import write_settings
from pages import ROOT, blocks
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts

PAGE = ROOT / "docs" / "around-a-run.md"
SERVER = "http://localhost:8000/v1"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_settings(folder, data_dir=str(folder))
    posts = builtin_posts(5, seed=9)
    lines = [json.dumps({"id": post.id, "text": post.text}) + "\n" for post in posts]
    (folder / "new.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def test_every_command_of_the_page_does_what_it_says(place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    shown = "".join(blocks(PAGE, "sh")).splitlines()
    assert [line.split()[1] for line in shown] == [
        *("estimate", "run", "score-corpus", "distil", "score-corpus", "evaluate", "push")
    ]
    for line in shown:
        words = shlex.split(line)[1:]
        if words[0] == "evaluate":
            folder = place / "runs" / "mine" / "baseline"
            model = AutoModelForCausalLM.from_pretrained(folder)
            with serving(model, AutoTokenizer.from_pretrained(folder)) as server:
                here = f"http://127.0.0.1:{server.server_port}/v1"
                words = [here if word == SERVER else word for word in words]
                assert main([*words, "--quiet"]) == 0
                assert server.asked
            words = ["run", "run.yaml", "--out", "runs/mine", "--replace"]  # as it was
        assert main([*words, "--quiet"]) == 0, line
    assert (place / "runs" / "new" / "spans" / "spans.jsonl").is_file()
    assert (place / "runs" / "fast" / "spans" / "spans.jsonl").is_file()
    assert (place / "runs" / "cards" / "mask" / "README.md").is_file()
    assert "train " in capfd.readouterr().out


def test_the_page_s_code_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    assert (place / "runs" / "new").exists(), "the commands come first"
    (code,) = blocks(PAGE, "python")
    names = {}
    exec(compile(ast.parse(code), str(PAGE), "exec"), names)  # the page's own words
    assert names["scores"].values.shape == names["scores"].corpus.tokens.shape
