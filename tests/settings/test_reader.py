"""The reader: overrides, faults by place, trust, and whatever trees people and machines write."""

import json
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from micro import settings, write_settings

from ifguide.attacks.config import AttackConfig
from ifguide.errors import InputError
from ifguide.settings.config import Config
from ifguide.settings.reader import (
    RUN_MARK,
    checked,
    read_config,
    read_run_config,
    to_yaml,
    with_overrides,
)
from ifguide.settings.schema import schema

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = [*sorted((REPOSITORY / "examples").glob("*.yaml")), REPOSITORY / "ifguide" / "demo.yaml"]


@pytest.fixture
def config(tmp_path):
    return write_settings(tmp_path)


def said(file, *options):
    with pytest.raises(InputError) as refused:
        read_config(file, list(options))
    return str(refused.value)


# overrides


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--corpus.sources.0.limit", "5"], lambda c: c.corpus.sources[0].limit == 5),
        (["--corpus.sources.0.limit=5"], lambda c: c.corpus.sources[0].limit == 5),
        (["--report.title", "2026"], lambda c: c.report.title == "2026"),
        (["--report.title", "a: b # c"], lambda c: c.report.title == "a: b # c"),
        (["--report.title", "[x"], lambda c: c.report.title == "[x"),
        (["--report.title", "'2 = 2'"], lambda c: c.report.title == "2 = 2"),
        (["--report.title", "null"], lambda c: c.report.title == "null"),
        (["--report.title="], lambda c: c.report.title == ""),
        (["--report.title=--x=y"], lambda c: c.report.title == "--x=y"),
        (["--data_dir", "1e3"], lambda c: c.data_dir == "1e3"),
        (["--evaluation.toxic.kind", "null"], lambda c: c.evaluation.toxic.kind is None),
        (["--evaluation.toxic.kind", "no"], lambda c: c.evaluation.toxic.kind == "no"),
        (["--compare.thresholds", "[0.5, 1]"], lambda c: c.compare.thresholds == (0.5, 1.0)),
        (["--compare.thresholds", "[]"], lambda c: c.compare.thresholds == ()),
        (
            ["--corpus.sources.0.at_least.prompt.toxicity", "0.5"],
            lambda c: c.corpus.sources[0].at_least == {"prompt.toxicity": 0.5},
        ),
        (
            ["--model.scratch.rope_scaling.factor", "2.5"],
            lambda c: c.model.scratch["rope_scaling"] == {"factor": 2.5},
        ),
        (
            ["--training.guard.text", "benign", "--training.guard.bound", "1.5"],
            lambda c: c.training.guard.bound == 1.5,
        ),
    ],
)
def test_an_override_is_read_for_its_setting(options, value, config):
    assert value(read_config(config, options))


def test_an_override_of_one_alias_leaves_the_others(tmp_path):
    file = write_settings(tmp_path)
    text = file.read_text().replace("baseline:", "baseline: &same", 1)
    before, _, _ = text.partition("training:")
    plain = yaml.safe_load(file.read_text())
    rest = {k: v for k, v in plain.items() if k not in yaml.safe_load(before)}
    rest.pop("training")
    file.write_text(f"{before}training: *same\n{yaml.safe_dump(rest)}")
    found = read_config(file, ["--training.epochs", "9"])
    assert (found.training.epochs, found.baseline.epochs) == (9.0, 0.15)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--corpus.sources.0.limt", "5"],
            "corpus.sources.0.limt: there is no such setting; did y",
        ),
        (["--corpus.sources.7.limit", "5"], "corpus.sources.7.limit: '7' is no element of that l"),
        (["--corpus.sources.x", "5"], "corpus.sources.x: 'x' is no element of that list; it has 1"),
        (["--corpus.sources.-1", "5"], "corpus.sources.-1: '-1' is no element of that list"),
        (["--seed.x", "5"], "seed.x: there is no such setting; nothing lies above 'x'"),
        (["--seed", "nan"], "seed: 'nan' is not a whole number"),
        (["--seed", ".nan"], "seed: nan is not a whole number"),
        (["--seed", "1e400"], "seed: inf is not a whole number"),
        (["--seed", "9" * 500], "seed: '999"),
        (["--training.epochs", "9" * 399], "training.epochs: inf is not in (0, 1000000000]"),
        (["--selection.budget", ".nan"], "selection.budget: nan is not in (0, 1]"),
        (["--selection.budget", "--seed", "1"], "'--selection.budget' is no option with a value"),
        (["--report.title", "\udcff"], "report.title: the value is not UTF-8"),
        (["--model.scratch." + "a." * 200 + "a", "1"], "model.scratch.a.a"),
        (["--model.scratch.x", "[" * 99 + "]" * 99], "model.scratch.x: nested deeper than 100"),
        (["--\x1b[31m", "1"], r"\x1b[31m: there is no such setting"),
        (["--report.top", "x" * 9000], "report.top: 'xxxxxxxx"),
        (["--report", "3"], "report: 3 is not settings by name; give settings by name"),
        (["--corpus.sources", "{}"], "corpus.sources: settings by name is not a list; give a list"),
    ],
)
def test_an_override_that_does_not_fit_names_the_command_line(options, line, config):
    found = said(config, *options)
    assert found.startswith(f"command line: {line}")
    assert found.isprintable()
    assert len(found) < 1000


