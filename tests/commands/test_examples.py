"""The examples: what they ask for is valid, and the paper's setting runs on tiny stand-ins."""

import json
from pathlib import Path

import pytest
import yaml
from transformers import AutoConfig, AutoModelForSequenceClassification

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.settings.config import Config
from ifguide.settings.reader import checked, read_config

FOLDER = Path(__file__).parent.parent.parent
EXAMPLES = [*sorted((FOLDER / "examples").glob("*.yaml")), FOLDER / "ifguide" / "demo.yaml"]
PAPER = FOLDER / "examples" / "pythia_160m.yaml"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_valid(file, capfd, tmp_path):
    assert main(["run", str(file), "--print_config", "--data_dir", str(tmp_path)]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    (tmp_path / "again.yaml").write_text(shown.out)
    config = read_config(file, ["--data_dir", str(tmp_path)])
    assert read_config(tmp_path / "again.yaml", ["--data_dir", str(tmp_path)]) == config
    plain = yaml.safe_load(file.read_text()) | {"data_dir": str(tmp_path)}
    for section in (plain["model"], plain["tokenizer"]):
        if "gguf" in section:
            section["gguf"] = str(tmp_path / section["gguf"])
    assert checked(Config, plain) == config


def test_the_paper_s_setting():
    config = read_config(PAPER)
    (source,) = config.corpus.sources
    assert (source.hub, config.corpus.block_length) == ("Skylion007/openwebtext", 2048)
    assert config.tokenizer.path == "EleutherAI/pythia-160m"
    assert config.queries.source.hub == "allenai/real-toxicity-prompts"
    assert (config.curvature.kind, config.training.objective.kind) == ("ekfac", "penalty")
    selection = config.selection
    assert (selection.budget, selection.quantile, selection.window) == (0.02, 0.99, 1)
    assert config.training.objective.weight == 1.0
    assert config.baseline.learning_rate == config.training.learning_rate == 6e-4


def write_lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_stand_ins(folder):
    """Small local copies of what the example names on the hub, in the same shape."""
    posts = builtin_posts(200, seed=0)
    write_lines(folder / "openwebtext.jsonl", [{"text": post.text} for post in posts])
    rated = [
        {
            "prompt": {"text": post.text[:30], "toxicity": None if number % 50 == 0 else toxicity},
            "continuation": {"text": post.text[30:90], "toxicity": toxicity},
        }
        for number, post in enumerate(post for post in posts if len(post.text) > 60)
        for toxicity in [0.9 if number % 3 == 0 else 0.1]
    ]
    write_lines(folder / "rtp.jsonl", rated)
    write_lines(folder / "lambada.jsonl", [{"text": post.text} for post in posts[:5]])
    tokenizer = train_tokenizer((post.text for post in posts), 400)
    tokenizer.save_pretrained(folder / "tokenizer")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    judge = AutoConfig.for_model("bert", vocab_size=400, intermediate_size=16, **shape, **labels)
    AutoModelForSequenceClassification.from_config(judge).save_pretrained(folder / "judge")
    tokenizer.save_pretrained(folder / "judge")
    sizes = {**shape, "intermediate_size": 16, "max_position_embeddings": 64}
    AutoConfig.for_model(
        "gpt_neox", vocab_size=416, use_parallel_residual=False, **sizes
    ).save_pretrained(folder / "model")


def test_the_paper_s_setting_runs_on_stand_ins(tmp_path, capfd):
    write_stand_ins(tmp_path)
    out = tmp_path / "run"
    local = '{"name": "openwebtext", "path": "openwebtext.jsonl", "held_out": 0.2}'
    options = {
        "data_dir": tmp_path,
        "corpus.sources": f"[{local}]",
        "corpus.block_length": 64,
        "tokenizer.path": tmp_path / "tokenizer",
        "model.scratch.config": tmp_path / "model",
        "queries.source.hub": "null",
        "queries.source.path": "rtp.jsonl",
        "baseline.epochs": 0.2,
        "baseline.accumulation": 2,
        "training.epochs": 0.2,
        "training.accumulation": 2,
        **{
            f"{training}.{name}": 1
            for training in ("baseline", "training")
            for name in ("checkpoint_every", "guard.every", "trainer.eval_steps")
        },
        "evaluation.more": "{}",
        "curvature.sample_blocks": 8,
        "evaluation.judges": f"[rule, 'hf:{tmp_path}/judge#toxic']",
        "evaluation.sampling.samples": 2,
        "evaluation.sampling.tokens": 4,
        "evaluation.toxic.source.hub": "null",
        "evaluation.toxic.source.path": "rtp.jsonl",
        "evaluation.toxic.limit": 4,
        "evaluation.neutral.source.hub": "null",
        "evaluation.neutral.source.path": "rtp.jsonl",
        "evaluation.neutral.limit": 4,
        "evaluation.lambada.hub": "null",
        "evaluation.lambada.path": "lambada.jsonl",
        "evaluation.lambada.config": "null",
        "evaluation.lambada.split": "train",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    capfd.readouterr()  # what saving the stand-ins has said
    assert main(["run", str(PAPER), "--out", str(out), "--quiet", *words]) == 0
    assert capfd.readouterr().err == ""
    kept = read_config(out / "config.yaml")
    given = read_config(PAPER)
    assert given.model.scratch == {"config": "EleutherAI/pythia-160m"}
    made = AutoConfig.from_pretrained(out / "baseline")
    assert (made.model_type, made.vocab_size) == ("gpt_neox", 416)
    assert made.use_parallel_residual is False
    assert kept.evaluation.toxic.source.at_least == {"prompt.toxicity": 0.5}
    assert (kept.scores, kept.selection, kept.direction) == (
        given.scores,
        given.selection,
        given.direction,
    )
    report = json.loads((out / "report.json").read_text())
    for model in report["models"].values():
        assert model["judges"].keys() == {"rule", f"hf:{tmp_path}/judge#toxic"}
        assert model["perplexity"].keys() == {"openwebtext"}
        assert 0 <= model["lambada_accuracy"] <= model["lambada_last_token"] <= 1
        assert model["tp"].keys() == {"toxic", "neutral", "full"}
    assert report["localisation"] == {}, "nothing is marked in this corpus"
    tokens = report["cost"]["score"]["tokens"]
    assert report["selection"]["selected"] == pytest.approx(0.02 * tokens, rel=0.05)
