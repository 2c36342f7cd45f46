"""Malformed files of every kind that is read: from each format's grammar, and damage to its bytes.

Each kind of file is laid down sound, beside settings that read it, and one thing about it is
changed. Where a change may leave something that can be read, the run may go through.
"""

from __future__ import annotations

import copy
import functools
import gzip
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hostile.harness import Case
from hostile.settings_cases import lay_places
from micro import SETTINGS, write_settings
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer

POSTS = 60
FIELDS = 20  # of a JSON file that are given a wrong value
RUN = ("run", "run.yaml", "--out", "out", "--quiet")
BINARY, JSON, LINES, TEXT = "binary", "json", "lines", "text"


@dataclass(frozen=True)
class Kind:
    """One kind of file: how it is laid down sound, and what reads it.

    Args:
        name: of the kind.
        file: its place in the folder.
        lay: lays it, and all else that the command needs, into a folder.
        grammar: what its bytes are.
        names: what a line about it may name beside the file itself.
        arguments: the command that reads it.
        needed: whether the command must refuse to go on without it.
        named_fields: whether its JSON holds fields by name, each of which is tried.
        sound: what of all that is done to a file leaves it sound.
    """

    name: str
    file: str
    lay: Callable[[Path], None]
    grammar: str
    names: tuple[str, ...] = ()
    arguments: Sequence[str] = RUN
    needed: bool = True
    named_fields: bool = True
    sound: tuple[str, ...] = ()


def all_cases() -> list[Case]:
    """Return all of this side."""
    return [case for kind in kinds() for case in _cases(kind)]


def kinds() -> list[Kind]:
    """Return every kind of file that is read."""
    return [*_of_texts(), *_of_checkpoints(), *_of_run_folders()]


def _of_texts() -> Iterator[Kind]:
    """Yield what documents, queries and the like are read from."""
    whole = {"named_fields": False}
    for ending, grammar, more in (
        (".jsonl", LINES, {}),
        (".json", JSON, whole),
        (".jsonl.gz", BINARY, {}),
        (".parquet", BINARY, {}),
    ):
        file = f"posts{ending}"
        yield Kind(f"corpus {ending}", file, _settings(corpus=file), grammar, **more)
    yield Kind("corpus folder", "texts/a.txt", _settings(corpus="texts"), TEXT, needed=False)
    for file in ("state.json", "dataset_info.json", "data-00000-of-00001.arrow"):
        grammar = JSON if file.endswith("json") else BINARY
        yield Kind("saved dataset", f"saved/{file}", _settings(corpus="saved"), grammar, ("saved",))
    for ending, grammar, names, more in (
        (".txt", TEXT, ("subset", "source"), {}),
        (".json", JSON, ("subset",), {**whole, "sound": ("a list of numbers",)}),
        (".npy", BINARY, ("subset",), {}),
    ):
        file = f"ids{ending}"
        yield Kind(f"subset {ending}", file, _settings(subset=file), grammar, names, **more)
    for name, file, setting in (
        ("queries", "pairs.jsonl", "queries"),
        ("prompts", "prompts.jsonl", "toxic"),
        ("perplexity", "held.jsonl", "perplexity"),
        ("lambada", "last.jsonl", "lambada"),
    ):
        yield Kind(name, file, _settings(**{name: file}), LINES, (setting,))
    yield Kind("word list", "words.txt", _settings(words="words.txt"), TEXT, ("judges",))
    for ending, grammar, sound in (
        (".npy", BINARY, ()),
        (".jsonl", LINES, ("two records on a line",)),
    ):
        lay, names = _settings(logprobs=ending), ("scores", "pair")
        yield Kind("log-probabilities", f"plus{ending}", lay, grammar, names, sound=sound)


def _of_checkpoints() -> Iterator[Kind]:
    """Yield the files of tokenizers, models, judges and adapters."""
    files = {
        "tokenizer": ("tokenizer.json", "tokenizer_config.json"),
        "model": ("config.json", "generation_config.json", "model.safetensors"),
        "judge": ("config.json", "model.safetensors"),
        "adapter": ("adapter_config.json", "adapter_model.safetensors"),
    }
    for name, held in files.items():
        names = (name, "model") if name == "adapter" else (name,)
        for file in held:
            grammar = JSON if file.endswith("json") else BINARY
            needed = file != "generation_config.json"  # how is drawn is the settings' to say
            lay = _settings(**{name: True})
            yield Kind(name, f"{name}/{file}", lay, grammar, names, needed=needed)


