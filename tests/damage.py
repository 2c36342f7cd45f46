"""Files that a command reads are damaged, one at a time; what does the command make of it?

A ``tree`` is a folder that holds ``run.yaml``, ``run`` (a run folder, finished or half made),
``given`` (what lies outside and is read: texts, a judge's words, a checkpoint, a tokenizer) and
``posts.jsonl`` (new texts); ``new`` is what some commands write.
"""

import contextlib
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from ifguide.commands.main import main
from ifguide.run.table import STAGES
from ifguide.settings.reader import RUN_MARK

NOTICED, AGAIN, NOTHING, FAULT = "noticed", "made again", "without effect", "fault"
ENDS = (NOTICED, AGAIN, NOTHING, FAULT)
WAYS = ("bit", "cut", "gone")
METHODS = ("--methods", "baseline,ours,classifier-tokens,rad")
ATTACK = (
    *("--gcg.pairs", "1", "--gcg.steps", "2", "--gcg.candidates", "4"),
    *("--gcg.suffix_tokens", "3", "--gcg.target_tokens", "2"),
    *("--relearn.posts", "[0, 4]", "--relearn.epochs", "1", "--lens.queries", "3"),
)
HERE = ("CONFIG", "--out", "OUT")
COMMANDS = {  # what is typed after the command's name; a word in capitals stands for a path
    "run": HERE,
    **dict.fromkeys(STAGES.names(), HERE),
    "compare": (*HERE, *METHODS),
    "sweep": (*HERE, "--budget", "0.1"),
    "export-pair": HERE,
    "attack": ("OUT", *ATTACK),
    "judge": ("OUT", "--judges", "rule"),
    "inspect": ("OUT",),
    "lm-eval": ("OUT", "--tasks", "made"),
    "status": ("OUT",),
    "export-mask": ("OUT", "--to", "spans", "--out", "NEW"),
    "score-corpus": ("OUT", "--source", "POSTS", "--out", "NEW"),
    "push": ("OUT", "--mask", "me/mask", "--model", "me/model", "--dry", "NEW"),
}
MODELS = ("baseline", "suppressed")
LOOKING = ("judge", "inspect", "lm-eval", "status")  # they change nothing
RUN_S = (  # where the stages of a run by itself lie; it makes no other good
    *(f"run/{stage}/" for stage in STAGES.names()),
    *(f"run/{of}/{name}/" for of in ("sample", "judge", "fluency") for name in MODELS),
)
PAGES = {"run": "report.", "compare": "compare/", "sweep": "sweep/", "attack": "attacks/"}
STANDS = re.compile(r"^(\S+) +stands ", re.MULTILINE)
SPENT = re.compile(  # the passes of a comparison's row among them
    r" +\d[\d.,]* (s|min|GiB)\b| +[\d,]+(?= +\d+\.\d\d$)|'seconds': [\d.]+"
    r"| +\d+\.\d(?= +\d+ +\d[\d.,]* (s|min)\b)"
)
CHANGED = re.compile(r"made again: .*: the file .*(changed|is gone|is new)|made again: it rests on")
ONE_LINE = re.compile(r"ifguide: error: [^\n]{1,1000}\n")


@dataclass(frozen=True)
class Outcome:
    """How a command has ended, and what it has left; ``code`` is an exception's text if any."""

    code: int | str
    printed: str
    complaint: str
    files: dict[str, bytes] = field(repr=False)


def damage(file, way, draws):
    """Flip one bit of a file, cut it short, or delete it."""
    if way == "gone" or not file.stat().st_size:
        file.unlink()
        return
    held = bytearray(file.read_bytes())
    place = draws.randrange(len(held))
    if way == "bit":
        held[place] ^= 1 << draws.randrange(8)
    file.write_bytes(held if way == "bit" else held[:place])


def typed(command, tree):
    """What is typed for a command over a tree."""
    paths = {"CONFIG": "run.yaml", "OUT": "run", "NEW": "new", "POSTS": "posts.jsonl"}
    words = (str(tree / paths[word]) if word in paths else word for word in COMMANDS[command])
    return [command, *words]


