"""Trees whose files are damaged: a run with all that commands add to it, and half-made ones."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from damage import kill, outcome
from micro import TRAINING, settings
from tiny import tiny_model

from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.files import json_text

COMPARE = {
    "trainings": {"tuned": {**TRAINING, "start": "baseline"}},
    "reward_texts": 40,
    "reward": {"batch_size": 8, "epochs": 1, "max_length": 64, "checkpoint_every": 1},
}
SMOOTHING = {"neighbours": 1}


@dataclass(frozen=True)
class Tree:
    """What a tree holds, which commands it is given, and which of its files are damaged.

    Args:
        about: what it is.
        make: fills an empty folder.
        commands: that read it.
        names: tells of a file, by its name in the tree, whether it is damaged.
    """

    about: str
    make: Callable
    commands: tuple
    names: Callable = lambda name: name.startswith("run/")


def written(tree, held):
    """Write the settings of a tree."""
    tree.mkdir(parents=True)
    text = yaml.safe_dump(held, sort_keys=False)
    (tree / "run.yaml").write_text(text, encoding="utf-8")
    posts = "".join(json.dumps({"text": post.text}) + "\n" for post in builtin_posts(4, 9))
    (tree / "posts.jsonl").write_text(posts, encoding="utf-8")


def done(tree, *commands):
    """Run commands over a tree, which must succeed."""
    for command in commands:
        found = outcome(command, tree, "--quiet")
        assert found.code == 0, (command, found.code, found.complaint)


def finished(*commands):
    """A micro run, and what further commands add."""

    def make(tree):
        written(tree, settings(compare=COMPARE, smoothing=SMOOTHING))
        done(tree, "run", *commands)

    return make


def half_made(stage, command="run", before=()):
    """A micro run that was killed in a stage."""

    def make(tree):
        written(tree, settings(compare=COMPARE, smoothing=SMOOTHING))
        done(tree, *before)
        kill(command, tree, stage)

    return make


def given(tree):
    """A run over texts, a judge's words, a tokenizer and a checkpoint that lie outside."""
    folder = tree / "given"
    held = settings(data_dir=str(folder), compare=COMPARE)
    posts = {"name": "posts", "path": "posts.jsonl", "subset": "ids.txt", "spans": "spans"}
    held["corpus"]["sources"] = [{**posts, "held_out": 0.3}]
    held["tokenizer"] = {"path": str(folder / "tokenizer")}
    held["model"] = {"path": str(folder / "model")}
    held["evaluation"]["judges"] = ["words:words.txt"]
    written(tree, held)
    write_given(folder)
    done(tree, "run", "compare")


def write_given(folder):
    """Write what lies outside."""
    folder.mkdir()
    made = builtin_posts(120, 3)
    lines = [
        {"id": f"post-{number}", "text": post.text, "spans": [list(span) for span in post.spans]}
        for number, post in enumerate(made)
    ]
    records = "".join(" ".join(json_text(line).split()) + "\n" for line in lines)
    (folder / "posts.jsonl").write_text(records, encoding="utf-8")
    ids = "".join(f"{line['id']}\n" for line in lines)
    (folder / "ids.txt").write_text(ids, encoding="utf-8")
    (folder / "words.txt").write_text("folk\nfool\n", encoding="utf-8")
    tokenizer = train_tokenizer([post.text for post in made], 400)
    tokenizer.save_pretrained(folder / "tokenizer")
    model = tiny_model(vocab_size=len(tokenizer), max_position_embeddings=64).float()
    model.save_pretrained(folder / "model")


def in_part(name):
    """Whether a file belongs to what is half made."""
    return ".part/" in name


DOORS = ("export-mask", "score-corpus", "push")
READERS = ("judge", "inspect", "lm-eval", "status")
STAGE_COMMANDS = (
    *("corpus", "held_out", "queries", "prompts", "baseline", "fit", "aim", "score", "smooth"),
    *("select", "train", "evaluate", "report"),
)
BASE = ("status", "run")
TREES = {
    "finished": Tree(
        "`run`, `compare`, `sweep`, `attack`, `export-pair`, all finished",
        finished("compare", "sweep", "attack", "export-pair"),
        (*READERS, *DOORS, "run", "compare", "sweep", "attack", "export-pair", *STAGE_COMMANDS),
    ),
    "given": Tree(
        "finished; what lies outside is damaged",
        given,
        ("status", "judge", "inspect", "lm-eval", "run", "evaluate", "compare"),
        lambda name: name.startswith("given/"),
    ),
    "baseline": Tree("killed in `baseline`", half_made("baseline"), BASE),
    "score": Tree("killed in `score`", half_made("score"), (*BASE, "select")),
    "sample": Tree("killed in `sample/baseline`", half_made("sample/baseline"), BASE),
    "judge": Tree("killed in `judge/baseline`", half_made("judge/baseline"), (*BASE, "judge")),
    "train": Tree("killed in `train`", half_made("train"), (*BASE, "judge", "inspect", "evaluate")),
    "compare": Tree(
        "`compare` killed in `model/ours`",
        half_made("model/ours-tuned-87a5c952", "compare", ("run",)),
        ("compare", "status", "judge"),
        lambda name: in_part(name) or name.startswith("run/scores/"),
    ),
    "reward": Tree(
        "`compare` killed in `reward`",
        half_made("reward", "compare", ("run",)),
        ("compare", "status"),
        in_part,
    ),
    "attack": Tree(
        "`attack` killed in `relearn`",
        half_made("attack/relearn-baseline", "attack", ("run",)),
        ("attack", "status"),
        in_part,
    ),
    "pair": Tree(
        "`export-pair` killed before `pair` had its name",
        half_made("pair", "export-pair", ("run",)),
        ("export-pair", "status"),
        in_part,
    ),
}


def made_at(name, place, start):
    """Make a tree where its copies will lie, and move it to where it is kept."""
    shutil.rmtree(place, ignore_errors=True)
    TREES[name].make(place)
    return Path(shutil.move(place, start))
