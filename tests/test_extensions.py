"""One module outside the package adds one of each kind; the command line knows and runs it."""

import json

import micro
import numpy as np
import pytest
from outside import ifguide, install, python

from ifguide.corpus.builtin import builtin_posts

THEIRS = '''
"""An engine, a judge, an objective, a rival with its scorer, a source format and a stage."""

import json
from pathlib import Path

import numpy as np
import torch

from ifguide.corpus.fields import Record
from ifguide.evaluation.judges.registry import JudgeKind
from ifguide.influence.engines.engine import ScoreEngine
from ifguide.nouns import TokenScores
from ifguide.rivals.methods import Mask, Method
from ifguide.run.stage import Stage, needs
from ifguide.run.stages import CORPUS, SELECT
from ifguide.training.objectives import SuppressionTerm


def prepare(model, tracked, direction, blocks, config):
    def engine(tokens, counted):
        return (tokens % 7).double() * counted

    return engine, {"engine": "modulo"}


class Length:
    name = "length"

    def __call__(self, texts):
        return np.array([min(1.0, len(text) / 100) for text in texts])


def flatten(losses, logits, tokens, objective):
    Path("objective.txt").write_text(str(tuple(logits.shape)))
    logs = logits.log_softmax(-1)
    return objective.weight * (logs.exp() * logs).sum(-1)


def read_tab(file, shown, name):
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        spans, text = line.split("\\t")
        yield Record(f"{shown}, line {number}", {"text": text, "spans": json.loads(spans)})


def score_evenly(work, settings, text):
    return TokenScores((np.asarray(text.corpus.tokens) % 5).astype(np.float32), text.corpus, {})


def save_scores(folder, scores):
    np.save(folder / "scores.npy", scores.values)


def count(work, settings, selection):
    return int(selection.suppress.sum())


MODULO = ScoreEngine("modulo", prepare)
LENGTH = JudgeKind(load=lambda request: Length())
FLATTEN = SuppressionTerm(flatten, needs_logits=True)
FIFTHS = Stage(
    name="scores/fifths",
    about="token ids by five",
    needs=needs(CORPUS),
    settings=lambda config: None,
    make=score_evenly,
    save=save_scores,
    load=lambda folder, get: TokenScores(np.load(folder / "scores.npy"), get(CORPUS).corpus, {}),
    files=("scores.npy",),
    command="compare",
)
BY_FIFTHS = Method(name="by-fifths", about="against every fifth id", mask=Mask(scorer="fifths"))
COUNT = Stage(
    name="count",
    about="how many tokens are selected",
    needs=needs(SELECT),
    settings=lambda config: config.seed,
    section="seed",
    make=count,
    save=lambda folder, number: (folder / "count.json").write_text(str(number)),
    load=lambda folder, get: json.loads((folder / "count.json").read_text()),
    files=("count.json",),
)
'''
POINTS = {
    "ifguide__engines": {"modulo": "theirs:MODULO"},
    "ifguide__judges": {"length": "theirs:LENGTH"},
    "ifguide__objectives": {"flatten": "theirs:FLATTEN"},
    "ifguide__methods": {"by-fifths": "theirs:BY_FIFTHS"},
    "ifguide__scorers": {"fifths": "theirs:FIFTHS"},
    "ifguide__formats": {"tab": "theirs:read_tab"},
    "ifguide__stages": {"count": "theirs:COUNT"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the package, a corpus in its format, and settings that use all of it."""
    folder = tmp_path_factory.mktemp("extended")
    install(folder, "theirs", THEIRS, **POINTS)
    posts = builtin_posts(120, seed=0)
    lines = [f"{json.dumps(list(map(list, post.spans)))}\t{post.text}\n" for post in posts]
    (folder / "posts.tab").write_text("".join(lines), encoding="utf-8")
    micro.write_settings(
        folder,
        data_dir=str(folder),
        corpus__sources=[{"name": "posts", "path": "posts.tab", "spans": "spans", "held_out": 0.3}],
        scores={"engine": "modulo"},
        selection={"quantile": 0.5},
        evaluation__judges=["length"],
        training__objective={"kind": "flatten"},
    )
    return folder


def succeed(folder, *arguments):
    done = ifguide(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(folder):
    """The run folder after a run."""
    succeed(folder, "run", "run.yaml", "--out", "run", "--quiet")
    return folder / "run"


def test_help_lists_the_stage_and_the_method(folder):
    assert "run the stages up to 'count'" in succeed(folder, "--help")
    assert "by-fifths               against every fifth id" in succeed(folder, "compare", "--help")


def test_help_and_settings_know_it_without_importing_it(folder):
    code = "import sys\nfrom ifguide.commands.main import main\nsys.argv[1:] = {}\n"
    code += "try:\n    main()\nfinally:\n    assert 'theirs' not in sys.modules"
    for arguments in (["--help"], ["run", "run.yaml", "--print_config"]):
        done = python(folder, code.format(arguments))
        assert done.returncode == 0, done.stderr


def test_a_run_reads_the_format_and_uses_engine_objective_and_judge(run, folder):
    scores = np.concatenate([np.load(file) for file in sorted((run / "score").glob("*.npy"))])
    assert json.loads((run / "score/scores.json").read_text())["engine"] == "modulo"
    assert set(np.unique(scores)) == set(range(7))
    assert (folder / "objective.txt").read_text().endswith(", 400)")  # it was given the logits
    models = json.loads((run / "report.json").read_text())["models"]
    assert all(list(figures["judges"]) == ["length"] for figures in models.values())


def test_a_comparison_runs_the_rival_by_its_own_scorer(run, folder):
    succeed(folder, "compare", "run.yaml", "--out", "run", "--quiet", "--methods", "by-fifths")
    table = json.loads((run / "compare/table.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["baseline", "by-fifths@run"]
    assert (run / "scores/fifths/scores.npy").is_file()


def test_the_stage_is_made_by_its_command_and_told_by_status(run, folder):
    assert "not made" in line_of(succeed(folder, "status", "run"), "count")
    succeed(folder, "count", "run.yaml", "--out", "run", "--quiet")
    selected = json.loads((run / "report.json").read_text())["selection"]["selected"]
    assert json.loads((run / "count/count.json").read_text()) == selected
    assert "stands" in line_of(succeed(folder, "status", "run"), "count")


def line_of(shown, stage):
    (line,) = (line for line in shown.splitlines() if line.split()[:1] == [stage])
    return line
