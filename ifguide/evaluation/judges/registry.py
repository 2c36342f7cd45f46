"""Judges by name: which kinds there are, and what a judge's name decides.

A name is ``KIND`` or ``KIND:ARGUMENT``. A kind is one value, a ``JudgeKind``, in a file of its own;
a third party's is named by an entry point of the group ``ifguide.judges``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ifguide.errors import InputError, reading
from ifguide.evaluation.judges.judging import Judge
from ifguide.registry import Registry

SETTING = "evaluation.judges"


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """A judge as the settings ask for it.

    Args:
        name: the whole name, any text; the judge bears it in messages and reports.
        argument: what stands behind the name's first colon.
        data_dir: the folder that relative file names start from.
        trust_remote_code: run code that a checkpoint brings along.
    """

    name: str
    argument: str = ""
    data_dir: Path = Path()
    trust_remote_code: bool = False

    def path(self, file: str) -> Path:
        """Return where a file or folder that the name mentions lies; it need not be there."""
        return self.data_dir / Path(file).expanduser()


@dataclass(frozen=True, kw_only=True)
class JudgeKind:
    """One kind of judge.

    Args:
        load: makes the judge; raises ``InputError`` where it cannot. The judge bears the name that
            was asked for.
        argument: what stands behind the colon, as messages call it, such as ``FILE``; "" where
            the kind takes none.
        files: the files on this machine that decide what the judge says, there or not.
        identity: what else decides it beside the name, such as a package and its version; nothing
            is loaded.
        model: what the judge asks, the same for two judges that read different labels of one
            model; by default it has its own.
    """

    load: Callable[[JudgeRequest], Judge]
    argument: str = ""
    files: Callable[[JudgeRequest], Sequence[Path]] = lambda request: ()
    identity: Callable[[JudgeRequest], str] = lambda request: ""
    model: Callable[[JudgeRequest], str] = lambda request: request.name


_HERE = "ifguide.evaluation.judges"
JUDGES: Registry[JudgeKind] = Registry(
    "judge",
    "ifguide.judges",
    {
        "rule": f"{_HERE}.rule:RULE",
        "alt-profanity-check": f"{_HERE}.alt_profanity_check:ALT_PROFANITY_CHECK",
        "hatesonar": f"{_HERE}.hatesonar:HATESONAR",
        "better-profanity": f"{_HERE}.better_profanity:BETTER_PROFANITY",
        "toxigen-roberta": f"{_HERE}.toxigen:TOXIGEN",
        "detoxify": f"{_HERE}.detoxify:DETOXIFY",
        "hf": f"{_HERE}.hf:HF",
        "words": f"{_HERE}.words:WORDS",
    },
)


def load_judge(name: str, data_dir: Path = Path(), *, trust_remote_code: bool = False) -> Judge:
    """Return a judge by name.

    ``rule`` (for the built-in corpus), ``alt-profanity-check``, ``hatesonar``, ``better-profanity``
    (a word list), ``words:FILE`` (a list of one's own, a word or phrase a line),
    ``toxigen-roberta``, ``detoxify:NAME`` or ``detoxify:FILE`` (.ckpt or .safetensors), and
    ``hf:NAME_OR_PATH``, ``hf:NAME_OR_PATH#LABEL`` or ``hf:NAME@REVISION#LABEL`` for any
    sequence-classification model, LABEL being the toxic one's name or number; and those that
    installed packages add.

    Args:
        name: the judge's.
        data_dir: the folder that relative file names start from.
        trust_remote_code: run code that a checkpoint brings along.

    Raises:
        InputError: no such judge, its package is not installed, or its files cannot be loaded.
    """
    kind, request = _asked(name, data_dir, trust_remote_code)
    with _of_package(name, "it cannot be loaded"):
        judge = kind.load(request)
    called = getattr(judge, "name", None)
    if called != name or not callable(judge):
        made = f"one that calls itself '{called}'" if callable(judge) else "what cannot be called"
        raise InputError(
            f"judge '{name}': its package made {made}; a judge is called with texts, and bears the "
            "name that it was asked for by"
        )
    return judge


def judge_files(name: str, data_dir: Path = Path()) -> list[Path]:
    """Return the files on this machine that decide what a judge says; none is opened.

    A file that the name mentions is among them whether it is there or not.

    Raises:
        InputError: no such judge.
    """
    kind, request = _asked(name, data_dir)
    with _of_package(name, "its files cannot be listed"):
        return sorted(map(Path, kind.files(request)))


def judge_identity(name: str, data_dir: Path = Path()) -> str:
    """Return what decides what a judge says beside its files, as a line for fingerprints.

    It is the judge's name, and the package that it comes from with its version, or the commit of
    what lies on a hub. Nothing is loaded.

    Raises:
        InputError: no such judge.
    """
    kind, request = _asked(name, data_dir)
    with _of_package(name, "what decides it cannot be told"):
        return " ".join(filter(None, (name, kind.identity(request))))


def judge_model(name: str) -> str:
    """Return what a judge asks: two judges of one model are not independent.

    Raises:
        InputError: no such judge.
    """
    kind, request = _asked(name)
    with _of_package(name, "its model cannot be told"):
        return kind.model(request)


def check_judge(name: str, setting: str = SETTING) -> None:
    """Refuse a judge whose kind is not known; nothing is imported.

    Raises:
        InputError: no such kind; ``setting`` is where the name was given.
    """
    if _parts(name)[0] not in JUDGES:
        known = ", ".join(JUDGES.names())
        raise InputError(
            f"{setting}: '{name}' is not known; use one of {known}, as KIND:ARGUMENT where it "
            "takes one"
        )


def version_of(package: str) -> str:
    """Return an installed package and its version, or that it is not there, for an identity."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def _of_package(name: str, fault: str) -> AbstractContextManager[None]:
    """Turn whatever a judge's package raises into a line about that judge."""
    return reading(f"judge '{name}'", "mend or remove the package that makes it", fault=fault)


def _asked(
    name: str, data_dir: Path = Path(), trust_remote_code: bool = False
) -> tuple[JudgeKind, JudgeRequest]:
    check_judge(name)
    kind_name, argument = _parts(name)
    kind = JUDGES.get(kind_name, SETTING)
    if not isinstance(kind, JudgeKind):
        raise InputError(
            f"{SETTING}: what a package names as the judge '{kind_name}' is no JudgeKind; mend or "
            "remove the package"
        )
    if kind.argument and not argument:
        raise InputError(
            f"{SETTING}: '{name}' does not say which; give {kind_name}:{kind.argument}"
        )
    if argument and not kind.argument:
        raise InputError(f"{SETTING}: '{name}': {kind_name} takes no argument; give {kind_name}")
    request = JudgeRequest(
        name=name, argument=argument, data_dir=data_dir, trust_remote_code=trust_remote_code
    )
    return kind, request


def _parts(name: str) -> tuple[str, str]:
    """Return a judge's kind and argument."""
    kind, _, argument = name.partition(":")
    return kind, argument