def _of_run_folders() -> Iterator[Kind]:
    """Yield the files of a finished run, each through the commands that look at it."""
    commands = (
        ("inspect", "done"),
        ("judge", "done", "--judges", "rule"),
        ("status", "done"),
        ("run", "done/config.yaml", "--out", "done", "--quiet"),
    )
    names = ("done", "folder", "stage", "corpus")
    for file in (
        "config.yaml",
        "ifguide-run.json",
        "report.json",
        "corpus/manifest.json",
        "select/manifest.json",
        "judge/suppressed/manifest.json",
    ):
        grammar = TEXT if file.endswith("yaml") else JSON
        for given in commands:
            name, place = f"run folder, {given[0]}", f"done/{file}"
            yield Kind(name, place, lay_finished, grammar, names, given, needed=False)


# what is changed


def _cases(kind: Kind) -> Iterator[Case]:
    drawn = random.Random(kind.file)
    names = (kind.file, kind.file.split("/")[0], Path(kind.file).name, *kind.names)
    for what, (change, may_pass) in _changes(kind, drawn).items():
        make = functools.partial(_made, kind, change)
        taken = may_pass or not kind.needed or what in kind.sound
        yield Case(f"files: {kind.name}", f"{kind.file}: {what}", make, names, taken)


def _made(kind: Kind, change: Callable[[Path], None], folder: Path) -> Sequence[str]:
    lay_places(folder)
    kind.lay(folder)
    change(folder / kind.file)
    return kind.arguments


def _changes(kind: Kind, drawn: random.Random) -> dict[str, tuple[Callable[[Path], None], bool]]:
    """Return what is done to a file, by name, and whether it may be read after that."""
    seed = drawn.randrange(2**32)
    found: dict[str, tuple[Callable[[Path], None], bool]] = {
        "missing": (Path.unlink, kind.file.startswith(("model/gen", "tokenizer/tokenizer_config"))),
        "empty": (_with(b""), False),
        "cut in half": (lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]), True),
        "random bytes": (_with(random.Random(seed).randbytes(3000)), kind.grammar == TEXT),
        "NULs": (_with(bytes(2000)), kind.grammar == TEXT),
        "an LFS pointer": (
            _with(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
            kind.grammar == TEXT,
        ),
        "a web page": (_with(b"<!DOCTYPE html><html>401</html>"), kind.grammar == TEXT),
        "another format": (_with(gzip.compress(b"[]")), kind.grammar == TEXT),
        "a folder": (_instead(lambda f: f.mkdir()), False),
        "a pipe": (_instead(os.mkfifo), False),
        "a link to nothing": (_instead(lambda f: f.symlink_to("gone")), False),
        "a link to itself": (_instead(lambda f: f.symlink_to(f.name)), False),
        "/dev/zero": (_instead(lambda f: f.symlink_to("/dev/zero")), False),
        "/proc/self/mem": (_instead(lambda f: f.symlink_to("/proc/self/mem")), False),
    }
    for number in range(3):
        found[f"flipped bits {number}"] = (_flipped(seed + number), True)
    if kind.grammar in (JSON, LINES):
        for what, text in _JSON_TEXTS.items():
            found[what] = (_with(text), False)
    if kind.grammar in (JSON, LINES, TEXT):
        found["UTF-16"] = (lambda f: f.write_bytes(f.read_text().encode("utf-16")), True)
        found["a byte order mark"] = (
            lambda f: f.write_bytes(b"\xef\xbb\xbf" + f.read_bytes()),
            True,
        )
        found["not UTF-8"] = (lambda f: f.write_bytes(f.read_bytes() + b"\xff\xfe\xe9"), True)
    if kind.grammar == LINES:
        found |= {what: (_record(change), may) for what, (change, may) in _RECORDS.items()}
        found["two records on a line"] = (
            lambda f: f.write_bytes(f.read_bytes().replace(b"}\n{", b"}{")),
            False,
        )
        found["carriage returns"] = (
            lambda f: f.write_bytes(f.read_bytes().replace(b"\n", b"\r\n")),
            True,
        )
    if kind.grammar == JSON and kind.named_fields:
        for number in range(FIELDS):
            found[f"field {number}"] = (_field(seed + number), True)
    return found


_JSON_TEXTS = {
    "a number": b"3",
    "null": b"null",
    "a text": b'"a"',
    "a list of numbers": b"[1, 2, 3]",
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "groups 100,000 deep": b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
    "a number of 5,000 digits": b'{"text": ' + b"9" * 5000 + b"}",
    "an open bracket": b'{"text": "a"',
}
LONG = "x" * 100_000
_VALUES: dict[str, Any] = {
    "null": None,
    "a number": 3,
    "a list": ["a"],
    "a record": {"a": 1},
    "true": True,
    "blanks": " \n\t ",
    "empty": "",
    "half a surrogate": "a\ud800",
}


