"""The pages' templates: in whatever they are given, markup is escaped and controls spelled out."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ifguide.report.display import visible_text


def template(name: str) -> Template:
    """Return a template of this folder."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ifguide", "report"),
        autoescape=True,
        finalize=_spelled_out,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csp_hash"] = _csp_hash
    return environment


def _spelled_out(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else visible_text(value)


def _csp_hash(content: str) -> str:
    """The content security policy's name of an inline script or style."""
    digest = hashlib.sha256(str(content).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