def test_a_fault_of_the_file_names_the_file_under_any_override(tmp_path):
    file = write_settings(tmp_path, corpus__sources=[{"builtin": 9, "limt": 1}])
    line = f"{file}: corpus.sources.0.limt: there is no such setting; did you mean limit?"
    assert said(file) == said(file, "--seed", "7") == line
    assert read_config(file, ["--corpus.sources", "[{builtin: 9}]"]).corpus.sources[0].builtin == 9


def test_a_file_that_holds_no_settings_is_at_fault_under_any_override(tmp_path):
    (tmp_path / "x.yaml").write_text("- 1")
    line = f"{tmp_path}/x.yaml: a list is not settings by name; give settings by name"
    assert said(tmp_path / "x.yaml") == said(tmp_path / "x.yaml", "--seed", "7") == line


def test_a_revision_of_a_folder_is_refused(tmp_path):
    file = write_settings(tmp_path, model={"path": str(tmp_path), "revision": "abc"})
    line = f"{file}: model.revision: 'abc' would be ignored, since path is a folder on this machine"
    assert said(file).startswith(line)
    assert said(file, "--seed", "7").startswith(line)
    assert read_config(file, ["--model.path", "owner/name"]).model.revision == "abc"


def test_the_name_of_a_file_is_shown_on_one_line(tmp_path):
    file = tmp_path / "a\nb\x1b[31m.yaml"
    assert (
        said(file) == rf"{tmp_path}/a\nb\x1b[31m.yaml: no such file; give the YAML file of the run"
    )
    file.write_text("seed: x")
    assert said(file).startswith(rf"{tmp_path}/a\nb\x1b[31m.yaml: corpus: it is missing")


def test_overrides_of_other_settings():
    found = with_overrides(AttackConfig(), ["--gcg.initial", "7", "--relearn.posts", "[0, 3]"])
    assert (found.gcg.initial, found.relearn.posts) == ("7", (0, 3))
    with pytest.raises(InputError, match=r"^command line: gcg\.stepps: .*did you mean steps"):
        with_overrides(AttackConfig(), ["--gcg.stepps", "7"])


# whatever trees


