"""Between YAML and ``Config``: strict reading, dotted overrides, and writing it back."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from ifguide.config import Config
from ifguide.errors import InputError


def read_config(file: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply overrides such as ``["--selection.budget", "0.01"]``, and check it.

    Raises:
        InputError: the file cannot be read, a key is unknown or a value does not fit.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the YAML file of the run")
    parser = _parser()
    try:
        parsed = parser.instantiate(parser.parse_args(["--config", str(file), *overrides]))
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"{file}: {_one_line(error)}") from error
    fields = parsed.as_dict()
    fields.pop("config")
    return Config(**fields)


def to_yaml(config: Config) -> str:
    """Return the whole configuration as YAML that ``read_config`` reads back to an equal one."""
    plain = json.loads(json.dumps(asdict(config)))
    plain["data_dir"] = str(Path(config.data_dir).resolve())
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def describe() -> str:
    """Return every setting with its type, default and meaning."""
    text = io.StringIO()
    with redirect_stdout(text):
        _parser().print_help()
    return text.getvalue()


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="ifguide run CONFIG --out DIR", exit_on_error=False)
    parser.add_argument("--config", action="config", help="the YAML file")
    parser.add_class_arguments(Config)
    return parser


def _one_line(error: BaseException) -> str:
    """Return the innermost reason: an InputError's own line, or the parser's message folded."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())
