"""Writes docs/fault-models.md from the models themselves: `python -m tools.fault_models`."""

from __future__ import annotations

from pathlib import Path

from failure_db.catalogue import load
from injector.faults import MODELS, FaultModel
from injector.faults.model import description_of

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[1] / "docs" / "fault-models.md"
_HEAD = """# Fault models

What can be done to a stored value or to a message, how it comes about outside of laboratories, and incidents of the
catalogue (`mutineer incidents show ID`) in which it happened or whose error it makes.
Written by `python -m tools.fault_models` from `injector/faults/`; `mutineer faults show MODEL` tells the same.

| model | what | done to | plausible causes | incidents |
|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = "".join(_row(model) for model in MODELS)
    sections = "".join(f"\n## {model.name}\n\n{_section(model)}\n" for model in MODELS)
    return f"{_HEAD}{rows}{sections}"


def _row(model: FaultModel) -> str:
    causes = "<br>".join(f"**{cause.origin}**: {cause.words}" for cause in model.causes)
    incidents = "<br>".join(model.incidents) or "none"
    name, what = f"[{model.name}](#{model.name})", description_of(model).summary
    return f"| {name} | {what} | {model.scope} | {causes} | {incidents} |\n"


def _section(model: FaultModel) -> str:
    titles = {incident.id: incident.title for incident in load()}
    told = description_of(model)
    incidents = "".join(f"\n- `{each}`: {titles[each]}" for each in model.incidents)
    details = f"\n\n```\n{told.details}\n```" if told.details else ""
    return f"{told.summary}{details}" + (f"\n{incidents}" if incidents else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
