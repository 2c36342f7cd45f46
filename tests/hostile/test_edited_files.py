"""A file that the settings name is edited: exactly the stages that read it are made again.

The size and the time of the file stay the same. Which settings name files, and which stages read
them, stands in tables here; a setting that holds text and stands in no table fails.
"""

import json
import os
import shutil
import string
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatch
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
import yaml
from micro import settings
from tiny import FAMILIES, tiny_model
from transformers import AutoConfig, AutoModelForSequenceClassification

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.rivals.reward import reward_from, save_reward
from ifguide.settings.config import Config

SOURCE = {"path", "subset"}
FILES = {  # by class: its settings that name files, or a text whose file is read once more
    "Source": SOURCE,
    "TokenizerConfig": {"path"},
    "ModelConfig": {"path"},
    "QueriesConfig": {"toxic_subset", "safe_subset"},
    "Prompts": {"path"},
    "EvaluationConfig": {"judges"},
    "Guard": {"text"},
    "LogprobConfig": {"plus", "minus", "pair"},
    "CompareConfig": {"labeller", "reward_model"},
    "FilterConfig": {"judge", "words"},
}
TEXTS = {  # by class: its settings that hold text and name no file
    "Config": {"data_dir"},
    "CorpusConfig": {"document_start"},
    "CurvatureConfig": {"memory"},
    "Source": {
        *("name", "hub", "config", "revision", "split", "text", "id", "spans", "kind", "ids"),
        *("messages", "prompt", "completion", "licence"),
        *("tokens", "labels", "loss_mask", "attention_mask"),
    },
    "EvaluationConfig": {"pooled"},
    "Server": {"url", "model"},
    "ChoiceConfig": {"text"},
    "ModelConfig": {"revision"},
    "QueriesConfig": {"prompt", "toxic", "safe", "completion", "toxicity"},
    "HeldOutText": {"held_out", "kind"},
    "Prompts": {"held_out", "kind", "named"},
    "ScoreConfig": {"engine"},
    "Objective": {"kind"},
    "ReportConfig": {"title"},
}
ELSEWHERE = {  # gguf is edited in models/test_gguf.py, mask_from in run/test_proxy_run.py
    "TokenizerConfig": {"gguf"},
    "ModelConfig": {"gguf"},
    "TrainingConfig": {"mask_from"},
}
BOTH = {"sample", "judge", "fluency"}
JUDGED = {"judge/baseline", "judge/suppressed", "evaluate", "report"}
SAID = {"sample/baseline", "sample/suppressed"} | JUDGED
FLUENT = {"fluency/baseline", "fluency/suppressed", "evaluate", "report"}
SUPPRESSED = {f"{stage}/suppressed" for stage in BOTH} | {"train", "evaluate", "report"}
SCORED = {"score", "select"} | SUPPRESSED
QUERIED = {"queries", "aim"} | SCORED
MODELLED = {"baseline", "fit", "aim"} | SCORED | SAID | FLUENT
EVERYTHING = {"corpus", "held_out", "queries", "prompts", "watched/training"} | MODELLED
EVERYTHING |= {"watched/baseline"}
PROXY = {f"proxy/{stage}" for stage in ("baseline", "fit", "aim")} | {"scores/proxy"}


def row(name):
    """A row's stages, by a pattern of its folders' name."""
    return {f"{kind}/{name}" for kind in ("model", *BOTH)}


@dataclass(frozen=True)
class Edit:
    """A setting that names a file, the file, and the stages that are made again."""

    setting: str
    file: str
    again: set[str]


def sourced(setting, file, again):
    """Both of a source's files."""
    return [
        Edit(f"{setting}.path", f"{file}.jsonl", again),
        Edit(f"{setting}.subset", f"{file}.txt", again),
    ]


