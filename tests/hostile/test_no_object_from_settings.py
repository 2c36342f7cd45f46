"""Settings are data for every command: nothing that stands in them is imported, made or run.

A process of its own gives hostile settings to every command under an audit hook.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from micro import settings

from ifguide.commands.main import COMMANDS

CALL = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "made"]}}
HOSTILE = [
    CALL,
    {"class_path": "tabnanny.NannyNag", "init_args": {"lineno": 1, "msg": "", "line": ""}},
    {"_target_": "os.system", "_args_": ["touch made"]},
    {"py/object": "tabnanny.NannyNag", "__class__": "tabnanny.NannyNag"},
    {"auto_map": {"AutoConfig": "tabnanny.NannyNag", "AutoModelForCausalLM": "made--x.Model"}},
    "tabnanny:check",
    "!!python/object/apply:os.system ['touch made']",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% import 'os' as os %}{{ os.system('touch made') }}",
    "${oc.env:HOME}",
    "$(touch made)",
]
TAGGED = [
    "!!python/object/apply:os.system ['touch made']",
    "!!python/object/new:tabnanny.NannyNag [1, '', '']",
    "!!python/module:tabnanny ''",
    "!include /etc/passwd",
]
ROPE = "rope_parameters"  # llama's config takes any more keys in it
UNTYPED = [f"model.scratch.{ROPE}.more", f"compare.proxy.scratch.{ROPE}.more"]
TYPED = ["model", "tokenizer", "corpus.sources", "evaluation.judges", "compare.trainings.slow"]
ON_A_RUN = {  # what commands take beside a run's folder
    "status": ["--verify"],
    "inspect": ["--trust-remote-code"],
    "judge": ["--judges", "rule"],
    "attack": ["--kind", "lens"],
    "lm-eval": ["--tasks", "none"],
    "score-corpus": ["--source", "project", "--out", "project"],
    "distil": ["--out", "project"],
    "push": ["--mask", "me/mask", "--dry", "cards"],
}
NO_SETTINGS = {"schema", "init"}
BY_YAML = [c.name for c in COMMANDS if c.name not in {*ON_A_RUN, *NO_SETTINGS, "demo"}]
PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path

from ifguide.commands.main import main

cases, yaml_file, kept = json.loads(Path(sys.argv[1]).read_text())
seen, codes, now, recording = [], {}, [], False
STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")


def watch(event, given):
    module = event == "import" and given[0].partition(".")[0] in ("tabnanny", "made")
    passwd = event == "open" and str(given[0]) == "/etc/passwd"
    if recording and (module or passwd or event.startswith(STARTED)):
        seen.append([now, event, str(given)[:200]])


def told(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--quiet"])
    if code != 0:
        assert (code, err.getvalue().count("\\n"), out.getvalue()) == (2, 1, ""), err.getvalue()
    return code


sys.addaudithook(watch)
for text, arguments in cases:
    if text is not None:
        Path(yaml_file).write_text(text)
        Path(kept).write_text(text)
    now = arguments
    codes.setdefault(arguments[0], []).append(told(arguments))
    recording = recording or arguments[:2] == ["schema", "--quiet"]
print(json.dumps({"seen": seen, "codes": codes}))
"""


def placed(value, *places):
    """The micro settings as YAML with a value in places; ``value`` is YAML itself."""
    given = settings()
    for place in places:
        *groups, last = place.split(".")
        here = given
        for group in groups:
            here = here.setdefault(group, {})
        here[last] = "HERE"
    rope = {"rope_theta": 1e4, "rope_type": "default"}
    for section in (given["model"], given.get("compare", {}).get("proxy", {})):
        if isinstance(section, dict) and ROPE in section.get("scratch", {}):
            own = settings()["model"]["scratch"]
            section["scratch"] = {**own, ROPE: {**rope, **section["scratch"][ROPE]}}
    return json.dumps(given).replace('"HERE"', value)


@pytest.fixture(scope="module")
def watched(finished, tmp_path_factory):
    """What was seen and what every command returned, and the folder it was in."""
    folder = tmp_path_factory.mktemp("watched")
    run = shutil.copytree(finished, folder / "run")
    innocent = yaml.safe_dump(settings())
    (folder / "project").mkdir()
    (folder / "project" / "a.txt").write_text("mine")
    data = placed(json.dumps(HOSTILE), *UNTYPED)

    def every_command(text):
        for name in BY_YAML:
            yield [text, [name, "run.yaml", "--print_config"]]
            yield [text, [name, "run.yaml", "--out", "project"]]
        for name, rest in ON_A_RUN.items():
            yield [text, [name, "run", *rest]]

    def overridden():
        values = [*TAGGED, *(v if isinstance(v, str) else json.dumps(v) for v in HOSTILE)]
        for place in (*UNTYPED[:1], "model.scratch.model_type", "tokenizer", "evaluation.judges"):
            for number, value in enumerate(values):
                name = BY_YAML[number % len(BY_YAML)]
                yield [None, ["demo", "--out", "project", f"--{place}", value]]
                yield [None, [name, "run.yaml", "--print_config", f"--{place}", value]]
        for value in (json.dumps(CALL), TAGGED[0]):
            yield [None, ["attack", "run", "--gcg.initial", value, "--gcg.steps", value]]

    cases = [
        [innocent, ["run", "run.yaml", "--out", "first"]],  # loads what commands themselves need
        *every_command(innocent),
        [None, ["demo", "--out", "project"]],
        [None, ["schema", "--quiet"]],  # from here on it is watched
        *every_command(data),
        [data, ["run", "run.yaml", "--out", "second"]],
        [None, ["compare", "run.yaml", "--out", "second", "--methods", "proxy"]],
        [None, ["export-pair", "run.yaml", "--out", "second"]],
        *([None, [name, "second", *rest]] for name, rest in ON_A_RUN.items()),
        *(case for tag in TAGGED for case in every_command(placed(tag, UNTYPED[0]))),
        *(case for place in TYPED for case in every_command(placed(json.dumps(CALL), place))),
        [innocent, ["schema"]],
        *overridden(),
    ]
    file = folder / "cases.json"
    file.write_text(json.dumps([cases, "run.yaml", str(run / "config.yaml")]))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_every_command_reads_hostile_settings(watched):
    _, found = watched
    assert found["codes"].keys() == {c.name for c in COMMANDS} - {"init"}


def test_nothing_is_imported_started_or_opened(watched):
    _, found = watched
    assert found["seen"] == []


def test_no_file_is_made(watched):
    folder, _ = watched
    assert {file.name for file in folder.iterdir()} == {
        *("cases.json", "run.yaml", "run", "project", "first", "second", "cards")
    }
    assert not list(folder.rglob("made"))


def test_as_data_they_go_through_whole_runs(watched):
    """Else everything might have been refused for another reason, and nothing been tried."""
    folder, found = watched
    assert (folder / "second" / "report.html").is_file()
    kept = (folder / "second" / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(kept)["model"]["scratch"][ROPE]["more"] == HOSTILE
    assert found["codes"]["judge"].count(0) > 1
