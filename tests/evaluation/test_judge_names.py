"""What a judge's name decides: its kind, its files, what else it hangs on, and whose code it is."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifguide.errors import InputError
from ifguide.evaluation.judges import registry
from ifguide.evaluation.judges.judging import Judge, judge_texts
from ifguide.evaluation.judges.registry import (
    JUDGES,
    JudgeKind,
    JudgeRequest,
    check_judge,
    judge_files,
    judge_identity,
    judge_model,
    load_judge,
)

PACKAGES = ["alt-profanity-check", "hatesonar", "better-profanity"]


class Constant:
    """Gives every text the same toxicity."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.full(len(texts), 0.25)


@pytest.fixture
def add_kind(monkeypatch: pytest.MonkeyPatch):
    """Return ``add(name, kind)``: a kind of judge for the length of a test."""
    return lambda name, kind: monkeypatch.setitem(JUDGES._added, name, kind)


@pytest.mark.parametrize("name", ["", "perspective", ":", "perspective:x", "Rule"])
@pytest.mark.parametrize("use", [load_judge, judge_files, judge_identity, judge_model, check_judge])
def test_unknown_judges(name: str, use) -> None:
    with pytest.raises(InputError, match=f"'{name}' is not known; use one of rule, alt-profanity"):
        use(name)


@pytest.mark.parametrize("name", sorted({*JUDGES.names()} - {"rule", "toxigen-roberta", *PACKAGES}))
def test_a_judge_that_takes_an_argument_has_to_be_given_one(name: str) -> None:
    for short in (name, f"{name}:"):
        with pytest.raises(InputError, match=f"'{short}' does not say which; give {name}:[A-Z]"):
            load_judge(short)


@pytest.mark.parametrize("name", ["rule", "toxigen-roberta", *PACKAGES])
def test_an_argument_that_nothing_reads_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}:x': {name} takes no argument; give {name}"):
        load_judge(f"{name}:x")


def test_checking_a_name_imports_nothing_heavy() -> None:
    names = [*JUDGES.names(), "words:x", "hf:x"]
    code = (
        "import sys\n"
        "from ifguide.evaluation.judges.registry import check_judge\n"
        f"for name in {names!r}: check_judge(name, 'evaluation.judges')\n"
        "print(*sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", ["plain.txt", "ünï 🙂.txt", "a:b#c.txt", "new\nline.txt"])
def test_files_are_found_from_the_data_folder_and_names_are_any_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / name).write_text("goose\n", "utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    for place, data_dir in (
        (f"lists/{name}", tmp_path),
        (f"{tmp_path}/lists/{name}", Path("elsewhere")),
        (f"~/lists/{name}", Path("elsewhere")),
    ):
        judge = load_judge(f"words:{place}", data_dir)
        assert judge.name == f"words:{place}"
        assert judge_texts(judge, ["a goose", "a dog"]).tolist() == [1.0, 0.0]
        assert judge_files(f"words:{place}", data_dir) == [tmp_path / "lists" / name]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_word_list_may_have_any_line_end_and_a_byte_order_mark(
    tmp_path: Path, end: str, mark: str
) -> None:
    (tmp_path / "words.txt").write_bytes(f"{mark}goose{end}bad egg{end}".encode())
    judge = load_judge("words:words.txt", tmp_path)
    assert judge_texts(judge, ["a goose", "bad egg", "egg"]).tolist() == [1.0, 1.0, 0.0]


def test_a_file_that_is_not_there_is_still_one_that_decides(tmp_path: Path) -> None:
    assert judge_files("words:none.txt", tmp_path) == [tmp_path / "none.txt"]
    assert judge_files("detoxify:none.ckpt", tmp_path) == [tmp_path / "none.ckpt"]


@pytest.mark.parametrize("name", ["rule", "toxigen-roberta", "hf:no/where#1", *PACKAGES])
def test_judges_without_files_here(name: str, tmp_path: Path) -> None:
    assert judge_files(name, tmp_path) == []


