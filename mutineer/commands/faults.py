"""`mutineer faults`: the fault models, with their parameters, and what they stand for in the world.

What is told is the model's own: the docstring of its file, its causes and its incidents. docs/fault-models.md is the
same as one page (`python -m tools.fault_models`).
"""

from __future__ import annotations

import difflib
import json
import sys

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from failure_db.catalogue import load
from injector.errors import InputError, Problem
from injector.faults import MODELS, FaultModel
from injector.faults.model import description_of

__all__ = ["command"]

SCHEMA = 1
"""Of the `--json` output; counts incompatible changes."""

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


@click.group("faults")
def command() -> None:
    """Fault models: what can be done to a stored value or a message.

    \b
    Examples:
      mutineer faults list
      mutineer faults show bit-flip
    """


@command.command("list")
@_json_option
def list_command(as_json: bool) -> None:
    """List the fault models.

    \b
    Example:
      mutineer faults list --json | jq -r '.models[].name'
    """
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "models": [_as_json(model) for model in MODELS]}, indent=2))
    elif not sys.stdout.isatty():
        for model in MODELS:
            click.echo("\t".join((model.name, model.scope.value, description_of(model).summary)))
    else:
        Console().print(_table())


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", style="cyan", no_wrap=True)
    table.add_column("done to", no_wrap=True)
    table.add_column("what", ratio=1)
    for model in MODELS:
        table.add_row(model.name, model.scope.value, description_of(model).summary)
    return table


@command.command("show")
@click.argument("name", metavar="MODEL")
@_json_option
def show_command(name: str, as_json: bool) -> None:
    """Show one fault model: what it does, its parameters, how it comes about, and real incidents.

    \b
    Example:
      mutineer faults show value-set
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS.names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else "see `mutineer faults list`"
        raise InputError([Problem("command line", "MODEL", f"no fault model {name!r}; {hint}")])
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "model": _as_json(MODELS[name])}, indent=2))
    else:
        Console(soft_wrap=not sys.stdout.isatty()).print(_sheet(MODELS[name]))


def _sheet(model: FaultModel) -> Group:
    told = description_of(model)
    titles = {incident.id: incident.title for incident in load()}
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("done to", model.scope.value)
    for cause in model.causes:
        grid.add_row(cause.origin.value, cause.words)
    for incident in model.incidents:
        grid.add_row("incident", Text.assemble((incident, "cyan"), "\n", titles[incident]))
    return Group(
        Text.assemble((model.name, "bold cyan"), f"  {told.summary}"), Text(), Text(told.details), Text(), grid
    )


def _as_json(model: FaultModel) -> dict[str, object]:
    told = description_of(model)
    return {
        "name": model.name,
        "scope": model.scope.value,
        "summary": told.summary,
        "details": told.details,
        "causes": [{"origin": cause.origin.value, "words": cause.words} for cause in model.causes],
        "incidents": list(model.incidents),
    }
