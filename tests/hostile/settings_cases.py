"""Malformed settings: every setting's own type and range, YAML's grammar, and options.

Settings are walked along their dataclasses, so that a new one is covered by itself.
"""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from hostile.harness import Case
from micro import SETTINGS

from ifguide.attacks.config import AttackConfig
from ifguide.settings.config import Config

LONG = "x" * 100_000
TEXTS = {
    "a terminal escape": "a\x1b[31mb",
    "a line break": "a\nb",
    "100,000 characters": LONG,
    "half a surrogate": "\ud800",
    "a right-to-left override": "\u202eabc",
    "NUL": "a\x00b",
}
PLACES = {  # instead of the name of a file
    "nothing there": "nowhere/at/all",
    "a name of 300 characters": "y" * 300,
    "a folder": "a-folder",
    "a pipe": "a-pipe",
    "a socket": "a-socket",
    "a link to itself": "a-circle",
    "/dev/zero": "/dev/zero",
    "/proc/self/mem": "/proc/self/mem",
    "/proc": "/proc",
    **TEXTS,
}
NUMBERS: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "-1": -1,
    "2**64": 2**64,
    "10**12": 10**12,
    "390 digits": int("9" * 390),
}
OTHERS: dict[str, Any] = {
    "text": "twelve",
    "a list": [],
    "settings": {},
    "true": True,
    "null": None,
    "a number": 3,
    "a deep list": yaml.safe_load("[" * 90 + "]" * 90),
}
FILE_SETTINGS = ("path", "subset", "toxic_subset", "safe_subset", "plus", "minus", "pair")


def lay_places(folder: Path) -> None:
    """Lay what ``PLACES`` names into a folder."""
    (folder / "a-folder").mkdir()
    os.mkfifo(folder / "a-pipe")
    (folder / "a-circle").symlink_to("a-circle")
    here = os.getcwd()
    os.chdir(folder)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("a-socket")
    finally:
        os.chdir(here)


def settings_cases() -> Iterator[Case]:
    """Yield every setting with what does not belong there."""
    for place, kind in _settings(Config, ()):
        for what, value in _unfit(place, kind):
            yield _setting_case(place, what, value, may_pass=_may_pass(place, value))


def text_cases() -> Iterator[Case]:
    """Yield YAML files that are malformed, or ask for too much."""
    deep = "corpus: " + "[" * 3000 + "]" * 3000
    laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join([f'*{chr(97 + k)}'] * 10)}]\n" for k in range(9)
    )
    texts: dict[str, bytes | str] = {
        "empty": "",
        "blanks": "\n \n",
        "a comment alone": "# nothing\n",
        "a text": "hello",
        "a list": "- 1\n- 2\n",
        "a number": "3",
        "itself": "corpus: &a\n  sources: *a\n",
        "itself, deeper": "seed: &a [1, [2, *a]]\n",
        "3,000 nested lists": deep,
        "3,000 nested groups": "{a: " * 3000 + "1" + "}" * 3000,
        "a billion laughs": laughs,
        "an object": "seed: !!python/object/apply:os.system ['true']\n",
        "a tag": "seed: !mine 3\n",
        "a key twice": "seed: 1\nseed: 2\n",
        "a key that is a list": "[1, 2]: 3\n",
        "a key that is a number": "3: 3\n",
        "a null key": "~: 3\n",
        "an unknown alias": "seed: *nothing\n",
        "two documents": "seed: 1\n---\nseed: 2\n",
        "a tab": "seed:\n\t- 1\n",
        "an open bracket": "seed: [1, 2\n",
        "an open quote": 'seed: "1\n',
        "400 digits": f"seed: {'9' * 401}\n",
        "a huge hexadecimal": f"seed: 0x{'f' * 300}\n",
        "latin-1": "seed: é\n".encode("latin-1"),
        "UTF-16": "seed: 1\n".encode("utf-16"),
        "binary": bytes(range(256)) * 8,
        "NUL": b"seed: 1\x00\n",
        "11 MB": "# " + "x" * 11_000_000 + "\n",
        "10,000 keys": "".join(f"key{k}: {k}\n" for k in range(10_000)),
        "a key of 100,000 characters": f"{LONG}: 1\n",
        "a key with an escape": '"a\\x1b[31mb": 1\n',
        "a key with a line break": '"a\\nb": 1\n',
        "merged lists": "<<: [1, 2]\nseed: 1\n",
        "a list of 200,000": "corpus: [" + "1, " * 200_000 + "1]\n",
    }
    for name, text in texts.items():
        yield Case("YAML", name, _lays_yaml(text), ("run.yaml",))
    for name, place in PLACES.items():
        if name != "NUL":
            yield Case(
                "the settings' file", name, _gives("run", place), (visible_start(place), "YAML")
            )
    for what in ("a folder", "a pipe", "a link to itself"):
        yield Case(
            "the settings' file", f"--out is {what}", _gives_out(what), ("--out", "a-", "run")
        )


