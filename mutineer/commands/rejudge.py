"""`mutineer rejudge`: a stored run again, by today's classifiers."""

from __future__ import annotations

import json
import sys

import click

from mutineer.completing import complete_runs
from mutineer.counting import counted
from mutineer.exit_codes import ExitCode

__all__ = ["SCHEMA", "command"]

SCHEMA = 1
"""Of --json: {"schema", "judged", "worded", "changes": [{"id", "repeat" ("" or `confirm 1`, `replay 2`, …), "before",
"after"}], "spoiled": {id: why}}, where before and after are {"state", "orchestrator", "client"}, the latter two null
where not judged."""


@click.command("rejudge")
@click.argument("run", shell_complete=complete_runs)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(run: str, as_json: bool) -> None:
    """Judge all experiments of RUN (a name below runs/, or a folder) again from the store alone.

    Needs no cluster. What changed is printed, and stands for the earlier verdicts from then on; those are kept.

    \b
    Examples:
      mutineer rejudge nightly-3
      mutineer rejudge runs/nightly-3 --json
    """
    from campaigns.judging.rejudging import Classes, rejudge
    from campaigns.run_folder import find_run
    from campaigns.store import open_run
    from mutineer.interrupts import interruptible

    with open_run(find_run(run), writable=True) as opened, interruptible():
        found = rejudge(opened, counted)
    if as_json:

        def classes(each: Classes) -> dict[str, str | None]:
            return {"state": each.state, "orchestrator": each.orchestrator, "client": each.client}

        changes = [
            {"id": c.id, "repeat": c.repeat, "before": classes(c.before), "after": classes(c.after)}
            for c in found.changes
        ]
        counts = {"schema": SCHEMA, "judged": found.judged, "worded": found.worded}
        click.echo(json.dumps({**counts, "changes": changes, "spoiled": dict(found.spoiled)}, indent=2))
    else:
        click.echo(
            f"{found.judged} judged again: {len(found.changes)} changed class, {found.worded} only their reasons"
        )
        for change in found.changes:
            again = f" ({change.repeat})" if change.repeat else ""
            click.echo(f"{change.id}{again}: {change.before} → {change.after}")
    if found.spoiled:
        for identifier, why in found.spoiled.items():
            click.echo(f"{identifier} keeps its judgement: {why}", err=True)
        sys.exit(ExitCode.ENVIRONMENT)