def filled(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return sorted(folder / name for name in names)


def test_a_checkpoint_s_files_are_those_of_its_folder(tmp_path: Path) -> None:
    here = filled(tmp_path / "judge", "config.json", "model.safetensors", "vocab.txt", "own.py")
    filled(tmp_path / "judge", ".cache", "runs/events")
    for name in ("hf:judge", "hf:judge#toxic", f"hf:{tmp_path}/judge#1"):
        assert judge_files(name, tmp_path) == here
    marked = filled(tmp_path / "judge#1", "config.json")
    assert judge_files("hf:judge#1", tmp_path) == marked  # the folder's own name holds a #
    toxigen = filled(tmp_path / "tomh/toxigen_roberta", "config.json")
    assert judge_files("toxigen-roberta", tmp_path) == toxigen


def test_detoxify_s_files_are_the_checkpoint_and_what_lies_beside_it(tmp_path: Path) -> None:
    alone = filled(tmp_path, "a.ckpt", "b.ckpt", "vocab.txt")
    assert judge_files("detoxify:a.ckpt", tmp_path) == alone[:1]
    config = filled(tmp_path, "config.json")
    assert judge_files("detoxify:a.ckpt", tmp_path) == sorted([alone[0], *config, alone[2]])
    assert judge_files("detoxify:original", tmp_path) == []


@pytest.mark.parametrize("name", [*PACKAGES, "detoxify:original"])
def test_a_package_s_version_is_part_of_the_identity(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity(found: str) -> str:
        monkeypatch.setattr(registry, "version", lambda package: f"{package} at {found}")
        return judge_identity(name)

    assert identity("1.0") != identity("2.0")
    assert name in identity("1.0")
    assert "2.0" in identity("2.0")

    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(registry, "version", missing)
    assert judge_identity(name).endswith("not installed")


@pytest.mark.parametrize("name", ["rule", "words:a.txt", "hf:no folder#1", "detoxify:a.ckpt"])
def test_without_a_package_the_name_is_the_identity(name: str) -> None:
    assert judge_identity(name) == name


COMMITS = ("a" * 40, "b" * 40)


def in_cache(folder: Path, name: str, **revisions: str) -> None:
    """Write what the hub's cache holds of a name: a commit a revision."""
    repository = folder / f"models--{name.replace('/', '--')}"
    for revision, commit in revisions.items():
        filled(repository / "snapshots" / commit, "config.json")
        filled(repository / "refs")
        (repository / "refs" / revision).write_text(commit)


@pytest.mark.parametrize("name", ["hf:own/er#1", "toxigen-roberta"])
def test_the_commit_of_a_hub_name_is_part_of_the_identity(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = "own/er" if name.startswith("hf") else "tomh/toxigen_roberta"
    for commit in COMMITS:
        in_cache(tmp_path, place, main=commit)
        assert judge_identity(name) == f"{name} {commit}"


def test_a_revision_may_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    in_cache(tmp_path, "own/er", main=COMMITS[0], v2=COMMITS[1])
    assert judge_identity("hf:own/er@v2#1") == f"hf:own/er@v2#1 {COMMITS[1]}"
    given = f"hf:not/here@{COMMITS[1]}"
    assert judge_identity(given) == f"{given} {COMMITS[1]}"
    assert judge_model("hf:own/er@v2#1") == judge_model("hf:own/er#0") == "own/er"


def test_a_folder_has_no_commit_and_may_have_any_name(tmp_path: Path) -> None:
    files = filled(tmp_path / "own" / "er@v2", "config.json")
    assert judge_identity("hf:own/er@v2", tmp_path) == "hf:own/er@v2"
    assert judge_files("hf:own/er@v2", tmp_path) == files


def test_a_hub_judge_is_loaded_as_its_identity_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    in_cache(tmp_path, "own/er", main=COMMITS[0])
    asked = []

    def fail(place: str, revision: str, **others: object) -> None:
        asked.append((place, revision))
        raise OSError("not here")

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", fail)
    with pytest.raises(
        InputError, match=r"^judge 'hf:own/er': own/er: cannot be loaded \(not here"
    ):
        load_judge("hf:own/er")
    assert asked == [("own/er", COMMITS[0])]


def test_a_kind_is_a_value(add_kind, tmp_path: Path) -> None:
    def load(request: JudgeRequest) -> Judge:
        assert request.argument == "a:b"
        return Constant(request.name)

    kind = JudgeKind(
        load=load,
        argument="WHAT",
        files=lambda request: [request.path("z"), request.path("a")],
        identity=lambda request: f"of {request.argument}",
        model=lambda request: request.argument[0],
    )
    add_kind("constant", kind)
    assert judge_texts(load_judge("constant:a:b"), ["x"]).tolist() == [0.25]
    assert judge_files("constant:a:b", tmp_path) == [tmp_path / "a", tmp_path / "z"]
    assert judge_identity("constant:a:b") == "constant:a:b of a:b"
    assert judge_model("constant:a:b") == judge_model("constant:ac") == "a"


@pytest.mark.parametrize("made", [None, object(), lambda texts: [0.5]])
def test_what_is_no_judge_is_refused(add_kind, made: Any) -> None:
    add_kind("odd", JudgeKind(load=lambda request: made))
    with pytest.raises(InputError, match=r"^judge 'odd': its package made .*; a judge is called"):
        load_judge("odd")


@pytest.mark.parametrize(
    ("field", "ask"), [("files", judge_files), ("identity", judge_identity), ("model", judge_model)]
)
@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), OSError(5, "no")])
def test_what_a_kind_raises_is_a_line_about_its_judge(add_kind, field, ask, error) -> None:
    def fail(request: JudgeRequest) -> Any:
        raise error

    add_kind("raising", JudgeKind(load=fail, **{field: fail}))
    with pytest.raises(InputError, match=r"^judge 'raising': .*; mend or remove the package"):
        ask("raising")


