"""docs/extending.md: its blocks are installed as a package, and everything in it is used."""

import json
import tomllib

import pytest
from outside import python
from pages import ROOT, blocks

PAGE = ROOT / "docs" / "extending.md"
PACKAGE = "theirs"
MODULES = {text.partition("\n")[0].removeprefix("# "): text for text in blocks(PAGE, "python")}
POINTS = [tomllib.loads(text)["project"]["entry-points"] for text in blocks(PAGE, "toml")]

NAMES = """
import json, sys
from ifguide.commands.main import _parser
from ifguide.corpus.formats import FORMATS
from ifguide.evaluation.judges.registry import JUDGES
from ifguide.influence.config import ENGINES
from ifguide.masks.registry import MASK_FORMATS
from ifguide.rivals.methods import METHODS
from ifguide.run.scorers import SCORERS
from ifguide.run.table import STAGES
from ifguide.training.config import OBJECTIVES

every = (ENGINES, JUDGES, OBJECTIVES, METHODS, SCORERS, FORMATS, MASK_FORMATS, STAGES)
known = {registry.group: registry.names() for registry in every}
early = [name for name in sys.modules if name.startswith("theirs")]
for registry in every:
    for name in registry.names():
        if name in THEIRS.get(registry.group, {}):
            registry.get(name, "a test")
print(json.dumps([known, early, _parser().format_help()]))
"""
USES = """
import json
from pathlib import Path

import numpy as np
import torch

from ifguide.corpus.readers import read_path
from ifguide.evaluation.judges.judging import judge_texts
from ifguide.evaluation.judges.registry import judge_identity, load_judge
from ifguide.influence.config import ScoreConfig
from ifguide.influence.score import score
from ifguide.models.tracked import find_tracked
from ifguide.nouns import Checkpoint, Direction, Selection
from ifguide.rivals.methods import rows_of
from ifguide.run.scorers import SCORERS
from ifguide.run.table import stage_named
from ifguide.run.work import Work
from ifguide.training.config import Objective
from ifguide.training.objectives import suppression_loss
from tiny import VOCABULARY, random_corpus, tiny_model

model, corpus, found = tiny_model("llama"), random_corpus(padding=5), {}

weights = {w.name: torch.randn(w.matrix.shape, dtype=torch.float64) for w in find_tracked(model)}
by = {
    name: np.asarray(score(model, corpus, Direction(weights), ScoreConfig(engine=name)).values)
    for name in ("backward", "jvp")
}
found["engine"] = float(np.abs(by["backward"] - by["jvp"]).max() / np.abs(by["jvp"]).max())

judge = load_judge("capitals")
texts = ["HELLO", "Hello", "hello", "123"]
found["judge"] = [judge_texts(judge, texts).tolist(), judge_identity("capitals")]

logits = torch.zeros(1, 3, VOCABULARY, dtype=torch.float64)
tokens, every = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool)
found["objectives"] = {
    kind: float(suppression_loss(logits, tokens, every, every, Objective(kind=kind, weight=2.0)))
    for kind in ("bounded", "uniform")
}

(row,) = rows_of(["surprise"], ["run"])


class Text:
    corpus = random_corpus(padding=5)


stage, folder = SCORERS.get(row.method.mask.scorer, "a test"), Path("scores")
folder.mkdir()
stage.save(folder, stage.make(Work(), None, Text, Checkpoint(lambda: model)))
loaded = stage.load(folder, lambda need: Text)
found["rival"] = [
    row.name,
    stage.name,
    sorted(file.name for file in folder.iterdir()) == sorted(stage.files),
    bool((np.asarray(loaded.values)[corpus.has_loss] > 0).all()),
]

Path("posts.csv").write_text("id,body\\n7,one\\n8,two\\n", encoding="utf-8-sig")
records = read_path(Path("posts.csv"), "posts.csv", "train")
found["format"] = [[record.place, dict(record.fields)] for record in records]

stage, folder = stage_named("stretches"), Path("stretches")
folder.mkdir()
suppress = np.zeros(corpus.tokens.shape, dtype=bool)
suppress[0, 1:3] = suppress[1, -1] = suppress[2, 4] = True
empty = np.zeros(0)
selection = Selection(suppress, 0.0, 4, empty.astype(int), empty, corpus)
stage.save(folder, stage.make(Work(), None, selection))
found["stage"] = [stage.load(folder, None), sorted(file.name for file in folder.iterdir())]

from cutters import byte_level
from ifguide.masks.export import export_mask
from ifguide.masks.format import MaskedCorpus
from ifguide.nouns import TokenScores

scores = TokenScores(np.zeros(suppress.shape, np.float32), corpus)
out = export_mask(MaskedCorpus(selection, scores, byte_level()), "plain", Path("plain"))
learnt = np.load(out / "learnt.npy")
found["mask"] = [
    bool((learnt == (corpus.has_loss & ~suppress)).all()),
    "true where the token is learnt" in (out / "README.md").read_text(),
]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that holds the page's blocks as an installed package."""
    place = tmp_path_factory.mktemp("site")
    for name, text in MODULES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    about = place / f"{PACKAGE}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n")
    lines = []
    for group, named in ((g, n) for points in POINTS for g, n in points.items()):
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def found(folder):
    done = python(folder, USES)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_registry_knows_the_names_and_the_command_line_lists_the_stage(folder):
    theirs = {group: named for points in POINTS for group, named in points.items()}
    done = python(folder, f"THEIRS = {theirs!r}\n{NAMES}")
    assert done.returncode == 0, done.stderr
    known, early, help_text = json.loads(done.stdout)
    assert known.keys() == theirs.keys()
    for group, named in theirs.items():
        assert named.keys() <= set(known[group]), group
    assert early == []
    assert "run the stages up to 'stretches'" in help_text


def test_the_engine_agrees_with_jvp(found):
    assert found["engine"] < 1e-9


def test_the_judge_judges_and_tells_its_version(found):
    assert found["judge"] == [[1.0, 0.2, 0.0, 0.0], "capitals theirs 1.0"]


def test_the_objectives_are_what_they_say(found):
    """Two selected tokens whose probability is 1/61 each, at λ = 2."""
    assert found["objectives"]["bounded"] == pytest.approx(2 / 61)
    assert found["objectives"]["uniform"] == pytest.approx(2 * 4.110873864)


def test_the_rival_is_a_row_and_its_scores_are_read_back(found):
    assert found["rival"] == ["surprise@run", "scores/surprise", True, True]


def test_the_format_reads_a_file_with_a_byte_order_mark(found):
    assert found["format"] == [
        ["posts.csv, line 2", {"id": "7", "body": "one"}],
        ["posts.csv, line 3", {"id": "8", "body": "two"}],
    ]


def test_the_stage_counts_and_writes_what_it_declares(found):
    assert found["stage"] == [{"1": 2, "2": 1}, ["stretches.json"]]


def test_the_mask_format_writes_what_is_learnt(found):
    assert found["mask"] == [True, True]
