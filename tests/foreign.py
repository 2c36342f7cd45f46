"""Folders that a command may meet, what in them is somebody else's, and every command on them."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from micro import SETTINGS

PROJECT = {
    ".git/HEAD": "ref: refs/heads/main\n",
    ".git/config.lock": "",
    "corpus/__init__.py": "",
    "train/__init__.py": "print('mine')\n",
    "score/score.py": "mine\n",
    "select/mask/state.json": "{}\n",
    "report.html": "<p>mine\n",
    "README.md": "# mine\n",
}
CHECKPOINT = {
    "config.json": '{"model_type": "llama"}\n',
    "model.safetensors": "weights\n",
    "tokenizer.json": "{}\n",
    "README.md": "# a card\n",
}
DATA = {
    ".lock": "",
    "corpus/manifest.json": '{"files": {"a.txt": {"bytes": 2, "sha256": "0"}}, "stage": "corpus"}',
    "corpus/a.txt": "a\n",
    "train/manifest.json": "[]",
    "train.part/scratch/checkpoint-1/complete": "",
    "report.json": "{}\n",
    "config.yaml": "seed: 0\n",
}
OLDER = {
    ".lock": "",
    "corpus/manifest.json": '{"format": 1, "fingerprint": "0", "files": {"tokens.bin": {}}}',
    "corpus/tokens.bin": "tokens\n",
    "train/manifest.json": '{"format": 1, "fingerprint": "1", "files": {}}',
    "train/model.safetensors": "weights\n",
    "config.yaml": yaml.safe_dump(SETTINGS),
    "report.json": "{}\n",
}
ARRAYS = {
    "ifguide/__init__.py": "",
    "ifguide-run.json/notes.txt": "a folder by the mark's name\n",
    "queries.part/mine.txt": "mine\n",
}
FOREIGN = {
    "a git project with folders called as stages": PROJECT,
    "a checkpoint of Hugging Face": CHECKPOINT,
    "data with manifests and a lock": DATA,
    "a run folder of an earlier version": OLDER,
    "a folder by the name of the mark": ARRAYS,
    "a mark that is somebody else's": {"ifguide-run.json": '{"name": "mine"}', "a.txt": "a"},
    "a mark that is no JSON": {"ifguide-run.json": "mine", "train/a.txt": "a"},
    "a mark of a later version": {
        "ifguide-run.json": '{"format": 99, "id": "0", "made_by": "9.0", "wrote": []}',
        "train/a.txt": "a",
    },
}


def lay(folder, files):
    """Write texts by their names in a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def snapshot(folder):
    """What stands in a folder by its name there: the hash of a file, where a link leads."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            entry = Path(place) / name
            if entry.is_symlink():
                found[str(entry.relative_to(folder))] = f"-> {os.readlink(entry)}"
            elif entry.is_file():
                digest = hashlib.sha256(entry.read_bytes()).hexdigest()
                found[str(entry.relative_to(folder))] = digest
    return found


def lost(before, after):
    """What of ``before`` is gone or another in ``after``."""
    return sorted(name for name, seen in before.items() if after.get(name) != seen)


@dataclass(frozen=True)
class Place:
    """A folder, what lies beside it, and what in it is somebody else's."""

    folder: Path
    beside: Path
    theirs: dict[str, str]


def put_notes(folder):
    """Lay a user's notes, and a folder of their own, into every folder of a run."""
    for place, folders, _ in list(os.walk(folder)):
        if ".git" not in folders:
            (Path(place) / "notes.txt").write_text(f"mine, in {place}\n", encoding="utf-8")
        own = Path(place) / "my-own"
        lay(own, {"manifest.json": "{}\n", "model.safetensors": "mine\n", ".lock": ""})


def link(place, outside, *, dangling=False):
    """Put a link in a place, to the very same outside the folder; what was there moves there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    target = outside / place.name
    if os.path.lexists(place):
        shutil.move(place, target)
    elif "." in place.name and not place.name.endswith(".part"):
        target.write_text("mine\n", encoding="utf-8")
    else:
        lay(target, {"keep.txt": "mine\n"})
    if dangling:
        target = outside / "nothing" / place.name
    place.symlink_to(target)


def commands(config, folder, beside):
    """Every command, as it would be given where it may write most; those that only look first."""
    common = [str(config), "--out", str(folder)]
    changed = [
        "--replace",
        "--verify",
        "--training.learning_rate",
        "0.0007",
        "--selection.budget",
        "0.03",
    ]
    new = beside / "new"
    demo = [
        word
        for section, given in SETTINGS.items()
        for name, value in (given.items() if isinstance(given, dict) else [("", given)])
        for word in (f"--{section}.{name}".rstrip("."), json.dumps(value))
    ]
    files = sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else []
    there = files[0] if files else folder
    stages = (
        *("corpus", "held_out", "queries", "prompts", "baseline", "fit", "aim", "score"),
        *("smooth", "select", "train", "evaluate", "report"),
    )
    methods = ["--methods", "ours,lexicon-tokens"]
    return [
        ["schema"],
        ["status", str(folder), "--verify"],
        ["inspect", str(folder), "--trust-remote-code"],
        ["judge", str(folder), "--judges", "rule", "--out", str(there)],
        ["judge", str(folder), "--judges", "rule", "--out", f"{new}.json", "--replace"],
        ["lm-eval", str(folder), "--tasks", "none", "--out", str(there)],
        ["lm-eval", str(folder), "--tasks", "none", "--out", f"{new}.json", "--replace"],
        ["init", "--corpus", str(there), "--model", "none", "--out", str(there)],
        ["run", *common],
        ["select", *common, "--verify"],
        ["attack", str(folder), "--kind", "lens"],
        ["attack", str(folder), "--replace", "--verify", "--kind", "lens", "--lens.queries", "2"],
        *([stage, *common, *changed] for stage in stages),
        ["run", *common, *changed],
        ["attack", str(folder), "--replace", "--verify", "--kind", "lens", "--out", str(folder)],
        ["export-pair", *common, *changed],
        ["export-pair", *common, *changed, "--step", "0.02"],
        ["export-pair", *common, "--to", str(folder)],
        ["export-mask", str(folder), "--to", "spans", "--out", str(folder), "--replace"],
        ["estimate", str(folder), "--out", str(folder)],
        ["score-corpus", str(folder), "--source", str(there), "--out", str(folder), "--replace"],
        ["distil", str(folder), "--out", str(folder), "--replace"],
        ["push", str(folder), "--mask", "me/mask", "--model", "me/model", "--dry", str(folder)],
        ["push", str(folder), "--mask", "me/mask", "--dry", str(folder / "new")],
        ["compare", *common, *changed, *methods],
        ["sweep", *common, *changed, "--budget", "0.05"],
        ["demo", "--out", str(folder)],
        ["demo", "--out", str(folder), "--replace", "--verify", *demo],
    ]
