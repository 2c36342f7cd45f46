"""Files of a run folder that are damaged, and what a command makes of them."""

import contextlib
import json
import random
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ifguide.commands.main import main
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
    "attack": ("OUT", "--kind", "lens", "--lens.queries", "3"),
    "judge": ("OUT", "--judges", "rule"),
    "inspect": ("OUT",),
    "status": ("OUT",),
}
LOOKING = ("judge", "inspect", "status")  # they change nothing
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
    ):
        try:
            code = main(typed(command, config, out))
        except Exception as error:  # noqa: BLE001 - whatever is raised is a fault
            code = f"{type(error).__name__}: {error}"
        texts = [stream.seek(0) or stream.read() for stream in (printed, complaint)]
    return Outcome(code, *texts, held(out))


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
    for command in commands:
        whole = outcome(command, config, shutil.copytree(start, folder / "run"))
        assert whole.code == 0, whole
        shutil.rmtree(folder / "run")
        for name in held(start) if names is None else names:
            for way in ways:
                draws = random.Random(f"{seed} {name} {way} {command}")
                out = Path(shutil.copytree(start, folder / "run"))
                damage(out / name, way, draws)
                before = held(out)
                found = outcome(command, config, out)
                yield command, name, way, verdict(command, name, before, whole, found)
                shutil.rmtree(out)
