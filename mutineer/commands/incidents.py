"""`mutineer incidents`: read the catalogue of real-world failures, and find those that an experiment looks like.

On a terminal a table, in a pipe one line each with tabs between, with `--json` everything. Reads only; a run is matched
anew with the catalogue of today, the matches that stand in its record are left alone.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from classifiers.verdict import ClientFailure, OrchestratorFailure
from failure_db.catalogue import Incident, load
from failure_db.matching import FLOOR, Match, Signature, match, signature_of
from failure_db.taxonomy import DESCRIPTIONS, Replicable
from injector.errors import InputError, Problem

if TYPE_CHECKING:
    from campaigns.record import ExperimentRecord

__all__ = ["command"]

SCHEMA = 1
"""Of all `--json` output here; counts incompatible changes."""

_FAILURES = [failure.value for failure in OrchestratorFailure if failure is not OrchestratorFailure.NONE]

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


@click.group("incidents")
def command() -> None:
    """Real-world Kubernetes failures: list them, show one, match experiments with them.

    \b
    Examples:
      mutineer incidents list --failure network --kind Service
      mutineer incidents show node-duplicate-podcidr-scale-test
      mutineer incidents match quickstart-1
      mutineer incidents match --kind Service --field 'spec.selector[app]' --class network
    """


@command.command("list")
@click.option("--failure", type=click.Choice(_FAILURES), help="Only those that ended in this class.")
@click.option("--kind", help="Only those about this kind of object, such as Node (in any case).")
@click.option(
    "--replicable", type=click.Choice([r.value for r in Replicable]), help="Can wrong stored state bring it back?"
)
@click.option("--text", help="Only those with this text anywhere (in any case).")
@_json_option
def list_command(
    failure: str | None, kind: str | None, replicable: str | None, text: str | None, as_json: bool
) -> None:
    """List the incidents; filters add up.

    \b
    Examples:
      mutineer incidents list --failure stall --replicable yes
      mutineer incidents list --text webhook --json | jq -r '.incidents[].url'
    """
    catalogue = load()
    found = [i for i in catalogue if _wanted(i, failure=failure, kind=kind, replicable=replicable, text=text)]
    if as_json:
        _print_json({"incidents": [_as_json(incident) for incident in found]})
    elif not sys.stdout.isatty():
        for incident in found:
            click.echo("\t".join((incident.id, ",".join(incident.failure), incident.replicable, incident.title)))
    else:
        Console().print(Group(_list_table(found), Text(f"{len(found)} of {len(catalogue)} incidents", style="dim")))


def _wanted(
    incident: Incident, *, failure: str | None, kind: str | None, replicable: str | None, text: str | None
) -> bool:
    if failure is not None and failure not in incident.failure:
        return False
    if kind is not None and kind.lower() not in (name.lower() for name in incident.objects):
        return False
    if replicable is not None and replicable != incident.replicable:
        return False
    return text is None or text.lower() in json.dumps(_as_json(incident), ensure_ascii=False).lower()


def _list_table(incidents: Iterable[Incident]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("incident", ratio=1)
    table.add_column("ended in", no_wrap=True)
    table.add_column("replicable", no_wrap=True)
    for incident in incidents:  # id and title share a column: side by side they leave no room at 80 characters
        told = Text.assemble((incident.id, "cyan"), "\n", incident.title)
        table.add_row(told, Text("\n".join(incident.failure)), Text(incident.replicable))
    return table


@command.command("show")
@click.argument("incident_id", metavar="ID")
@_json_option
def show_command(incident_id: str, as_json: bool) -> None:
    """Show one incident: what happened, how it is classified and why, and its source.

    \b
    Example:
      mutineer incidents show etcd-node-invalid-json-blocks-list
    """
    catalogue = {incident.id: incident for incident in load()}
    if incident_id not in catalogue:
        raise _unknown("incident", incident_id, sorted(catalogue), "see `mutineer incidents list`")
    incident = catalogue[incident_id]
    if as_json:
        _print_json({"incident": _as_json(incident)})
    elif not sys.stdout.isatty():
        for name, value in _facts(incident):
            click.echo(f"{name}\t{value}")
    else:
        Console().print(_sheet(incident))


def _sheet(incident: Incident) -> Group:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    (_, name), (_, title), *facts = _facts(incident)
    for what, value in facts:
        grid.add_row(what, Text(value))
    return Group(Text(name, style="bold cyan"), Text(title, style="bold"), Text(), grid)


def _facts(incident: Incident) -> list[tuple[str, str]]:
    """What is shown of an incident, line by line; id and title first, empty ones left out."""
    facts = [
        ("id", incident.id),
        ("title", incident.title),
        ("source", incident.url),
        ("told by", f"{incident.organisation}, {incident.year} ({incident.source_kind})"),
        ("involved", ", ".join(incident.involved)),
        ("impact", incident.impact),
        ("fault", f"{incident.fault}: {DESCRIPTIONS[incident.fault]}"),
        ("→ error", f"{incident.error}: {DESCRIPTIONS[incident.error]}"),
        *(("→ failure", f"{failure}: {DESCRIPTIONS[failure]}") for failure in incident.failure),
        ("clients", incident.client_impact.value),
        ("objects", _listed(incident.objects, incident.objects_note)),
        ("fields", _listed(incident.fields, incident.fields_note)),
        ("whole object", incident.whole_object.value if incident.whole_object else ""),
        ("replicable", f"{incident.replicable}: {incident.replicable_why}"),
        ("confidence", f"{incident.confidence}: {incident.evidence}"),
    ]
    return [fact for fact in facts if fact[1]]


def _listed(values: Sequence[str], note: str | None) -> str:
    listed = ", ".join("any" if value == "*" else value for value in values)
    return f"{listed} ({note})" if listed and note else listed or note or ""


@command.command("match")
@click.argument("run", required=False)
@click.option("--experiment", help="Only this experiment of the run.")
@click.option("--kind", help="Without a run: the kind of the object that was hit.")
@click.option("--field", help="Without a run: the field that was hit; none for a whole message.")
@click.option("--class", "orchestrator", type=click.Choice(_FAILURES), help="Without a run: what it ended in.")
@click.option("--client", type=click.Choice([c.value for c in ClientFailure]), help="Without a run: what clients saw.")
@click.option("--model", help="Without a run: the fault model, such as drop.")
@click.option("--undecodable", is_flag=True, help="Without a run: an object that can't be decoded was left.")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="At most so many for each.")
@_json_option
def match_command(
    run: str | None,
    experiment: str | None,
    kind: str | None,
    field: str | None,
    orchestrator: str | None,
    client: str | None,
    model: str | None,
    undecodable: bool,
    top: int,
    as_json: bool,
) -> None:
    """Find the incidents that the experiments of a RUN look like, or that one described fault would.

    Experiments without a failure match nothing. How a score is made stands in failure_db/matching.py.

    \b
    Examples:
      mutineer incidents match quickstart-1
      mutineer incidents match quickstart-1 --experiment e0d58
      mutineer incidents match --kind Service --field 'spec.selector[app]' --class network
    """
    described = [kind, field, orchestrator, client, model, undecodable or None]
    if run is not None and any(value is not None for value in described):
        raise click.UsageError("either a RUN or --kind, --field, --class …, not both")
    if run is not None:
        _match_run(run, experiment, top=top, as_json=as_json)
        return
    if experiment is not None:
        raise click.UsageError("--experiment needs the RUN that it is of")
    if kind is None or orchestrator is None:
        raise click.UsageError("name a RUN, or describe a fault with at least --kind and --class")
    signature = Signature(
        kind=kind,
        field=field,
        model=model,
        orchestrator=OrchestratorFailure(orchestrator),
        client=ClientFailure(client) if client else None,
        undecodable=undecodable,
    )
    found = match(signature, load(), top=top)
    if as_json:
        _print_json({"incidents": [_match_as_json(m) for m in found]})
    else:
        _print_matches([(None, found)])


def _match_run(run: str, experiment: str | None, *, top: int, as_json: bool) -> None:
    from campaigns.run_folder import find_run
    from campaigns.store import open_run  # slow to import (SQLAlchemy); only needed here

    with open_run(find_run(run)) as opened:
        records = [record for record in opened.records() if not record.planned.golden]
    if experiment is not None:
        ids = [record.planned.id for record in records]
        chosen = [identifier for identifier in ids if identifier.startswith(experiment)]
        if len(chosen) != 1:
            raise _unknown("experiment", experiment, ids, f"see `mutineer show {run}`")
        records = [record for record in records if record.planned.id == chosen[0]]
    catalogue = load()
    matched = [(record, _match_record(record, catalogue, top)) for record in records]
    if as_json:
        found = [{"id": r.planned.id, "incidents": [_match_as_json(m) for m in matches]} for r, matches in matched]
        _print_json({"experiments": found})
    else:
        _print_matches([(_headline(record), matches) for record, matches in matched])


def _match_record(record: ExperimentRecord, catalogue: Sequence[Incident], top: int) -> tuple[Match, ...]:
    assert record.planned.rule is not None
    return match(signature_of(record.planned.rule, record.verdict, record.observation), catalogue, top=top)


def _headline(record: ExperimentRecord) -> str:
    rule, verdict = record.planned.rule, record.verdict
    assert rule is not None
    what = f"{rule.model} {rule.target.field or 'message'} of {rule.target.named}"
    return f"{record.planned.id}  {what}  →  {verdict.orchestrator or verdict.state}"


def _print_matches(matched: Iterable[tuple[str | None, Sequence[Match]]]) -> None:
    for headline, matches in matched:
        if headline is not None:
            click.secho(headline, bold=True)
        for found in matches:
            click.echo(f"  {found.score:.2f}  {click.style(found.id, fg='cyan')}\n        {found.why}")
        if not matches:
            click.echo(f"  no incident looks like this (none scores {FLOOR} or more)")


def _unknown(what: str, name: str, known: Sequence[str], otherwise: str) -> InputError:
    near = difflib.get_close_matches(name, known, 3, 0.5) or [known_id for known_id in known if name in known_id][:3]
    hint = f"did you mean {', '.join(near)}?" if near else f"{otherwise}."
    return InputError([Problem("input", "", f"no {what} {name!r}; {hint}")])


def _as_json(incident: Incident) -> dict[str, object]:
    return incident.model_dump(mode="json")


def _match_as_json(found: Match) -> dict[str, object]:
    return {"id": found.id, "score": found.score, "why": found.why}


def _print_json(content: dict[str, object]) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **content}, indent=2, ensure_ascii=False))
