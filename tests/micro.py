"""A whole run small enough to make dozens of: one layer, three updates, built-in posts."""

import copy
import json
from pathlib import Path

import yaml

from ifguide.commands.main import main

STAGES = (  # of a whole run, in the order in which they are made
    "corpus",
    "queries",
    "prompts",
    "held_out",
    "baseline",
    "fit",
    "aim",
    "score",
    "sample/baseline",
    "judge/baseline",
    "select",
    "train",
    "sample/suppressed",
    "judge/suppressed",
    "fluency/baseline",
    "fluency/suppressed",
    "evaluate",
    "report",
)
TRAINING = {"epochs": 0.15, "batch_size": 4, "checkpoint_every": 1}
SETTINGS = {
    "seed": 3,
    "corpus": {
        "block_length": 64,
        "sources": [{"name": "posts", "builtin": 120, "held_out": 0.3}],
    },
    "tokenizer": {"vocab_size": 400},
    "model": {
        "scratch": {
            "model_type": "llama",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 64,
        }
    },
    "queries": {"source": {"builtin": 60}, "max_length": 64},
    "baseline": dict(TRAINING),
    "training": dict(TRAINING),
    "curvature": {"sample_blocks": 8},
    "scores": {"shard_blocks": 32},
    "evaluation": {
        "sampling": {"samples": 2, "tokens": 4},
        "resamples": 50,
        "toxic": {"held_out": "posts", "marked": True, "cut": "before_span", "limit": 3},
        "neutral": {"held_out": "posts", "marked": False, "cut": "words", "limit": 3},
        "perplexity": {"benign": {"held_out": "posts", "marked": False}},
    },
}


def settings(**changes):
    """The settings with dotted changes, ``__`` for a dot: ``model__scratch={...}``."""
    changed = copy.deepcopy(SETTINGS)
    for name, value in changes.items():
        *groups, last = name.split("__")
        place = changed
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return changed


def write_settings(folder, **changes):
    """Write the changed settings to ``folder`` as YAML and return the file."""
    file = Path(folder) / "run.yaml"
    file.write_text(yaml.safe_dump(settings(**changes), sort_keys=False), encoding="utf-8")
    return file


def run(command, config, out, *options):
    """Run a quiet command in this process and return its exit code."""
    return main([command, str(config), "--out", str(out), "--quiet", *options])


def figures(out):
    """What a report says about the models and the data, without the cost."""
    report = json.loads((Path(out) / "report.json").read_text(encoding="utf-8"))
    return {name: report[name] for name in ("models", "localisation", "selection")}


def manifests(out):
    """The text of the manifest of every finished stage, rivals' and attacks' too, by stage."""
    out = Path(out)
    found = {
        file.parent.relative_to(out).as_posix(): file.read_text()
        for file in sorted([*out.glob("*/manifest.json"), *out.glob("*/*/manifest.json")])
    }
    return {name: text for name, text in found.items() if not name.endswith(".part")}


def contents(out):
    """The checksums of all files that are equal where runs are, by ``stage/file``."""
    found = {name: json.loads(text)["files"] for name, text in manifests(out).items()}
    found.pop("report", None)  # has the time that was spent
    return {
        f"{stage}/{file}": seen["sha256"]
        for stage, files in found.items()
        for file, seen in files.items()
        if file != "mask/state.json"  # has a number that ``datasets`` draws
    }
