"""Arguments and settings that cannot be used: exit code 2 and one line that names the mend."""

import pytest
import yaml
from micro import run, settings, write_settings

# the command line itself


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["run"], "no YAML file given"),
        (["run", "nowhere.yaml", "--out", "x"], "nowhere.yaml: no such file; give the YAML file"),
        (["inspect"], "dir"),
        (["inspect", "nowhere"], "nowhere: no such folder; give the folder of a run"),
        (["inspect", "nowhere", "--top", "x"], "--top: invalid int value: 'x'"),
        (["inspect", "nowhere", "--top", "0"], "--top: 0 is below 1; give the number"),
        (["inspect", "nowhere", "--bogus"], "--bogus: not an option of inspect"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, refused):
    assert said in refused(*arguments)


def test_no_run_folder(refused, tmp_path):
    assert refused("run", write_settings(tmp_path)) == "--out: no run folder given; add --out DIR"


def test_an_id_that_is_not_in_the_corpus(refused, tmp_path):
    assert run("select", write_settings(tmp_path), tmp_path / "run") == 0
    line = refused("inspect", tmp_path / "run", "--doc", "nobody")
    assert line == (
        "document id 'nobody': the corpus has no such document; use an id that `ifguide inspect` "
        "shows"
    )


# the YAML


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty; write the run's settings into it"),
        ("seed: [1, 2", "line 1, column 12: not valid YAML (expected ',' or ']'"),
        ("seed:\n\t- 1", "line 2, column 1: not valid YAML (found character '\\t'"),
        ("- 1", "a list is not settings by name"),
        ("hello", "'hello' is not settings by name"),
    ],
)
def test_a_file_that_is_no_yaml_of_settings(text, said, refused, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    line = refused("run", file, "--out", tmp_path / "run")
    assert line.startswith(str(file))
    assert said in line
    assert not (tmp_path / "run").exists()


def test_a_yaml_file_that_is_not_utf8(refused, tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"seed: 0 # caf\xe9")
    line = refused("run", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert line.endswith("run.yaml: not UTF-8 at byte 13; save it as UTF-8")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bogus": 1}, "bogus: there is no such setting; use one of corpus, "),
        ({"selection__budgget": 1}, "selection.budgget: there is no such setting; did you mean b"),
        ({"evaluation__toxic__bogus": 1}, "evaluation.toxic.bogus: there is no such setting"),
        ({"training__objective__bogus": 1}, "training.objective.bogus: there is no such setting"),
        (
            {"corpus__sources": [{"builtin": 9, "bogus": 1}]},
            "corpus.sources.0.bogus: there is no such setting",
        ),
        ({"corpus__block_length": "many"}, "corpus.block_length: 'many' is not a whole number; g"),
        ({"corpus__block_length": 6.5}, "corpus.block_length: 6.5 is not a whole number"),
        ({"corpus__sources": {"builtin": 9}}, "corpus.sources: settings by name is not a list"),
        ({"scores": None}, "scores: null is not settings by name"),
        ({"training__epochs": "few"}, "training.epochs: 'few' is not a number; give a number"),
        ({"baseline__epochs": True}, "baseline.epochs: true is not a number"),
        ({"corpus__sources": [{"builtin": "x"}]}, "corpus.sources.0.builtin: 'x' is not a whole"),
        ({"curvature__kind": "full"}, "curvature.kind: 'full' is not known; give one of identity"),
        (
            {"baseline__epochs": -1},
            "baseline.epochs: -1.0 is not in (0, 1000000000]; give",
        ),
        (
            {"training__objective__weight": -1},
            "training.objective.weight: -1.0 is not in",
        ),
        (
            {"evaluation__toxic__limit": 0},
            "evaluation.toxic.limit: 0 is not in",
        ),
        ({"evaluation__more": {"x": {}}}, "evaluation.more.x: a set of prompts or texts has none"),
        (
            {"corpus__sources": [{"builtin": 0}]},
            "corpus.sources.0.builtin: 0 is not in",
        ),
        ({"corpus__sources": []}, "corpus.sources: there is none; list at least one source"),
        ({"selection__quantile": 2}, "selection.quantile: 2.0 is not in (0, 1); give e.g. 0.99"),
        ({"seed": -1}, "seed: -1 is not in [0, 4294967295]; give e.g. 0"),
        ({"model__path": "x"}, "model: set one of path (a checkpoint or hub name) and scratch"),
        ({"model__scratch": {"hidden_size": 8}}, "model.scratch: model_type is missing; name a"),
        ({"scores__weights": "initial"}, "scores.weights: initial ones are random"),
        (
            {"model": {"gguf": "x"}, "baseline": None, "scores__weights": "initial"},
            "scores.weights: 'initial' would be ignored, since there is no baseline",
        ),
        ({"baseline": None}, "baseline: it is null, but model.scratch has random weights"),
        ({"baseline__start": "baseline"}, "baseline.start: the baseline cannot start from itself"),
    ],
)
def test_settings_that_cannot_be_used(changes, said, refused, tmp_path):
    config = write_settings(tmp_path, **changes)
    line = refused("run", config, "--out", tmp_path / "run")
    assert line.startswith(f"{config}: {said}")
    assert not (tmp_path / "run").exists()


def test_a_section_that_is_missing(refused, tmp_path):
    without = {name: part for name, part in settings().items() if name != "queries"}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(without))
    assert refused("run", file, "--out", tmp_path / "run") == (
        f"{file}: queries: it is missing; add it"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bogus.x", "1"], "bogus: there is no such setting"),
        (["--selection.budget=2"], "selection.budget: 2.0 is not in (0, 1]; give e.g. 0.02"),
        (["--selection.budget", "lots"], "selection.budget: 'lots' is not a number"),
        (["--model.path", "x"], "model: set one of path (a checkpoint or hub name) and scratch"),
        (["--selection.budget"], "'--selection.budget' is no option with a value; see --help"),
        (["more.yaml"], "'more.yaml' is no option with a value; see --help"),
    ],
)
def test_overrides_that_cannot_be_used(options, said, refused, tmp_path):
    line = refused("run", write_settings(tmp_path), "--out", tmp_path / "run", *options)
    assert line.startswith(f"command line: {said}")
