"""`mutineer workloads`: what a cluster can be asked to do while a fault goes in.

On a terminal a table, in a pipe one line each with tabs between, with `--json` everything: each workload as the
document that campaigns.workloads.documents describes, which a `workload.yaml` can be begun with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from campaigns.workloads import Workload

__all__ = ["command"]

SCHEMA = 1
"""Of the `--json` output; counts incompatible changes."""


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from campaigns.workloads import WORKLOADS

    return [name for name in WORKLOADS if name.startswith(incomplete)]


@click.command("workloads")
@click.argument("name", required=False, metavar="[NAME|FOLDER]", shell_complete=_complete)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(name: str | None, as_json: bool) -> None:
    """List the workloads; with a NAME, or a FOLDER of manifests, show its steps, its goals and what is probed.

    \b
    Examples:
      mutineer workloads
      mutineer workloads failover
      mutineer workloads ./shop          a folder with manifests and a workload.yaml: all its problems at once
      mutineer workloads scale --json
    """
    from campaigns.workloads.documents import workload_to_document

    found = [_one(name)] if name is not None else _all()
    if as_json:
        documents = [workload_to_document(workload) for workload in found]
        click.echo(json.dumps({"schema": SCHEMA, "workloads": documents}, indent=2, ensure_ascii=False))
    elif name is not None:
        _print_one(found[0])
    else:
        _print_list(found)


def _all() -> list[Workload]:
    from campaigns.workloads import WORKLOADS

    found = [WORKLOADS[name] for name in WORKLOADS.names()]
    for words in WORKLOADS.broken:
        click.echo(f"warning: {words}", err=True)
    return found


def _one(name: str) -> Workload:
    from campaigns.spec.problems import did_you_mean
    from campaigns.workloads import WORKLOADS
    from campaigns.workloads.manifests import load_folder
    from injector.errors import InputError, Problem

    if name in WORKLOADS:
        return WORKLOADS[name]
    if Path(name).is_dir():
        return load_folder(Path(name))
    words = f"no workload and no folder {name!r}{did_you_mean(name, WORKLOADS.names())}"
    raise InputError([Problem("command line", "NAME", "; ".join((words, *WORKLOADS.broken)))])


def _print_list(found: list[Workload]) -> None:
    if not sys.stdout.isatty():
        for workload in found:
            click.echo(f"{workload.name}\t{workload.summary}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("workload", style="cyan", no_wrap=True)
    table.add_column("what happens", ratio=1)
    for workload in found:
        table.add_row(workload.name, workload.summary)
    Console().print(table)


def _print_one(workload: Workload) -> None:
    if not sys.stdout.isatty():
        for what, words in _facts(workload):
            click.echo(f"{what}\t{words}")
        return
    from rich.console import Console

    Console().print(_sheet(workload))


def _sheet(workload: Workload) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    (_, name), (_, summary), *facts = _facts(workload)
    before = ""
    for what, words in facts:
        grid.add_row("" if what == before else what, Text(words))
        before = what
    return Group(Text(name, style="bold cyan"), Text(summary, style="bold"), Text(), grid)


def _facts(workload: Workload) -> Iterator[tuple[str, str]]:
    """What there is to say, line by line; name and summary first."""
    yield "name", workload.name
    yield "summary", workload.summary
    yield from (("before", str(step)) for step in workload.prepare)
    yield from (("there when", str(goal)) for goal in workload.ready)
    yield from (("then", str(step)) for step in workload.steps)
    yield from (("done when", str(goal)) for goal in workload.done)
    yield from (("probed", f"Service {service.namespace}/{service.name}") for service in workload.services)
    yield from (("not probed", f"from {node}, which is off") for node in sorted(workload.lost_nodes))
    yield "counted", f"what is in {', '.join(workload.namespaces)}"
    each = f" and {workload.wanted_pods_per_node} a node" if workload.wanted_pods_per_node else ""
    yield "wanted pods", f"{workload.wanted_pods}{each}"
    if workload.furniture:
        yield "furniture", ", ".join(workload.furniture)
    if workload.nodes > 1:
        yield "nodes", f"at least {workload.nodes}"
