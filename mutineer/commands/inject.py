"""`mutineer inject`: one fault, now, on a running sandbox."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from injector.errors import InputError, Problem
from mutineer.completing import complete_sandboxes
from mutineer.exit_codes import ExitCode

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from injector.rules import JSONValue

__all__ = ["command"]

SCHEMA = 1
"""Of the `--json` output; counts incompatible changes."""

_CHANNELS = (
    "at-rest-write",
    "at-rest-silent",
    "apiserver-to-etcd",
    "etcd-to-apiserver",
    "component-to-apiserver",
    "apiserver-to-component",
)
"""injector.targets.Channel, which a test compares."""
_OPTIONS = {
    "channel": "--channel",
    "model": "--model",
    "parameters": "--set",
    "parameters.value": "--value",
    "target.after": "--after",
    "target.by": "--by",
    "target.component": "--component",
    "target.field": "--field",
    "target.group": "--group",
    "target.identity": "OBJECT",
    "target.kind": "OBJECT",
    "target.labels": "--labels",
    "target.namespace": "--namespace",
    "target.occurrence": "--occurrence",
    "target.operation": "--operation",
    "target.role": "--role",
}
"""Where in a spec → which option says it here."""


def _complete_roles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from injector.roles import roles

    return [role for role in roles() if role.startswith(incomplete)]


def _complete_operations(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from injector.targets import OPERATIONS, Channel

    channel = context.params.get("channel")
    known = OPERATIONS.get(Channel(channel), ()) if channel in set(Channel) else ()
    return [name for name in known if name.startswith(incomplete)]


def _complete_components(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from campaigns.clusters.sandbox import outside
    from campaigns.spec.fault_checks import component_names

    cluster = str(context.params.get("cluster") or "default")
    if cluster not in outside.running():
        return []
    known = component_names(outside.find_running(cluster).config.nodes)
    return [name for name in (*known, "kubelet-*") if name.startswith(incomplete)]


def _complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from injector.faults import MODELS

    return [name for name in MODELS.names() if name.startswith(incomplete)]


@click.command("inject")
@click.argument("target", metavar="OBJECT", required=False)
@click.option("--cluster", default="default", show_default=True, metavar="NAME", shell_complete=complete_sandboxes,
              help="Which sandbox.")  # fmt: skip
@click.option("--field", metavar="PATH", help="Of the object, such as 'spec.selector[app]' (`mutineer fields KIND`).")
@click.option("--role", metavar="ROLE", shell_complete=_complete_roles,
              help="Instead of --field: the first of that role that fits, such as replicas.")  # fmt: skip
@click.option("--labels", "-l", metavar="SELECTOR", help="With KIND alone: such as 'app=web,tier!=db'.")
@click.option("--namespace", "-n", metavar="NAME", help="With KIND alone: such as default.")
@click.option("--by", metavar="MANAGER", help="Only what it wrote, such as kube-controller-manager (or its beginning).")
@click.option("--after", metavar="CONDITION", help="Count only from then, such as 'Deployment/default/web Available'.")
@click.option("--model", metavar="MODEL", shell_complete=_complete_models,
              help="Fault model, see `mutineer faults list` (default with --value: value-set).")  # fmt: skip
@click.option("--value", metavar="VALUE", help="Short for --set value=VALUE.")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE",
              help="A parameter of the model; may be repeated.")  # fmt: skip
@click.option("--channel", type=click.Choice(_CHANNELS), default=_CHANNELS[0], show_default=True,
              help="At rest: now, in etcd or silently in its file; others: the next message that matches.")  # fmt: skip
@click.option("--group", help="API group of the kind, where several have it.")
@click.option(
    "--reread", is_flag=True, help="at-rest-silent, etcd-to-apiserver: restart kube-apiserver, so that it reads anew."
)
@click.option("--operation", shell_complete=_complete_operations, metavar="OPERATION",
              help="Only messages that do this, such as put, watch or update/status.")  # fmt: skip
@click.option(
    "--component",
    metavar="NAME",
    shell_complete=_complete_components,
    help="Channels of components: whose, such as kube-scheduler or 'kubelet-*'.",
)
@click.option("--occurrence", type=click.IntRange(1), default=1, show_default=True,
              help="The n-th message that matches.")  # fmt: skip
@click.option("--times", default="1", show_default=True, metavar="N|always", help="How often, from that one on.")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=60.0, show_default=True, metavar="SECONDS",
              help="How long to wait for that message; 0: leave the rule armed.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the object, field and bytes; change nothing.")
@click.option("--status", "action", flag_value="status", help="What is armed, and what it did.")
@click.option("--disarm", "action", flag_value="disarm", help="Disarm what is armed.")
@click.option("--undo", "action", flag_value="undo", help="Put back every value that was changed at rest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(
    target: str | None,
    cluster: str,
    field: str | None,
    role: str | None,
    labels: str | None,
    namespace: str | None,
    by: str | None,
    after: str | None,
    model: str | None,
    value: str | None,
    parameters: Sequence[str],
    channel: str,
    group: str | None,
    reread: bool,
    operation: str | None,
    component: str | None,
    occurrence: int,
    times: str,
    wait_s: float,
    dry_run: bool,
    action: str | None,
    as_json: bool,
) -> None:
    """Inject one fault into a running sandbox.

    OBJECT is KIND/NAMESPACE/NAME, KIND/NAME for what has no namespace, or KIND alone for any object of it that
    --namespace and --labels fit (at rest the first by key; in messages all of them count). The value before is
    recorded first, so that --undo puts it back; `mutineer sandbox reset` undoes everything.

    \b
    Examples:
      mutineer inject Service/default/web --field 'spec.selector[app]' --value wec --dry-run
      mutineer inject Service/default/web --field 'spec.selector[app]' --value wec
      mutineer inject Deployment/default/web --field spec.replicas --model bit-flip --set bit=4 \\
        --channel apiserver-to-etcd --wait 120
      mutineer inject Pod -n default -l app=web --role node-name --value node-9 --by kubelet \\
        --after 'Deployment/default/web Available' --channel apiserver-to-etcd
      mutineer inject --undo
    """
    from campaigns.clusters.sandbox import by_hand, outside

    if action is not None:
        if target is not None:
            raise click.UsageError(f"--{action} takes no OBJECT")
        _act(outside.find_running(cluster).config.folder, action, as_json=as_json)
        return
    if target is None:
        raise click.UsageError("OBJECT is missing, such as Service/default/web (or --status, --disarm, --undo)")
    chosen = {"namespace": namespace, "labels": labels, "role": role, "by": by, "after": after, "component": component}
    fault = _fault(target, field, model, value, parameters, channel, group, operation, occurrence, **chosen)
    often = _times(times)
    config = outside.find_running(cluster).config
    _check_component(component, config.nodes)
    done = by_hand.inject(config.folder, fault, times=often, reread=reread, dry_run=dry_run)
    if done["armed"]:
        _await(config.folder, done, wait_s, as_json=as_json)
    else:
        _show(done, as_json=as_json, undo=None if dry_run else _undo(cluster))


def _fault(
    target: str,
    field: str | None,
    model: str | None,
    value: str | None,
    parameters: Sequence[str],
    channel: str,
    group: str | None,
    operation: str | None,
    occurrence: int,
    **chosen: str | None,
) -> dict[str, JSONValue]:
    """As a spec has it; `chosen` are a target's texts. InputError with every problem at once."""
    from campaigns.clusters.sandbox import by_hand
    from campaigns.spec.fault_checks import carried_kind, check_fault, preferred_group, scalar_type

    kind = target.partition("/")[0]
    carried = carried_kind(kind, preferred_group(kind) if group is None else group, operation)
    type_name = scalar_type(*carried, field) if field is not None else None
    given: dict[str, JSONValue] = {}
    problems: list[Problem] = []
    for text in (*([f"value={value}"] if value is not None else []), *parameters):
        name, equals, content = text.partition("=")
        if not equals:
            problems.append(Problem("command line", "--set", f"expected NAME=VALUE, got {text!r}"))
            continue
        given[name] = content if name == "value" and type_name in ("string", "bytes") else _read(content)
    fault = by_hand.fault(
        target,
        channel=channel,
        model=model or ("value-set" if "value" in given else None),
        parameters=given,
        group=group,
        field=field,
        operation=operation,
        occurrence=occurrence,
        **chosen,
    )
    empty = [name for name, text in chosen.items() if text == ""]
    problems += [Problem("command line", f"--{name}", "expected a text that is not empty, got ''") for name in empty]
    if fault["model"] is None:
        problems.append(Problem("command line", "--model", "is missing (`mutineer faults list`), or --value"))
    problems += [_of_option(problem) for problem in check_fault(fault, file="command line", where="")]
    if problems:
        raise InputError(problems)
    return fault