def _set(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda record: {**record, **fields}


_RECORDS: dict[str, tuple[Callable[[dict[str, Any]], Any], bool]] = {
    "a record that is a list": (lambda record: [record], False),
    "a record that is a number": (lambda record: 3, False),
    "no field": (lambda record: {}, False),
    "10,000 field names": (lambda record: {f"f{k}": k for k in range(10_000)}, False),
    "an unknown name with an escape": (lambda record: {"a\x1b[31m\n": 1}, False),
    **{
        f"first field {what}": (lambda r, v=value: {**r, _first(r): v}, True)
        for what, value in _VALUES.items()
    },
    **{f"id {what}": (_set(id=value), True) for what, value in _VALUES.items()},
    "id of 100,000 characters": (_set(id=LONG), True),
    "id with an escape": (_set(id="a\x1b[31m\nb"), True),
    "id 2**64": (_set(id=2**64), True),
    "spans reversed": (_set(spans=[[3, 1]]), True),
    "spans beyond the text": (_set(spans=[[0, 10**12]]), True),
    "spans negative": (_set(spans=[[-1, 2]]), True),
    "spans of fractions": (_set(spans=[[0.5, 2]]), True),
    "spans of booleans": (_set(spans=[[False, True]]), True),
    "spans of three": (_set(spans=[[0, 1, 2]]), True),
    "spans a text": (_set(spans="[[0, 1]]"), True),
    "spans nested": (_set(spans=[[[0, 1]]]), True),
    "spans NaN": (_set(spans=[[float("nan"), 1]]), True),
    "spans 2**64": (_set(spans=[[0, 2**64]]), True),
}


def _first(record: dict[str, Any]) -> str:
    return next(name for name in record if name != "id")


def _record(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what changes the second record of a file of lines."""

    def changed(file: Path) -> None:
        lines = file.read_text().splitlines()
        found = json.loads(lines[1])
        lines[1] = json.dumps(change(found) if isinstance(found, dict) else change({"text": "a"}))
        file.write_text("\n".join(lines) + "\n")

    return changed


def _with(content: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content) and None


def _instead(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        file.unlink()
        make(file)

    return changed


def _flipped(seed: int) -> Callable[[Path], None]:
    def changed(file: Path) -> None:
        raw = bytearray(file.read_bytes())
        for place in random.Random(seed).sample(range(len(raw)), min(5, len(raw))):
            raw[place] ^= 1 << (seed % 8)
        file.write_bytes(raw)

    return changed


_FIELD_VALUES = [None, "x", -1, 0, 2**64, 1e300, [], {}, True, LONG, "a\x1b[31m"]


def _field(seed: int) -> Callable[[Path], None]:
    """Return what gives a drawn field of a JSON file a drawn value that does not belong there."""
    drawn = random.Random(seed)
    place, value = drawn.random(), drawn.choice(_FIELD_VALUES)

    def changed(file: Path) -> None:
        held = json.loads(file.read_text())
        names = sorted(held)
        file.write_text(json.dumps({**held, names[int(place * len(names))]: value}))

    return changed


# sound files


@functools.cache
def _sound() -> Path:
    """Make a model, a classifier, a tokenizer and a finished run once."""
    folder = Path(tempfile.mkdtemp())
    posts = [post.text for post in builtin_posts(POSTS, 0)]
    tokenizer = train_tokenizer(posts, 400)
    tokenizer.save_pretrained(folder / "tokenizer")
    sizes = dict(SETTINGS["model"]["scratch"])
    config = AutoConfig.for_model(sizes.pop("model_type"), vocab_size=len(tokenizer), **sizes)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder / "model")
    judge = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(
            "llama",
            vocab_size=len(tokenizer),
            num_labels=2,
            pad_token_id=0,
            id2label={0: "fine", 1: "toxic"},
            **sizes,
        )
    )
    judge.save_pretrained(folder / "judge")
    for name in ("model", "judge"):
        tokenizer.save_pretrained(folder / name)
    from peft import LoraConfig, get_peft_model

    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2)).save_pretrained(
        folder / "adapter"
    )
    assert main(["run", str(write_settings(folder)), "--out", str(folder / "done"), "--quiet"]) == 0
    return folder


def lay_finished(folder: Path, name: str = "done") -> None:
    """Lay a finished run into a folder, under a name."""
    shutil.copytree(_sound() / "done", folder / name)


def lay_model(folder: Path) -> None:
    """Lay a sound model with its tokenizer into a folder."""
    shutil.copytree(_sound() / "model", folder / "model")


def _posts() -> list[dict[str, Any]]:
    return [
        {"text": post.text, "id": post.id, "spans": [list(span) for span in post.spans]}
        for post in builtin_posts(POSTS, 0)
    ]


def _write(file: Path, records: list[dict[str, Any]]) -> None:
    """Write records in the format that the file's name says."""
    lines = "".join(json.dumps(record) + "\n" for record in records)
    if file.name.endswith(".gz"):
        file.write_bytes(gzip.compress(lines.encode()))
    elif file.suffix == ".json":
        file.write_text(json.dumps(records))
    elif file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), file)
    elif file.suffix == ".jsonl":
        file.write_text(lines)
    elif file.name == "saved":
        import datasets

        datasets.Dataset.from_list(records).save_to_disk(str(file))
    else:
        file.mkdir()
        for number, record in enumerate(records[:20]):
            (file / f"{'a' if number == 0 else number}.txt").write_text(record["text"])