def outcome(command, tree, *options):
    """Run a command in this process."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        tempfile.TemporaryFile("w+", encoding="utf-8") as complaint,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(complaint),
        logging_anew(),
        lm_eval_that_loads(),
    ):
        try:
            code = main([*typed(command, tree), *options])
        except Exception as error:  # noqa: BLE001 - whatever is raised is a fault
            code = f"{type(error).__name__}: {error}"
        texts = [stream.seek(0) or stream.read() for stream in (printed, complaint)]
    return Outcome(code, *texts, held(tree))


@contextlib.contextmanager
def logging_anew():
    """Let a command send its warnings where it would in a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def lm_eval_that_loads():
    """Stand in for lm-eval: load the model and the tokenizer, and give the loss of one text."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def simple_evaluate(model_args, **_):
        model = AutoModelForCausalLM.from_pretrained(model_args["pretrained"])
        ids = AutoTokenizer.from_pretrained(model_args["pretrained"])(
            "the fox saw the dog", return_tensors="pt"
        ).input_ids
        figures = {"loss,none": model(ids, labels=ids).loss.item()}
        return {
            "results": {"made": figures},
            "versions": {"made": 1},
            "n-shot": {"made": 0},
            "n-samples": {"made": {"original": 1, "effective": 1}},
        }

    tasks = SimpleNamespace(
        TaskManager=lambda include_path=None: SimpleNamespace(match_tasks=lambda names: names)
    )
    put = {
        "lm_eval": SimpleNamespace(simple_evaluate=simple_evaluate, tasks=tasks),
        "lm_eval.tasks": tasks,
    }
    before = {name: sys.modules.get(name) for name in put}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def kill(command, tree, stage):
    """Kill a command while a stage is half made: with something kept, or before its name."""
    words = [*typed(command, tree), "--quiet"]
    code = "import sys, kills, pathlib; *words, out, stage = sys.argv[1:]; "
    code += "kills.killed_command(words, pathlib.Path(out), stage)"
    arguments = [sys.executable, "-c", code, *words, str(tree / "run"), stage]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    process = subprocess.run(
        arguments, check=False, capture_output=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.returncode == -signal.SIGKILL, (command, stage, process)
    assert (tree / "run" / f"{stage}.part").is_dir()


def held(tree):
    """The bytes of every file in a tree by its name there."""
    files = (file for file in sorted(tree.rglob("*")) if file.is_file())
    return {file.relative_to(tree).as_posix(): file.read_bytes() for file in files}


def verdict(command, name, before, whole, found):
    """Return one of ``ENDS``, and for a fault why.

    Args:
        command: its name.
        name: of the damaged file in the tree.
        before: the files of the damaged tree, by name.
        whole: the outcome of the same command over the undamaged tree.
        found: the outcome over the damaged one.
    """
    if found.code == 2:
        if not ONE_LINE.fullmatch(last_line(found.complaint)):
            return FAULT, f"not one line: {found.complaint[:200]!r}"
        return (NOTICED, "") if not found.printed else (FAULT, "printed something before")
    if found.code != 0:
        return FAULT, str(found.code)[:200] + found.complaint[-200:]
    if command in LOOKING:
        return _looked(command, name, before, whole, found)
    if name.startswith("given/"):
        return _changed_input(whole, found)
    if shown(found.printed) != shown(whole.printed):
        return FAULT, "shows something else"
    other = [n for n in whole.files if _decides(n) and not _is_same(n, found.files, whole.files)]
    if set(other) - {name}:
        return FAULT, f"{other[0]} is another"
    more = sorted(found.files.keys() - whole.files.keys())
    if more:
        return FAULT, f"{more[0]} is left"
    stays = found.files.get(name) == before.get(name)
    page = f"run/{PAGES.get(command, '-')}"
    if stays and name.startswith(page) and name in whole.files:
        return FAULT, "a page stays damaged"
    if other:
        read = command == "run" and any(map(name.startswith, RUN_S))
        return (FAULT, "stays damaged") if read else (NOTHING, "")
    return (NOTHING if stays else AGAIN), ""


def _looked(command, name, before, whole, found):
    """What a command has made of damage that changes nothing itself."""
    if found.files != before:
        return FAULT, "something was written"
    if command == "status":
        if STANDS.findall(found.printed) != STANDS.findall(whole.printed):
            return NOTICED, ""
        listed = name.removeprefix("run/").rpartition("/")[0]
        stands = {f"run/{stage}/" for stage in STANDS.findall(whole.printed)}
        if listed and any(name.startswith(stage) for stage in stands) and _decides(name):
            return FAULT, "stands without a word"
    same = found.printed == whole.printed
    return (NOTHING, "") if same else (FAULT, "shown without a word")


def _changed_input(whole, found):
    """What a command has made of something outside that is another now."""
    same = all(_is_same(n, found.files, whole.files) for n in whole.files if _decides(n))
    if CHANGED.search(found.complaint):
        return NOTICED, ""
    if not same or shown(found.printed) != shown(whole.printed):
        return FAULT, "made of another input without a word"
    return NOTHING, ""


def last_line(complaint):
    """The last line of what went to the error stream; progress and warnings come before it."""
    lines = complaint.replace("\r", "\n").splitlines(keepends=True)
    return lines[-1] if lines else ""


def shown(printed):
    """What a command has printed, without what it has cost and how wide that makes a table."""
    return re.sub(r"-{9,}| {2,}", " ", SPENT.sub("", printed.partition("\nCost\n")[0]))


def _decides(name):
    """Whether a file of a run folder is the same wherever runs are: it says nothing of times."""
    name = name.removeprefix("run/").removeprefix("new/")
    told = ("report", ".", "compare/", "sweep/", "attacks/", "attack/", "given/", RUN_MARK)
    return not name.startswith(told) and "state.json" not in name


def _is_same(name, files, others):
    """Whether a file is equal in two trees, a manifest but for when and at what cost."""
    if name in files and name in others and name.endswith("manifest.json"):
        try:
            return _without_cost(files[name]) == _without_cost(others[name])
        except ValueError:
            return False
    return files.get(name) == others.get(name)


def _without_cost(text):
    found = json.loads(text)
    return {k: v for k, v in found.items() if k not in ("cost", "date", "files", "seal")}


def drawn(names, ways, seed, limit=None):
    """Return pairs of a file and a way; with a limit so many, files before further ways."""
    draws = random.Random(str(seed))
    orders = {name: draws.sample(ways, len(ways)) for name in names}
    pairs = []
    for number in range(len(ways)):
        turn = [(name, orders[name][number]) for name in names]
        draws.shuffle(turn)
        pairs += turn
    return pairs[:limit]


def tried(start, place, command, pairs, seed=0):
    """Yield file, way and verdict for each damage to a copy of a tree.

    Args:
        start: the tree, which is left as it is.
        place: where copies of it lie, one after the other: where the tree was made.
        command: by name.
        pairs: of a file in the tree and a way.
        seed: where and which bits.
    """

    def fresh():
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(start, place, symlinks=True))

    whole = outcome(command, fresh())
    assert whole.code == 0, (command, whole.code, whole.complaint)
    for name, way in pairs:
        tree = fresh()
        damage(tree / name, way, random.Random(f"{seed} {name} {way} {command}"))
        before = held(tree)
        yield name, way, verdict(command, name, before, whole, outcome(command, tree))
    shutil.rmtree(place)
