"""Settings are data: what stands in them is never imported, made or run.

A process of its own reads hostile settings under an audit hook, which sees every import, every
piece of code that is executed, every process that is started and every file that is opened.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from micro import settings

CALL = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "made"]}}
HOSTILE = [
    CALL,
    {"class_path": "tabnanny.NannyNag", "init_args": {"lineno": 1, "msg": "", "line": ""}},
    {"_target_": "os.system", "_args_": ["touch made"]},
    {"__class__": "tabnanny.NannyNag", "py/object": "tabnanny.NannyNag"},
    {"$ref": "file:///etc/passwd", "<<": "x"},
    {"auto_map": {"AutoConfig": "tabnanny.NannyNag", "AutoModelForCausalLM": "made--x.Model"}},
    "tabnanny.NannyNag",
    "tabnanny:check",
    "module:tabnanny",
    "!!python/object/apply:os.system ['touch made']",
    "!!python/name:tabnanny.check",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{% import 'os' as os %}{{ os.system('touch made') }}",
    "${oc.env:HOME}",
    "$(touch made)",
    "`touch made`",
    "__import__('os').system('touch made')",
    "lambda: __import__('tabnanny')",
]
TAGGED = [
    "!!python/object/apply:os.system ['touch made']",
    "!!python/object/new:tabnanny.NannyNag [1, '', '']",
    "!!python/object:tabnanny.NannyNag {}",
    "!!python/module:tabnanny",
    "!!python/name:tabnanny.check",
    "!include /etc/passwd",
    "!tabnanny.NannyNag {}",
    "!!binary aGVsbG8=",
]
PLACES = [  # everywhere that takes anything, and where a text or a group belongs
    ["model", "scratch", "extra"],
    ["model", "scratch", "rope_scaling"],
    ["model", "scratch", "model_type"],
    ["compare", "proxy", "scratch"],
    ["compare", "proxy", "scratch", "extra"],
    ["compare", "trainings", "slow"],
    ["compare", "labeller"],
    ["evaluation", "judges"],
    ["evaluation", "more", "odd"],
    ["evaluation", "perplexity", "odd"],
    ["evaluation", "toxic", "named"],
    ["corpus", "sources"],
    ["queries", "source"],
    ["tokenizer"],
    ["model"],
    ["training", "objective"],
    ["scores", "engine"],
    ["report", "title"],
]
PROGRAM = """
import json, sys
from pathlib import Path

from ifguide.attacks.config import AttackConfig
from ifguide.errors import InputError
from ifguide.settings.config import Config
from ifguide.settings.reader import read_config, read_run_config, to_yaml, with_overrides
from ifguide.settings.schema import schema

texts, options, innocent = json.loads(Path(sys.argv[1]).read_text())
seen = []
WATCHED = ("import", "exec", "compile", "subprocess.Popen", "os.", "pty.", "socket.", "ctypes.")


def watch(event, given):
    if recording and event.startswith(WATCHED) and event not in ("os.listdir", "os.scandir"):
        seen.append((event, str(given)[:200]))
    read = Path(str(given[0])) if event == "open" else file
    installed = read.name == "entry_points.txt" or read.suffix == ".zip"  # names of engines
    if recording and not installed and read not in (file, folder / "config.yaml"):
        seen.append((event, str(given)[:200]))


def tried(read, *arguments):
    try:
        found = read(*arguments)
        return to_yaml(found) if isinstance(found, Config) else found
    except InputError as error:
        assert "\\n" not in str(error), str(error)


recording, file, folder = False, Path("run.yaml"), Path("run")
folder.mkdir()
sys.addaudithook(watch)
schema()  # evaluates the types of all settings
results = []
for number, (text, overrides) in enumerate([(innocent, ["--seed", "1"]), *texts]):
    file.write_text(text)
    (folder / "config.yaml").write_text(text)
    recording = number > 0  # what the reader itself needs has been loaded by then
    results.append(tried(read_config, file, overrides))
    tried(read_run_config, folder)
    if number == 0:
        tried(read_config, Path("run.yaml"), ["--seed", "x"])
    recording = False
assert results[0] is not None
tried(with_overrides, AttackConfig(), ["--gcg.initial", "9", "--gcg.steps", "x"])
recording = True
for option in options:
    tried(with_overrides, AttackConfig(), option)
recording = False
print(json.dumps({"seen": seen, "read": sum(found is not None for found in results)}))
"""


def placed(place, value):
    given = settings()
    *groups, last = place
    here = given
    for group in groups:
        if not isinstance(here.get(group), dict):
            here[group] = {}
        here = here[group]
    here[last] = value
    return given


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    wrapped = [lambda v: v, lambda v: [v], lambda v: {"deeper": [{"and": v}]}]
    texts = [
        (json.dumps(placed(place, wrap(value))), [])
        for place in PLACES
        for value in HOSTILE
        for wrap in wrapped
    ]
    for place in PLACES:
        for value in TAGGED:
            text = json.dumps(placed(place, "HERE")).replace('"HERE"', value)
            texts.append((text, []))
    innocent = json.dumps(settings())
    for place in PLACES:
        name = f"--{'.'.join(place)}"
        values = [*TAGGED, *(v if isinstance(v, str) else json.dumps(v) for v in HOSTILE)]
        texts += [(innocent, [name, value]) for value in values]
        texts += [(innocent, [f"{name}.class_path=tabnanny.NannyNag"])]
    options = [[f"--gcg.{name}", json.dumps(CALL)] for name in ("initial", "steps", "class_path")]
    file = folder / "cases.json"
    file.write_text(json.dumps([texts, options, innocent]))
    command = [sys.executable, "-c", PROGRAM, str(file)]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=where)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), len(texts)


def test_nothing_is_imported_executed_started_or_opened(watched):
    _, found, _ = watched
    assert found["seen"] == []


def test_no_file_is_made(watched):
    folder, _, _ = watched
    names = {file.name for file in folder.rglob("*")}
    assert names == {"cases.json", "run.yaml", "run", "config.yaml"}


def test_many_of_them_are_read_as_data(watched):
    """Else everything might have been refused for another reason, and nothing been tried."""
    _, found, texts = watched
    assert 100 < found["read"] < texts
