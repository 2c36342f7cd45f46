"""``ifguide push``: the folder it writes, the cards, and what a hub on this machine receives."""

import base64
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from micro import run, write_settings
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.models.digest import digest_of

HOSTILE = "posts `x` <b> | [a](b)\n# no heading"


def judge_checkpoint(folder):
    posts = [post.text for post in builtin_posts(60, seed=0)]
    tokenizer = train_tokenizer(posts, 300)
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("bert", vocab_size=300, intermediate_size=16, **shape, **labels)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A finished run with a judge of its own, a source of a hostile name, and a licence."""
    folder = tmp_path_factory.mktemp("told")
    judge_checkpoint(folder / "judge")
    texts = [post.text for post in builtin_posts(40, seed=5)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "posts.jsonl").write_text(lines, encoding="utf-8")
    first = {"name": "posts", "builtin": 120, "held_out": 0.3, "licence": "cc0-1.0"}
    second = {"name": HOSTILE, "path": str(folder / "posts.jsonl"), "licence": "CC0-1.0"}
    config = write_settings(
        folder,
        data_dir=str(folder),
        evaluation__judges=["rule", "hf:judge#toxic"],
        corpus__sources=[first, second],
    )
    assert run("run", config, folder / "run") == 0
    return folder


@pytest.fixture(scope="module")
def dry(told, tmp_path_factory):
    out = tmp_path_factory.mktemp("dry") / "out"
    words = ["push", str(told / "run"), "--mask", "me/mask", "--model", "me/model", "--quiet"]
    assert main([*words, "--dry", str(out)]) == 0
    return out


def manifest(told, stage):
    return json.loads((told / "run" / stage / "manifest.json").read_text())


def test_the_mask_is_read_by_datasets_and_is_the_run_s(dry, told):
    files = sorted(str(file) for file in (dry / "mask" / "data").glob("*.parquet"))
    there = datasets.load_dataset("parquet", data_files=files, split="train")
    ours = datasets.load_from_disk(str(told / "run" / "select" / "mask"))
    assert there.column_names == ours.column_names
    for column in ours.column_names:
        assert np.array_equal(np.array(there[column][:]), np.array(ours[column][:])), column


def test_the_model_is_loaded_from_its_folder(dry, told):
    there = AutoModelForCausalLM.from_pretrained(dry / "model")
    ours = AutoModelForCausalLM.from_pretrained(told / "run" / "train")
    assert digest_of(there) == digest_of(ours)
    assert {file.name for file in (dry / "model").iterdir()} == {
        *manifest(told, "train")["files"],
        "README.md",
    }


def test_the_cards_hold_figures_intervals_judges_settings_and_licences(dry, told):
    report = json.loads((told / "run" / "report.json").read_text())
    mask = DatasetCard((dry / "mask" / "README.md").read_text())
    model = ModelCard((dry / "model" / "README.md").read_text())
    assert mask.data.license == "cc0-1.0"
    assert model.data.library_name == "transformers"
    results = {(r.metric_name, r.dataset_name): r for r in model.data.eval_results}
    found = report["models"]["suppressed"]["judges"]["hf:judge#toxic"]["tp"]["toxic"]
    named = results["Toxicity probability, by hf:judge#toxic", "toxic prompts"]
    assert named.metric_value == pytest.approx(found["value"])
    assert named.metric_args["low"] == pytest.approx(found["low"])
    trained = manifest(told, "train")["files"]["model.safetensors"]["sha256"]
    assert trained in model.content
    judged = manifest(told, "judge/suppressed")["reads"]["evaluation.judges"]["files"]
    weights = AutoModelForSequenceClassification.from_pretrained(told / "judge")
    for card in (mask, model):
        assert judged["hf:judge#toxic/model.safetensors"] in card.content
        assert digest_of(weights) in card.content
        assert "licence CC0-1.0" in card.content
        block = card.content.rpartition("```yaml\n")[2].partition("\n```")[0]
        settings = yaml.safe_load(block)
        assert settings["selection"]["budget"] == pytest.approx(0.02)
        assert str(told) not in card.content
        assert "\n# no heading" not in card.content
        assert "<b>" not in card.text.partition("## Settings")[0]


def test_the_report_names_a_judge_by_the_hash_of_its_weights(told):
    weights = digest_of(AutoModelForSequenceClassification.from_pretrained(told / "judge"))
    report = json.loads((told / "run" / "report.json").read_text())
    for stage, name in (("baseline", "baseline"), ("train", "suppressed")):
        held = manifest(told, stage)["files"]["model.safetensors"]["sha256"]
        assert report["weights"][name] == held
    assert "start" not in report["weights"]  # random weights lie nowhere
    for model in report["models"].values():
        assert model["judges"]["hf:judge#toxic"]["weights"] == weights
        assert "weights" not in model["judges"]["rule"]
    assert weights[:12] in (told / "run" / "report.html").read_text()


def test_a_digest_is_another_one_for_another_bit():
    config = AutoConfig.for_model("llama", vocab_size=9, hidden_size=8, num_hidden_layers=1,
                                  num_attention_heads=2, intermediate_size=8)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    before = digest_of(model)
    assert digest_of(model) == before
    weight = next(model.parameters())
    weight.data.view(-1)[3] += 1e-3
    assert digest_of(model) != before


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as a push of small files uses."""

    def log_message(self, *args):
        pass

    def answer(self, body, status=200):
        held = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(held)))
        self.end_headers()
        self.wfile.write(held)

    def repository(self):
        parts = self.path.partition("?")[0].split("/")
        kind = "dataset" if "datasets" in parts else "model"
        at = parts.index("datasets" if kind == "dataset" else "models")
        return kind, "/".join(parts[at + 1 : at + 3])

    def do_GET(self):
        key = self.repository()
        if key not in self.server.held:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        files = self.server.held[key]
        siblings = [{"rfilename": name} for name in files]
        tree = [{"type": "file", "path": n, "size": len(b), "oid": "0"} for n, b in files.items()]
        whole = {"id": key[1], "sha": "a" * 40, "siblings": siblings, "private": False, "tags": []}
        self.answer(tree if "/tree/" in self.path else whole)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        server.tokens.add(self.headers.get("Authorization"))
        if self.path.endswith("/api/repos/create"):
            asked = json.loads(body)
            kind = asked.get("type") or "model"
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            server.private[kind, name] = asked.get("visibility") == "private"
            server.held.setdefault((kind, name), {})
            self.answer({"url": f"http://127.0.0.1/{name}", "id": name, "name": name})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": file["path"], **told} for file in files]})
        elif "/commit/" in self.path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    held = base64.b64decode(entry["value"]["content"])
                    server.held[self.repository()][entry["value"]["path"]] = held
            url = f"http://127.0.0.1/{self.repository()[1]}/commit/{'b' * 40}"
            self.answer({"success": True, "commitUrl": url, "commitOid": "b" * 40})
        else:  # what validates a card's YAML
            self.answer({"errors": [], "warnings": []})