def option_cases() -> Iterator[Case]:
    """Yield options that no command can take, dotted ones and the commands' own."""
    dotted = {
        "no value": ["--selection.budget"],
        "no such setting": ["--no.such", "1"],
        "below a number": ["--seed.x", "1"],
        "no such element": ["--corpus.sources.7.limit", "3"],
        "an element that is no number": ["--corpus.sources.x.limit", "3"],
        "a very long name": [f"--{'a.' * 5000}b", "1"],
        "a name with an escape": ["--a\x1b[31m", "1"],
        "a value with an escape": ["--selection.unit", "\x1b[31m"],
        "a value of 100,000 characters": ["--seed", LONG],
        "a value that is deep": ["--seed", "[" * 3000],
        "a value that is itself": ["--corpus.sources", "&a [*a]"],
        "400 digits": ["--seed", "9" * 400],
        "a stray word": ["stray"],
        "an empty word": ["--", "x"],
        "half a surrogate": ["--report.title", "\udcff"],
    }
    for name, options in dotted.items():
        yield Case(
            "options",
            name,
            _micro_with(options),
            (visible_start(options[0].removeprefix("--")), "option", "command line"),
        )
    for what, value in NUMBERS.items():
        shown = yaml.safe_dump(value).split("\n")[0]
        yield Case("options", f"seed {what}", _micro_with(["--seed", shown]), ("seed",))
        looked = _plainly("inspect", "nowhere", "--top", shown)
        yield Case("options", f"top {what}", looked, ("--top", "nowhere"))
        for place, kind in _settings(AttackConfig, ()):
            if _bare(kind) in (int, float):
                options = [f"--{'.'.join(place)}", shown]
                make = _plainly("attack", "nowhere", "--kinds", "gcg", *options)
                name = f"attack {'.'.join(place)} {what}"
                yield Case("options", name, make, (place[-1], "nowhere"))
    for command in ("status", "inspect", "judge", "attack", "lm-eval", "export-pair"):
        more = {"judge": ["--judges", "rule"], "lm-eval": ["--tasks", "t"]}.get(command, [])
        for what, place in PLACES.items():
            if what == "NUL":
                continue
            make = _lays(lambda folder: None, command, place, *more)
            yield Case("run folders", f"{command}: {what}", make, (visible_start(place), "folder"))


def all_cases() -> list[Case]:
    """Return all of this side."""
    return [*settings_cases(), *text_cases(), *option_cases()]


# details


