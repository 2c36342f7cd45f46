"""Files of a run folder that are damaged, and what a command makes of them."""

import contextlib
import json
import math
import random
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import torch
from micro import SETTINGS, write_settings
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ifguide.commands.main import main
from ifguide.corpus.builtin import builtin_posts
from ifguide.corpus.tokenizers import train_tokenizer
from ifguide.settings.reader import RUN_MARK

NOTICED, AGAIN, NOTHING, FAULT = "noticed", "made again", "without effect", "fault"
ENDS = (NOTICED, AGAIN, NOTHING, FAULT)
WAYS = ("bit", "cut", "gone")
METHODS = ("--methods", "baseline,ours")
COMMANDS = {  # what is typed after the command's name; OUT and CONFIG stand for the paths
    "run": ("CONFIG", "--out", "OUT"),
    "evaluate": ("CONFIG", "--out", "OUT"),
    "select": ("CONFIG", "--out", "OUT"),
    "compare": ("CONFIG", "--out", "OUT", *METHODS),
    "export-pair": ("CONFIG", "--out", "OUT"),
    "sweep": ("CONFIG", "--out", "OUT", "--budget", "0.02"),
    "attack": ("OUT", "--kind", "lens", "--lens.queries", "3"),
    "judge": ("OUT", "--judges", "rule"),
    "lm-eval": ("OUT", "--tasks", "weights"),
    "inspect": ("OUT",),
    "status": ("OUT",),
}
BUILDING = ("run", "compare", "export-pair", "attack")  # leave all that any command reads
LOOKING = ("judge", "lm-eval", "inspect", "status")  # they change nothing
STANDS = re.compile(r"^(\S+) +stands ", re.MULTILINE)
SPENT = re.compile(r" +\d[\d.,]* (s|min|GiB)\b| +[\d,]+(?= +\d+\.\d\d$)")


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


def typed(command, config, out):
    """What is typed for a command over a run folder."""
    paths = {"CONFIG": str(config), "OUT": str(out)}
    return [command, *(paths.get(word, word) for word in COMMANDS[command]), "--quiet"]