def _check_component(component: str | None, nodes: int) -> None:
    """InputError unless the sandbox, of so many nodes, has it."""
    from campaigns.spec.fault_checks import wrong_component

    why = wrong_component(component, nodes) if component is not None else None
    if why is not None:
        raise InputError([Problem("command line", "--component", why)])


def _of_option(problem: Problem) -> Problem:
    where = problem.path.lstrip(".")
    if where not in _OPTIONS and where.startswith("parameters."):
        return Problem(problem.file, f"--set {where.removeprefix('parameters.')}", problem.message)
    return Problem(problem.file, _OPTIONS.get(where, where), problem.message)


def _read(text: str) -> JSONValue:
    """A scalar as YAML has it: 3 is a number, true is true, everything else that is no list or mapping is a text."""
    import yaml

    try:
        found: JSONValue = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return found if isinstance(found, (bool, int, float, str)) else text


def _times(text: str) -> int | None:
    if text == "always":
        return None
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise InputError([Problem("command line", "--times", f"expected a whole number >= 1 or always, got {text!r}")])


def _await(folder: Path, done: Mapping[str, JSONValue], wait_s: float, *, as_json: bool) -> None:
    """Until the armed rule has fired as often as it may, and what it holds back had the time to go; then, or at the end
    of the time, it is disarmed."""
    from campaigns.clusters.sandbox import by_hand

    rule = done["rule"]
    assert isinstance(rule, dict)
    if not wait_s:
        if as_json:
            _print({**done, "firings": []})
        else:
            click.echo("armed; `mutineer inject --status` tells what it does, `mutineer inject --disarm` ends it")
        return
    if not as_json:
        click.echo(f"armed; waiting up to {wait_s:g} s for the message (Ctrl-C disarms)", err=True)
    with by_hand.armed(folder):
        by_hand.wait_fired(folder, rule, within_s=wait_s)
    seen = by_hand.injected(folder)  # by now etcd has answered
    firings = seen["firings"]
    assert isinstance(firings, list)
    if not firings and not as_json:
        click.echo(f"error: {by_hand.missed(wait_s, seen['near_misses'])}", err=True)
        sys.exit(ExitCode.INCONCLUSIVE)
    _show({"rule": rule, "firing": firings[0] if firings else None, **seen}, as_json=as_json, undo=None)
    if not firings:
        sys.exit(ExitCode.INCONCLUSIVE)
    if len(firings) > 1 and not as_json:
        click.echo(f"fired {len(firings)} times; `mutineer inject --status` shows them all")