def test_a_kind_that_keeps_no_promise_is_refused(add_kind) -> None:
    add_kind("renamed", JudgeKind(load=lambda request: Constant("another")))
    with pytest.raises(InputError, match=r"judge 'renamed': .* calls itself 'another'"):
        load_judge("renamed")

    def load(request: JudgeRequest) -> Judge:
        raise ZeroDivisionError("division\nby zero")

    add_kind("raising", JudgeKind(load=load))
    with pytest.raises(
        InputError, match=r"judge 'raising': it cannot be loaded \(division by zero\);"
    ):
        load_judge("raising")
    add_kind("class", Constant)
    with pytest.raises(InputError, match="names as the judge 'class' is no JudgeKind"):
        load_judge("class")


THIRD_PARTY = """
import numpy as np
from ifguide.evaluation.judges.registry import JudgeKind

class Shouting:
    def __init__(self, name): self.name = name
    def __call__(self, texts): return np.array([float(t.isupper()) for t in texts])

KIND = JudgeKind(load=lambda r: Shouting(r.name), argument="HOW", identity=lambda r: "shouting 3")
"""
USE = """
from ifguide.evaluation.judges.judging import judge_texts
from ifguide.evaluation.judges.registry import check_judge, judge_identity, load_judge
check_judge("shouting:loud", "evaluation.judges")
print(judge_texts(load_judge("shouting:loud"), ["HEY", "hey"]).tolist())
print(judge_identity("shouting:loud"))
try: load_judge("broken")
except ValueError as error: print(error)
"""


def test_another_package_adds_a_judge_by_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(THIRD_PARTY)
    info = tmp_path / "shouting-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 3.0\n")
    points = "[ifguide.judges]\nshouting = shouting:KIND\nbroken = nowhere:KIND\n"
    (info / "entry_points.txt").write_text(points)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = done.stdout.splitlines()
    assert shown[:2] == ["[1.0, 0.0]", "shouting:loud shouting 3"]
    assert "the judge 'broken' is nowhere:KIND, which cannot be imported" in shown[2]


@pytest.mark.parametrize("name", ["hf:judge#1", "detoxify:judge/a.ckpt"])
def test_code_that_a_checkpoint_brings_along_is_not_run(tmp_path: Path, name: str) -> None:
    import torch

    folder, proof = tmp_path / "judge", tmp_path / "proof"
    folder.mkdir()
    (folder / "code.py").write_text(f"open({str(proof)!r}, 'w')\nclass Config: pass\n")
    given = {"model_type": "made-up", "auto_map": {"AutoConfig": "code.Config"}}
    (folder / "config.json").write_text(json.dumps(given))
    config = {"arch": {"args": {}}, "dataset": {"args": {"classes": ["toxic"]}}}
    torch.save({"state_dict": {}, "config": config}, folder / "a.ckpt")
    with pytest.raises(InputError, match="comes with code of its own; read it, and give --trust"):
        load_judge(name, tmp_path)
    assert not proof.exists()