def _settings(
    kind: Any, place: tuple[str, ...], known: set[Any] | None = None
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every setting's place and type; a group that stands at several places once."""
    known = set() if known is None else known
    for field in fields(kind):
        inner = get_type_hints(kind)[field.name]
        below = (*place, field.name)
        yield below, inner
        bare = _bare(inner)
        if get_origin(bare) is tuple:
            below, bare = (*below, "0"), _bare(get_args(bare)[0])
        elif get_origin(bare) is dict:
            below, bare = (*below, "name"), _bare(get_args(bare)[1])
        if is_dataclass(bare) and bare not in known:
            known.add(bare)
            yield from _settings(bare, below, known)


def _bare(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(inner for inner in get_args(kind) if inner is not NoneType)
    return kind


def _unfit(place: tuple[str, ...], kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield values that are outside a setting's type or range, or at their edge."""
    bare = _bare(kind)
    if bare in (int, float):
        yield from NUMBERS.items()
        unfit = ["text", "a list", "settings", "true"]
    elif bare is str:
        files = place[-1] in FILE_SETTINGS
        yield from (PLACES if files else TEXTS).items()
        unfit = ["a list", "settings", "a number", "true"]
    elif bare is bool:
        unfit = ["text", "a list", "settings", "a number"]
    elif get_origin(bare) is Literal:
        yield from TEXTS.items()
        unfit = ["text", "a list", "settings", "a number", "true"]
    elif get_origin(bare) is tuple:
        unfit = ["text", "settings", "a number", "true", "a deep list"]
    elif bare is Any:
        unfit = []
    else:  # a group
        yield "10,000 names", {f"name{k}": k for k in range(10_000)}
        yield "an unknown name", {"no_such_setting": 1}
        yield "a name with an escape", {"a\x1b[31mb\n": 1}
        unfit = ["text", "a list", "a number", "true"]
    yield from ((what, OTHERS[what]) for what in unfit)
    if NoneType not in get_args(kind):
        yield "null", None


FREE = ("title", "name", "text", "id", "kind", "ids", "revision", "config", "data_dir")
NOT_READ_BY_RUN = ("labeller", "reward_model", "judge", "words")  # of compare's settings


def _may_pass(place: tuple[str, ...], value: Any) -> bool:
    """Whether a run may take this: a text that is any text, or a number in the setting's range."""
    if isinstance(value, str):
        last = place[-1]
        return last in FREE or (place[0] == "compare" and last in NOT_READ_BY_RUN)
    return isinstance(value, int)


def _setting_case(place: tuple[str, ...], what: str, value: Any, *, may_pass: bool) -> Case:
    def make(folder: Path) -> list[str]:
        lay_places(folder)
        plain = copy.deepcopy(SETTINGS)
        _put(plain, list(place), value)
        (folder / "run.yaml").write_text(_yaml(plain), encoding="utf-8")
        return ["run", "run.yaml", "--out", "out", "--quiet"]

    shown = (visible_start(value),) if isinstance(value, str) else ()
    names = (place[-1], ".".join(place[:2]), place[0], "run.yaml, line", *shown)
    return Case(f"settings: {_row(what)}", f"{'.'.join(place)}: {what}", make, names, may_pass)


def _row(what: str) -> str:
    if what in NUMBERS:
        return "numbers"
    if what in TEXTS:
        return "texts"
    return "files" if what in PLACES else "types"


def _yaml(plain: Any) -> str:
    """Write YAML; half a surrogate stays an escape."""
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=False)


RIVALS = {  # what stands where a setting of this name is tried, and would be refused beside it
    "path": ("builtin", "scratch", "vocab_size", "held_out"),
    "hub": ("builtin",),
    "source": ("held_out",),
    "named": ("held_out",),
}


def _put(plain: Any, place: list[str], value: Any) -> None:
    """Put a value at its place, with just enough around it."""
    for part, below in zip(place, [*place[1:], None], strict=True):
        if isinstance(plain, list):
            part = int(part)
        else:
            for rival in RIVALS.get(part, ()):
                plain.pop(rival, None)
            if plain.get(part) is None:
                plain[part] = [{}] if below == "0" else {}
        if below is None:
            plain[part] = value
        plain = plain[part]


def visible_start(value: Any) -> str:
    return ascii(str(value))[1:-1][:30]


def _lays_yaml(text: bytes | str):
    def make(folder: Path) -> list[str]:
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / "run.yaml").write_bytes(raw)
        return ["run", "run.yaml", "--out", "out", "--quiet"]

    return make


def _lays(lay: Any, *arguments: str):
    def make(folder: Path) -> list[str]:
        lay_places(folder)
        lay(folder)
        return list(arguments)

    return make


def _gives(command: str, place: str):
    return _lays(lambda folder: None, command, place, "--out", "out", "--quiet")


def _gives_out(what: str):
    place = {"a folder": "a-file/below", "a pipe": "a-pipe", "a link to itself": "a-circle"}[what]

    def lay(folder: Path) -> None:
        (folder / "a-file").write_text("mine")
        (folder / "run.yaml").write_text(_yaml(SETTINGS))

    return _lays(lay, "run", "run.yaml", "--out", place, "--quiet")


def _micro_with(options: list[str]):
    def lay(folder: Path) -> None:
        (folder / "run.yaml").write_text(_yaml(SETTINGS))

    return _lays(lay, "run", "run.yaml", "--out", "out", "--quiet", *options)


def _plainly(*arguments: str):
    return _lays(lambda folder: None, *arguments)