TEXT = {"held_out"} | FLUENT
EDITS = {  # by the run that names them
    "rtp": [
        *sourced("corpus.sources.*", "posts", EVERYTHING),
        Edit("tokenizer.path", "tokenizer/tokenizer_config.json", EVERYTHING),
        Edit("model.path", "model/model.safetensors", MODELLED),
        *sourced("queries.source", "rtp", QUERIED),
        Edit("queries.toxic_subset", "toxic_side.npy", QUERIED),
        Edit("queries.safe_subset", "safe_side.npy", QUERIED),
        *sourced("evaluation.toxic.source", "toxic", {"prompts"} | SAID),
        *sourced("evaluation.neutral.source", "neutral", {"prompts"} | SAID),
        *sourced("evaluation.more.*.source", "more", {"prompts"} | SAID),
        Edit("evaluation.more.*.path", "named.jsonl", {"prompts"} | SAID),
        *sourced("evaluation.perplexity.*.source", "benign", TEXT),
        Edit("baseline.guard.text", "seen.jsonl", TEXT | {"watched/baseline"} | MODELLED),
        Edit("training.guard.text", "watched.jsonl", TEXT | {"watched/training"} | SUPPRESSED),
        *sourced("evaluation.lambada", "lambada", FLUENT),
        Edit("evaluation.judges", "words.txt", JUDGED),
        Edit("evaluation.judges", "classifier/model.safetensors", JUDGED),
    ],
    "pairs": [
        *sourced("queries.safe_source", "safe", QUERIED),
        Edit("evaluation.toxic.path", "named.jsonl", {"prompts"} | SAID),
        Edit("evaluation.neutral.path", "other.jsonl", {"prompts"} | SAID),
    ],
    "logprobs": [
        Edit("scores.logprobs.plus", "plus.npy", SCORED),
        Edit("scores.logprobs.minus", "minus.npy", SCORED),
        Edit("scores.logprobs.pair", "pair/pair.json", SCORED),
    ],
    "compare": [
        *sourced("compare.prompts.source", "asked", {"pairs/samples"} | row("dpo")),
        *sourced("compare.pairs", "texts", row("dpo-texts")),
        Edit("compare.proxy.path", "proxy/model.safetensors", PROXY | row("proxy-slow-*")),
        Edit(
            "compare.labeller",
            "label.txt",
            {"pairs/samples", "reward", "sample/rad", "judge/rad", "fluency/rad"} | row("dpo"),
        ),
        Edit(
            "compare.trainings.*.guard.text",
            "watched.jsonl",
            {"held_out", "human_text", "fluency/*", "watched/compare.trainings.slow"}
            | row("proxy-slow-*"),
        ),
    ],
    "named": [
        Edit("compare.prompts.path", "named.jsonl", {"pairs/samples"} | row("dpo")),
        Edit(
            "compare.filters.judge",
            "classifier/model.safetensors",
            {"scores/judge-windows"} | row("judge-tokens-*"),
        ),
        Edit("compare.filters.words", "banned.txt", {"scores/words"} | row("words-tokens-*")),
        Edit("compare.reward_model", "reward/model.safetensors", row("rad")),
    ],
}


def places(kind, prefix=""):
    """Every setting by its dotted name, ``*`` for what is named or numbered, and its class."""
    for name, hint in get_type_hints(kind).items():
        if name in {field.name for field in fields(kind)}:
            yield from _below(hint, f"{prefix}{name}", kind, name)


def _below(hint, place, kind, name):
    if is_dataclass(hint):
        yield from places(hint, f"{place}.")
    elif hint is str:
        yield place, kind, name
    else:
        listed = {list, tuple, dict} & {getattr(hint, "__origin__", None)}
        for inner in set(get_args(hint)) - {str} if dict in listed else get_args(hint):
            group = is_dataclass(inner)
            yield from _below(inner, f"{place}.*" if listed and group else place, kind, name)


def of_class(tables, kind, name):
    return any(name in tables.get(base.__name__, ()) for base in kind.__mro__)


def test_every_setting_that_holds_text_is_known_to_name_a_file_or_none():
    unknown = [
        place
        for place, kind, name in places(Config)
        if [of_class(table, kind, name) for table in (FILES, TEXTS, ELSEWHERE)].count(True) != 1
    ]
    assert unknown == []


def test_every_setting_that_names_a_file_is_edited():
    named = {place for place, kind, name in places(Config) if of_class(FILES, kind, name)}
    edited = {edit.setting for edits in EDITS.values() for edit in edits}
    assert named - edited == set()
    assert edited - named == set()


def records(count, seed, **more):
    posts = builtin_posts(count, seed)
    for number, post in enumerate(posts):
        spans = [[start + 4, end + 4] for start, end in post.spans]
        plain = {"id": f"post-{number:05}", "text": f"Now {post.text}", "spans": spans}
        yield {**plain, **{name: make(number, post) for name, make in more.items()}}