def _act(folder: Path, action: str, *, as_json: bool) -> None:
    from campaigns.clusters.sandbox import by_hand

    answer = by_hand.act(folder, {"status": "injected"}.get(action, action))
    if as_json:
        _print({"undone": answer} if action == "undo" else answer if isinstance(answer, dict) else {})
    elif isinstance(answer, dict):
        _show_status(answer)
    elif isinstance(answer, list):
        for each in answer:
            assert isinstance(each, dict)
            click.echo(f"{Path(str(each['record'])).stem}: {each['outcome']}")
        if not answer:
            click.echo("nothing to undo")
    else:
        click.echo("disarmed")


def _show_status(answer: Mapping[str, JSONValue]) -> None:
    click.echo(f"armed: {answer['armed'] or 'nothing'}")
    firings, misses = answer["firings"], answer["near_misses"]
    assert isinstance(firings, list) and isinstance(misses, list)
    for firing in firings:
        _show({"firing": firing}, as_json=False, undo=None)
    for miss in misses:
        assert isinstance(miss, dict)
        click.echo(f"near: {miss['identity']}: {miss['why']} ({miss['times']}x)")


def _undo(cluster: str) -> str:
    return "mutineer inject --undo" + ("" if cluster == "default" else f" --cluster {cluster}")


def _print(document: Mapping[str, JSONValue]) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **document}, indent=2))


def _show(done: Mapping[str, JSONValue], *, as_json: bool, undo: str | None) -> None:
    from rich.console import Console

    from injector.rules_json import firing_from_json
    from mutineer.sheet import sheet_of

    if as_json:
        _print(_redacted(done))
        return
    document = done["firing"]
    assert isinstance(document, dict)
    sheet = sheet_of(firing_from_json(document), undo, _field(done))
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False).print(sheet)


def _field(done: Mapping[str, JSONValue]) -> str | None:
    """The field that the rule names, where the rule is told."""
    match done:
        case {"rule": {"target": {"field": str(field)}}}:
            return field
    return None


def _redacted(done: Mapping[str, JSONValue]) -> Mapping[str, JSONValue]:
    """Without the bytes and values of a Secret."""
    from campaigns.redaction import holds_secret
    from injector.rules_json import firing_from_json

    document = done.get("firing")
    if not isinstance(document, dict) or not holds_secret(firing_from_json(document)):
        return done
    hidden: dict[str, JSONValue] = {"before": "", "after": "", "field_before": None, "field_after": None}
    return {**done, "firing": {**document, **hidden, "redacted": True}}
