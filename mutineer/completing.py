"""What a shell completes that several commands ask for."""

from __future__ import annotations

import json

import click
from click.shell_completion import CompletionItem

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
    """Ids of the run that the command line names, in the plan's order. Nothing of its records is read."""
    from campaigns.run_folder import find_run
    from injector.errors import InputError

    try:
        plan = json.loads((find_run(context.params.get("run")) / "plan.json").read_text(encoding="utf-8"))
        ids = [str(each["id"]) for each in plan["experiments"]]
    except (InputError, OSError, ValueError, KeyError, TypeError):  # a shell that completes has nobody to tell
        return []
    return [each for each in ids if each.startswith(incomplete)]


def complete_presets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the specs that ship."""
    from campaigns.spec.campaign_spec import presets

    return [name for name in presets() if name.startswith(incomplete)]


def complete_specs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Presets, and the files and folders here."""
    presets = complete_presets(context, parameter, incomplete)
    return [*map(CompletionItem, presets), CompletionItem(incomplete, type="file")]


def complete_formats(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a run can be exported as."""
    from mutineer.exports import FORMATS

    return [name for name in FORMATS.names() if name.startswith(incomplete)]