def outcome(command, config, out):
    """Run a command in this process."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        tempfile.TemporaryFile("w+", encoding="utf-8") as complaint,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(complaint),
        _lm_eval_standing_in(),
    ):
        try:
            code = main(typed(command, config, out))
        except Exception as error:  # noqa: BLE001 - whatever is raised is a fault
            code = f"{type(error).__name__}: {error}"
        texts = [stream.seek(0) or stream.read() for stream in (printed, complaint)]
    return Outcome(code, *texts, held(out))


def _weighed(model_args, **_):
    """Stands for lm-eval: its figures are made of the weights and the vocabulary alone."""
    folder = model_args["pretrained"]
    weights = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    words = AutoTokenizer.from_pretrained(folder).get_vocab()
    figures = {
        "alias": "weights",
        "sum,none": sum(float(w.double().sum()) for w in weights.values() if w.is_floating_point()),
        "words,none": sum(len(word) * number for word, number in words.items()),
    }
    nothing = {"versions": {}, "n-shot": {}, "n-samples": {}}
    return {"results": {"weights": figures}, **nothing}


LM_EVAL = SimpleNamespace(
    simple_evaluate=_weighed,
    tasks=SimpleNamespace(TaskManager=lambda **_: SimpleNamespace(match_tasks=list)),
)


@contextlib.contextmanager
def _lm_eval_standing_in():
    stand_ins = {"lm_eval": LM_EVAL, "lm_eval.tasks": LM_EVAL.tasks}
    before = {name: sys.modules.pop(name) for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
        sys.modules.update(before)


def held(out):
    """The bytes of every file in a run folder by its name there."""
    files = (file for file in sorted(out.rglob("*")) if file.is_file())
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def verdict(command, name, before, whole, found):
    """Return one of ``ENDS``, and for a fault why.

    Args:
        command: its name.
        name: of the damaged file in the run folder.
        before: the files of the damaged folder, by name.
        whole: the outcome of the same command over the undamaged folder.
        found: the outcome over the damaged one.
    """
    if found.code == 2 and whole.code == 0:
        if not re.fullmatch(r"ifguide: error: [^\n]{1,1000}\n", found.complaint):
            return FAULT, f"not one line: {found.complaint[:200]!r}"
        return (NOTICED, "") if not found.printed else (FAULT, "printed something before")
    if found.code != whole.code:
        return FAULT, str(found.code)[:200] + found.complaint[:200]
    if command == "status" and STANDS.findall(found.printed) != STANDS.findall(whole.printed):
        return NOTICED, ""
    if command in LOOKING:
        same = found.printed == whole.printed
        unsaid = command == "status" and not _is_same(name, before, whole.files) and _decides(name)
        return (NOTHING, "") if same and not unsaid else (FAULT, "shown without a word")
    if shown(found.printed) != shown(whole.printed):
        return FAULT, "shows something else"
    other = [
        n
        for n in whole.files
        if not n.startswith(".") and not _is_same(n, found.files, whole.files)
    ]
    other = [n for n in other if _decides(n)]
    if set(other) - {name}:
        return FAULT, f"{other[0]} is another"
    if other:
        return (FAULT, "stays damaged") if command == "run" else (NOTHING, "")
    more = [n for n in found.files if n not in whole.files and n not in before]
    if more:
        return FAULT, f"{more[0]} is left"
    return (NOTHING if found.files.get(name) == before.get(name) else AGAIN), ""


def shown(printed):
    """What a command has printed, without what it has cost."""
    return SPENT.sub("", printed.partition("\nCost\n")[0])


def _decides(name):
    """Whether a file is the same wherever runs are: it says nothing of times."""
    told = ("report", ".", "compare/", "attacks/", RUN_MARK)
    return not name.startswith(told) and "state.json" not in name


def _is_same(name, files, others):
    """Whether a file is equal in two folders, a manifest but for when and at what cost."""
    if name in files and name.endswith("manifest.json"):
        try:
            return _without_cost(files[name]) == _without_cost(others[name])
        except ValueError:
            return False
    return files.get(name) == others.get(name)


def _without_cost(text):
    found = json.loads(text)
    return {k: v for k, v in found.items() if k not in ("cost", "date", "files", "seal")}


def built(config, out, commands=BUILDING):
    """Make a run folder that holds what every command reads, and return it."""
    for command in commands:
        found = outcome(command, config, out)
        assert found.code == 0, found
    return out


def drawn(start, commands, ways=WAYS, share=1.0, seed=0):
    """Draw a share of all triples of a command, a file of a run folder and a way of damage."""
    every = [(c, name, way) for c in commands for name in held(start) for way in ways]
    count = math.ceil(share * len(every))
    return sorted(random.Random(seed).sample(every, count)) if count < len(every) else every


def tried(config, start, folder, commands, *, names=None, ways=WAYS, seed=0):
    """Yield command, file, way and verdict for each damage to a run folder.

    Args:
        config: the settings of the run.
        start: the folder, which is left as it is.
        folder: where damaged copies of it may lie.
        commands: by name.
        names: which files, in ``start``; all of them by default.
        ways: of damage.
        seed: where and which bits.
    """
    wanted = [
        (command, name, way)
        for command in commands
        for name in (held(start) if names is None else names)
        for way in ways
    ]
    yield from tried_of(config, start, folder, wanted, seed=seed)


def tried_of(config, start, folder, wanted, *, seed=0):
    """Yield command, file, way and verdict of each triple that is ``wanted``, by command."""
    for command, triples in groupby(wanted, key=lambda triple: triple[0]):
        whole = outcome(command, config, shutil.copytree(start, folder / "run"))
        assert whole.code == 0, whole
        shutil.rmtree(folder / "run")
        for _, name, way in triples:
            draws = random.Random(f"{seed} {name} {way} {command}")
            out = Path(shutil.copytree(start, folder / "run"))
            damage(out / name, way, draws)
            before = held(out)
            found = outcome(command, config, out)
            yield command, name, way, verdict(command, name, before, whole, found)
            shutil.rmtree(out)


def outside_settings(folder):
    """Write settings whose texts, judge, model and tokenizer are files; return it and the files."""
    for name, count, seed in (("posts", 120, 0), ("marked", 60, 1)):
        posts = [{"id": p.id, "text": p.text, "spans": p.spans} for p in builtin_posts(count, seed)]
        lines = "".join(json.dumps(post) + "\n" for post in posts)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "words.txt").write_text("the\nidiot\n", encoding="utf-8")
    texts = [post.text for post in builtin_posts(120)]
    tokenizer = train_tokenizer(texts, 400)
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(0)
    scratch = SETTINGS["model"]["scratch"]
    shape = {name: value for name, value in scratch.items() if name != "model_type"}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    network.save_pretrained(folder / "model")
    judged = {**SETTINGS["evaluation"], "judges": ["words:words.txt"]}
    config = write_settings(
        folder,
        data_dir=str(folder),
        corpus__sources=[
            {"path": "posts.jsonl", "name": "posts", "spans": "spans", "held_out": 0.3}
        ],
        queries__source={"path": "marked.jsonl", "spans": "spans"},
        model={"path": str(folder / "model")},
        tokenizer={"path": str(folder / "model")},
        evaluation=judged,
    )
    kinds = ("*.jsonl", "words.txt", "model/*.json", "model/*.safetensors")
    return config, [file for kind in kinds for file in sorted(folder.glob(kind))]


def changed_outside(config, start, folder, file, way, seed=0):
    """Damage a file that lies outside of a run; return how a run over it ends.

    It is noticed, or the run comes to what a fresh run on the damaged file comes to.
    """
    kept = file.read_bytes()
    try:
        damage(file, way, random.Random(f"{seed} {file.name} {way}"))
        fresh = outcome("run", config, folder / "fresh")
        again = outcome("run", config, Path(shutil.copytree(start, folder / "run")))
        if again.code == 2 and re.fullmatch(r"ifguide: error: [^\n]{1,1000}\n", again.complaint):
            return (NOTICED, "") if fresh.code == 2 else (FAULT, "a fresh run takes it")
        if (again.code, fresh.code) != (0, 0):
            return FAULT, f"{again.code} {again.complaint[:200]}; fresh: {fresh.code}"
        other = [
            name
            for name in fresh.files
            if _decides(name) and not _is_same(name, again.files, fresh.files)
        ]
        if other:
            return FAULT, f"{other[0]} is another than a fresh run's"
        return (NOTHING if again.files == held(start) else AGAIN), ""
    finally:
        file.write_bytes(kept)
        for name in ("run", "fresh"):
            shutil.rmtree(folder / name, ignore_errors=True)