@contextmanager
def a_hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.held, server.private, server.tokens = {}, {}, set()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pushed(server, told, *options):
    """Push in a process of its own, as the hub's address is read when its package is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_a_token",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    words = [sys.executable, "-m", "ifguide", "push", str(told / "run"), "--quiet", *options]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_a_hub_receives_what_the_dry_mode_writes(told, dry):
    both = ("--mask", "me/mask", "--model", "me/model")
    with a_hub() as server:
        done = pushed(server, told, *both, "--private")
        assert done.returncode == 0, done.stderr
        again = pushed(server, told, "--model", "me/model")
    for kind, folder in (("dataset", dry / "mask"), ("model", dry / "model")):
        name = f"me/{folder.name}"
        held = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*.*")}
        assert server.held[kind, name] == held
        assert server.private[kind, name] is True
    assert server.tokens == {"Bearer hf_a_token"}
    assert again.returncode == 2
    assert "name another repository, or --replace" in again.stderr
    assert again.stderr.count("\n") == 1


def test_what_cannot_be_pushed_is_one_line(told, dry, tmp_path, refused):
    folder = told / "run"
    assert "neither is given" in refused("push", folder)
    assert "it is no repository" in refused("push", folder, "--mask", "a/b/c", "--quiet")
    line = refused("push", folder, "--mask", "me/mask", "--dry", dry)
    assert "it is not empty" in line
    assert "the hub cannot be asked" in refused("push", folder, "--mask", "me/mask", "--quiet")
    config = write_settings(tmp_path)
    assert run("queries", config, Path(tmp_path / "begun")) == 0
    assert "run `ifguide report` first" in refused("push", tmp_path / "begun", "--mask", "me/mask")