def _settings(**given: Any) -> Callable[[Path], None]:
    """Return what lays settings that read the given files, and these files, sound."""

    def lay(folder: Path) -> None:
        plain = copy.deepcopy(SETTINGS)
        evaluation = plain["evaluation"]
        for what, name in given.items():
            file = folder / str(name)
            if what == "corpus":
                _write(file, _posts())
                spans = {} if name == "texts" else {"spans": "spans"}
                extra = {"path": name, **spans}
                plain["corpus"]["sources"].append({"name": "more", **extra})
            elif what == "subset":
                ids = list(range(5, 25))
                if file.suffix == ".npy":
                    np.save(file, np.array(ids))
                else:
                    file.write_text(
                        json.dumps(ids) if file.suffix == ".json" else "\n".join(map(str, ids))
                    )
                _write(folder / "posts.jsonl", _posts())
                plain["corpus"]["sources"].append(
                    {"name": "more", "path": "posts.jsonl", "subset": name}
                )
            elif what == "queries":
                pairs = [
                    {"toxic": f"you fool {k}", "safe": f"my friend {k}", "id": str(k)}
                    for k in range(20)
                ]
                _write(file, pairs)
                plain["queries"] = {"kind": "pairs", "source": {"path": name}, "max_length": 64}
            elif what == "prompts":
                _write(file, _posts())
                evaluation["toxic"] = {"source": {"path": name}, "cut": "words", "limit": 3}
            elif what == "perplexity":
                _write(file, _posts())
                evaluation["perplexity"] = {"benign": {"source": {"path": name}}}
            elif what == "lambada":
                _write(file, _posts()[:10])
                evaluation["lambada"] = {"path": name}
            elif what == "words":
                file.write_text("fool\nidiot\nmoron\n")
                evaluation["judges"] = [f"words:{name}"]
            elif what == "logprobs":
                _lay_logprobs(folder, plain, name)
            elif what == "judge":
                shutil.copytree(_sound() / "judge", folder / "judge")
                evaluation["judges"] = ["hf:judge"]
            else:
                _lay_model(folder, plain, what)
        (folder / "run.yaml").write_text(json.dumps(plain))

    return lay


def _lay_model(folder: Path, plain: dict[str, Any], what: str) -> None:
    if what == "tokenizer":
        shutil.copytree(_sound() / "tokenizer", folder / "tokenizer")
        plain["tokenizer"] = {"path": "tokenizer"}
        return
    shutil.copytree(_sound() / "model", folder / "model")
    plain["model"] = {"path": what}
    plain["tokenizer"] = {"path": "model"}
    if what == "adapter":
        shutil.copytree(_sound() / "adapter", folder / "adapter")
        held = json.loads((folder / "adapter/adapter_config.json").read_text())
        held["base_model_name_or_path"] = "model"
        (folder / "adapter/adapter_config.json").write_text(json.dumps(held))


def _lay_logprobs(folder: Path, plain: dict[str, Any], ending: str) -> None:
    """Lay a pair beside log-probabilities of the right shape, as somebody's engine writes them."""
    shutil.copytree(_pair(), folder / "pair")
    tokens = np.load(folder / "pair" / "tokens.npy")
    drawn = np.random.default_rng(0)
    for name in ("plus", "minus"):
        values = -drawn.random(tokens.shape).astype(np.float32)
        if ending == ".npy":
            np.save(folder / f"{name}.npy", values)
        else:
            lines = "".join(json.dumps(row) + "\n" for row in values.tolist())
            (folder / f"{name}.jsonl").write_text(lines)
    names = {side: f"{side}{ending}" for side in ("plus", "minus")}
    plain["scores"]["logprobs"] = {**names, "pair": "pair", "force": True}


@functools.cache
def _pair() -> Path:
    folder = _sound() / "the-pair"
    done = _sound() / "done"
    given = [str(done / "config.yaml"), "--out", str(done), "--to", str(folder), "--quiet"]
    assert main(["export-pair", *given]) == 0
    return folder