MORE = {  # by file: the fields that it has beside an id, a text and spans
    "rtp": {
        "prompt": lambda n, post: {"text": f"Now {post.text[:20]}"},
        "continuation": lambda n, post: {"text": post.text[20:60], "toxicity": n % 2},
    },
    "named": {"prompt": lambda n, post: {"text": f"Now {post.text}"}},
    "other": {"prompt": lambda n, post: {"text": f"Now {post.text}"}},
    "pairs": {"toxic": lambda n, post: f"Now {post.text}", "prompt": lambda n, post: ""},
    "safe": {"safe": lambda n, post: f"Now {post.text}", "prompt": lambda n, post: ""},
    "texts": {
        "toxic": lambda n, post: f"Now {post.text} you fool",
        "neutral": lambda n, post: f"Now {post.text}",
    },
}
JSONL = (
    *("posts", "rtp", "toxic", "neutral", "more", "named", "other", "benign", "seen", "watched"),
    *("lambada", "pairs", "safe", "asked", "texts"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Everything that the settings name."""
    folder = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(JSONL):
        rows = list(records(60, seed, **MORE.get(name, {})))
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        listed = "".join(f"{row['id']}\n" for row in rows[:50])
        (folder / f"{name}.txt").write_text(listed, encoding="utf-8")
    np.save(folder / "toxic_side.npy", np.array([1, 3, 5, 7]))
    np.save(folder / "safe_side.npy", np.array([0, 2, 4, 6]))
    for name, word in {"words": "fool", "banned": "a"}.items():
        (folder / f"{name}.txt").write_text(f"folk\n{word}\n", encoding="utf-8")
    (folder / "label.txt").write_text(
        "folk\n" + "\n".join(string.ascii_lowercase), encoding="utf-8"
    )
    tokenizer = train_tokenizer([row["text"] for row in records(60, 0)], 400)
    for name in ("tokenizer", "model", "proxy", "classifier"):
        tokenizer.save_pretrained(folder / name)
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    for seed, name in enumerate(("model", "proxy")):
        tiny_model(dtype=torch.float32, seed=seed, **size).save_pretrained(folder / name)
    save_reward(reward_from(tiny_model(dtype=torch.float32, **size), tokenizer), folder / "reward")
    labels = {"id2label": {0: "fine", 1: "toxic"}, "label2id": {"fine": 0, "toxic": 1}}
    config = AutoConfig.for_model("llama", **FAMILIES["llama"] | size, **labels, pad_token_id=0)
    classifier = AutoModelForSequenceClassification.from_config(config)
    classifier.save_pretrained(folder / "classifier")
    return folder


def source(name):
    return {"path": f"{name}.jsonl", "subset": f"{name}.txt"}


def prompts(name):
    return {"source": source(name), "cut": "words", "limit": 3}


def base(files, name):
    """The settings of one of the runs."""
    held = settings(data_dir=str(files))
    held["tokenizer"] = {"path": str(files / "tokenizer")}
    held["model"] = {"path": str(files / "model")}
    posts = {"name": "posts", **source("posts"), "spans": "spans", "held_out": 0.3}
    held["evaluation"]["sampling"] = {"samples": 4, "tokens": 8}
    held["corpus"] = {"block_length": 32, "sources": [posts]}
    asked = held["evaluation"]
    named = {"named": "real-toxicity-prompts", "limit": 3}
    if name == "rtp":
        sides = {"toxic_subset": "toxic_side.npy", "safe_subset": "safe_side.npy"}
        held["queries"] = {"kind": "rtp", "source": source("rtp"), "max_length": 32, **sides}
        asked["judges"] = ["rule", "words:words.txt", "hf:classifier"]
        asked |= {side: prompts(side) for side in ("toxic", "neutral")}
        asked["more"] = {"more": prompts("more"), "named": {**named, "path": "named.jsonl"}}
        asked["perplexity"] = {
            text: {"source": source(text)} for text in ("benign", "seen", "watched")
        }
        asked["lambada"] = source("lambada")
        for training, text in {"baseline": "seen", "training": "watched"}.items():
            held[training]["guard"] = {"text": text, "every": 1, "bound": 99.0}
    if name == "pairs":
        fields = {"prompt": None, "toxic": "toxic", "safe": "safe", "max_length": 32}
        both = {"source": source("pairs"), "safe_source": source("safe")}
        held["queries"] = {"kind": "pairs", **both, **fields}
        asked["toxic"] = {**named, "path": "named.jsonl"}
        asked["neutral"] = {**named, "path": "other.jsonl"}
    if name in ("compare", "named"):
        held["compare"] = {
            "labeller": "words:label.txt",
            "prompts": {**prompts("asked"), "limit": 20},
            "margin": 0.01,
            "dpo": {"epochs": 0.1, "max_length": 32, "batch_size": 1},
        }
    if name == "compare":
        asked["perplexity"] = {"watched": {"source": source("watched")}}
        guard = {"text": "watched", "every": 1, "bound": 99.0}
        held["compare"] |= {
            "pairs": source("texts"),
            "proxy": {"path": str(files / "proxy")},
            "reward_texts": 8,
            "reward": {"epochs": 1.0, "max_length": 32, "batch_size": 4},
            "trainings": {"slow": {**held["training"], "guard": guard}},
        }
    if name == "named":
        held["compare"]["prompts"] = {**named, "path": "named.jsonl", "limit": 20}
        held["compare"]["filters"] = {"judge": "hf:classifier", "words": "banned.txt"}
        held["compare"]["reward_model"] = str(files / "reward")
    return held


METHODS = {"compare": "dpo,dpo-texts,proxy,rad", "named": "dpo,judge-tokens,words-tokens,rad"}


def again(name, yaml_file, out):
    """Run everything that a base has."""
    given = [str(yaml_file), "--out", str(out), "--quiet"]
    if name in METHODS:
        assert main(["compare", *given, "--methods", METHODS[name]]) == 0
    else:
        assert main(["run", *given]) == 0


@pytest.fixture(scope="module")
def bases(files, tmp_path_factory):
    """Gives a run's YAML and finished folder, made when it is first asked for."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            file, held = folder / "run.yaml", base(files, name)
            file.write_text(yaml.safe_dump(held, sort_keys=False), encoding="utf-8")
            if name == "logprobs":
                pair = ["--to", str(files / "pair"), "--quiet"]
                assert main(["export-pair", str(file), "--out", str(folder / "p"), *pair]) == 0
                shape = np.load(files / "pair" / "tokens.npy").shape
                for side in ("plus", "minus"):
                    drawn = -np.random.default_rng(len(side)).random(shape)
                    np.save(files / f"{side}.npy", drawn.astype(np.float32))
                there = {side: f"{side}.npy" for side in ("plus", "minus")}
                held["scores"]["logprobs"] = {**there, "pair": "pair", "force": True}
                file.write_text(yaml.safe_dump(held, sort_keys=False), encoding="utf-8")
            again(name, file, folder / "run")
            made[name] = file, folder / "run"
        return made[name]

    return get


def edited(file):
    """Other content of the same size."""
    held = bytearray(file.read_bytes())
    if file.suffix in (".safetensors", ".npy"):
        held[-4 if any(held[-4:]) else -8] ^= 8  # a low bit of the last float32, or int64
        return bytes(held)
    lists = ("words.txt", "label.txt", "banned.txt")
    changes = {
        **dict.fromkeys(lists, (b"folk", b"foul")),
        "tokenizer_config.json": (b"100000", b"100001"),
        "pair.json": (b'"step": 0.03', b'"step": 0.04'),
    }
    kinds = {".jsonl": (b"Now ", b"New "), ".txt": (b"post-00001", b"post-00055")}
    before, after = changes.get(file.name) or kinds[file.suffix]
    assert before in held
    return bytes(held).replace(before, after, 1)


@pytest.fixture
def edit():
    """Edits files, which keep their times, and puts them back."""
    kept = []

    def change(file):
        seen, held = file.stat(), file.read_bytes()
        kept.append((file, held, seen))
        new = edited(file)
        assert new != held
        assert len(new) == len(held)
        file.write_bytes(new)
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    yield change
    for file, held, seen in kept:
        file.write_bytes(held)
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def made(out):
    """The text of every finished stage's manifest by its folder."""
    found = {
        str(file.parent.relative_to(out)): file.read_text(encoding="utf-8")
        for file in out.rglob("manifest.json")
    }
    return {name: text for name, text in found.items() if ".part" not in name}


CASES = [(name, edit) for name, edits in EDITS.items() for edit in edits]


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{case.setting} {case.file}" for _, case in CASES]
)
def test_exactly_what_reads_a_file_is_made_again(name, case, bases, files, edit, tmp_path):
    yaml_file, finished = bases(name)
    out = shutil.copytree(finished, tmp_path / "run")
    before = made(out)
    again(name, yaml_file, out)
    assert made(out) == before  # else anything might have set it off
    edit(files / case.file)
    again(name, yaml_file, out)
    after = made(out)
    assert after.keys() == before.keys()
    changed = {stage for stage in before if before[stage] != after[stage]}
    assert changed == {
        stage for stage in before if any(fnmatch(stage, wanted) for wanted in case.again)
    }
