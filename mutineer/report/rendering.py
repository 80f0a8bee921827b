"""From plain values to one HTML file: no network, nothing executable but one small script of our own.

Everything is escaped (autoescape, and undefined names are errors). A content security policy in the file forbids
whatever is not in it: no loads at all, and of scripts only ours, by its hash. So even a hole in the escaping of a name
that a cluster chose would run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mutineer.report.model import RunReport

__all__ = ["render"]

TEMPLATES = Path(__file__).parent / "templates"


def render(document: RunReport) -> str:
    """The report as HTML. Equal documents give equal text."""
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=document,
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704  # our own file
            script=Markup(script),  # noqa: S704  # our own file
            script_hash=digest,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    return environment


def _seconds(value: float | None) -> str:
    """One decimal below a minute, minutes and seconds above, a dash for what never was."""
    if value is None:
        return "–"  # noqa: RUF001  # the dash of a table's empty cell
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60:02d} s"
