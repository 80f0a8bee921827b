"""What a shell completes that several commands ask for."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = [
    "complete_experiments",
    "complete_formats",
    "complete_presets",
    "complete_runs",
    "complete_sandboxes",
    "complete_specs",
]


def complete_sandboxes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the sandboxes that run."""
    from campaigns.clusters.sandbox import outside

    return [name for name in outside.running() if name.startswith(incomplete)]


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the runs below runs/, the newest first."""
    from campaigns.run_folder import RUNS

    made = sorted(RUNS.glob("*/plan.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.parent.name for path in made if path.parent.name.startswith(incomplete)]


def complete_experiments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the experiments in the plan of the command's RUN."""
    from campaigns.run_folder import RUNS

    run = str(context.params.get("run") or "")
    for folder in (RUNS / run, Path(run)):  # read as it is: checking a whole plan takes too long for a key press
        try:
            planned = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["experiments"]
            return [each["id"] for each in planned if each["id"].startswith(incomplete)]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def complete_presets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the specs that ship."""
    from campaigns.spec import presets

    return [name for name in presets() if name.startswith(incomplete)]


def complete_specs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[object]:
    """Presets, and the files and folders here."""
    from click.shell_completion import CompletionItem

    return [*complete_presets(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


def complete_formats(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a run can be exported as."""
    from mutineer.exports import FORMATS

    return [name for name in FORMATS.names() if name.startswith(incomplete)]