def test_what_is_misspelt_is_named_before_what_is_missing(tmp_path):
    plain = settings()
    plain["qeries"] = plain.pop("queries")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(plain))
    assert "qeries: there is no such setting; did you mean queries?" in said(tmp_path / "x.yaml")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(["posts", "rule", "clamped", "marked"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def places(kind, where=()):
    """The dotted places of all settings that have a value of their own in the micro run."""
    for field in fields(kind):
        yield (*where, field.name)
        value = getattr(kind, field.name)
        if is_dataclass(value):
            yield from places(value, (*where, field.name))


PLACES = sorted(set(places(checked(Config, settings()))))


@given(st.sampled_from(PLACES), VALUES)
@hypothesis_settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_value_at_any_place_is_read_back_or_one_line(tmp_path, place, value):
    plain = settings()
    *groups, last = place
    here = plain
    for group in groups:
        here = here.setdefault(group, {})
    here[last] = value
    found, line = None, ""
    try:
        found = checked(Config, plain)
    except InputError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 1000
    if found is not None:
        file = tmp_path / "again.yaml"
        file.write_text(to_yaml(found), encoding="utf-8")
        again = read_config(file)
        assert to_yaml(again) == file.read_text(encoding="utf-8")


# trust


@pytest.fixture
def trusting(tmp_path):
    """Settings that ask for remote code wherever it can be asked for."""
    path = {"path": "owner/name", "trust_remote_code": True}
    changes = {"model": path, "tokenizer": path, "compare": {"proxy": path}}
    (tmp_path / "run").mkdir()
    return write_settings(tmp_path / "run", **changes)


def trusts(config):
    return [c.trust_remote_code for c in (config.model, config.tokenizer, config.compare.proxy)]


def test_a_yaml_that_the_user_gives_may_trust_remote_code(trusting):
    assert trusts(read_config(trusting)) == [True, True, True]


def test_a_run_folder_never_does(trusting):
    kept = trusting.rename(trusting.with_name("config.yaml"))
    assert trusts(read_run_config(kept.parent)) == [False, False, False]
    assert trusts(read_run_config(kept.parent, trust_remote_code=True)) == [True, True, True]
    (kept.parent / RUN_MARK).touch()
    assert trusts(read_config(kept)) == [False, False, False]
    assert trusts(read_config(kept, ["--model.trust_remote_code", "true"])) == [True, False, False]
    link = kept.parent.parent / "link.yaml"
    link.symlink_to(kept)
    assert trusts(read_config(link)) == [False, False, False]


def test_what_a_folder_trusts_is_not_written_into_it(trusting):
    config = read_config(trusting)
    assert "trust_remote_code: true" in to_yaml(config)
    assert "trust_remote_code" not in to_yaml(config, trust=False)


def test_trust_is_for_what_is_loaded_alone(tmp_path):
    kept = write_settings(tmp_path).rename(tmp_path / "config.yaml")
    found = read_run_config(tmp_path, trust_remote_code=True)
    assert found == read_config(kept), "random weights and a trained tokenizer have no code"


def test_a_folder_without_settings_is_refused(tmp_path):
    with pytest.raises(InputError, match=r": it holds no config\.yaml; give the folder of a run"):
        read_run_config(tmp_path)
    (tmp_path / "config.yaml").write_text("sed: 1")
    with pytest.raises(InputError, match=r"^/.*/config\.yaml: sed: there is no such setting"):
        read_run_config(tmp_path)


# the schema


def test_the_schema_is_valid_and_the_examples_fit_it():
    found = schema()
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    validator = jsonschema.Draft202012Validator
    validator.check_schema(found)
    for file in EXAMPLES:
        validator(found).validate(yaml.safe_load(file.read_text()))
        resolved = read_config(file)
        validator(found).validate(yaml.safe_load(to_yaml(resolved)))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["seed"], "x"),
        (["bogus"], 1),
        (["corpus", "sources"], [{"builtin": 9, "limt": 1}]),
        (["curvature", "kind"], "full"),
        (["queries"], {}),
        (["scores"], None),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(place, value):
    plain = settings()
    here = plain
    for group in place[:-1]:
        here = here[group]
    here[place[-1]] = value
    with pytest.raises(InputError):
        checked(Config, plain)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, schema())


def test_every_setting_of_the_schema_is_explained():
    found = schema()
    groups = {**found["$defs"], "Config": found}
    for name, group in groups.items():
        assert group["description"]
        assert "Args:" not in group["description"]
        bare = {key for key, setting in group["properties"].items() if "description" not in setting}
        assert bare <= {"config", "revision", "streaming"}, name


# what is loaded


@pytest.mark.parametrize(
    "module", ["reader", "manual", "schema", "plain", "overrides", "kinds", "starter"]
)
def test_reading_settings_loads_no_torch(module):
    program = (
        f"import sys, ifguide.settings.{module}; "
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert shown.stdout.strip() == "[]"
