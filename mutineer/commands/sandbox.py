"""`mutineer sandbox`: the cluster alone."""

from __future__ import annotations

import difflib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from injector.errors import InputError, Problem
from mutineer.completing import complete_sandboxes

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from campaigns.clusters.sandbox.outside import Running, Settings
    from injector.rules import JSONValue

__all__ = ["command"]

_ARGUMENTS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
_ACTIONS = ("stop", "start", "pause", "resume", "kill", "restart")
"""campaigns.clusters.protocol.Action, which a test compares."""
_ASK_WITHIN_S = 60.0
"""A health check waits 5 s for each component that stands still; a component has 5 s to end in good order."""
_NO_COMPONENTS = ("audit", "sandbox")
"""Logs that are no component's: kube-apiserver's audit log, and our own."""


def _complete_logs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from campaigns.clusters.sandbox import outside

    try:
        name = context.params.get("name") or "default"
        known = _log_names(outside.logs_of(name, previous=context.params.get("previous", False)))
    except InputError:  # there is no such sandbox: the command itself will say so
        return []
    return [each for each in known if each.startswith(incomplete)]


def _complete_components(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [each for each in _complete_logs(context, parameter, incomplete) if each not in _NO_COMPONENTS]


def _complete_nodes(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from campaigns.clusters.sandbox import outside

    try:
        found = outside.find_running(context.params.get("name") or "default")
    except InputError:
        return []
    return [node for node in found.config.node_names if node.startswith(incomplete)]


_name = click.option(
    "--name", default="default", show_default=True, help="Which sandbox.", shell_complete=complete_sandboxes
)
_action = click.argument("action", type=click.Choice(_ACTIONS))


@click.group()
def command() -> None:
    """A real Kubernetes on this machine, without root and without containers.

    \b
    Examples:
      mutineer sandbox up
      mutineer sandbox kubectl get pods -A
      mutineer sandbox logs kube-apiserver --follow
      mutineer sandbox component kube-scheduler pause
      mutineer sandbox reset
      mutineer sandbox down
    """


# start and end


@command.command()
@_name
@click.option("--nodes", type=click.IntRange(1, 10), help="How many nodes (default: the file's, or 3).")
@click.option("--profile", type=click.Choice(["fast", "kubeadm"]),
              help="fast: short timers, for experiments; kubeadm: its own (default: the file's, or fast).")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="YAML file with images, furniture and switches (`mutineer schema cluster`).")  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Of kube-apiserver on 127.0.0.1 (default: any free one).")
@click.option("--owner", type=click.IntRange(1), metavar="PID",
              help="End the sandbox when this process ends (default: it stays until `down`).")  # fmt: skip
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def up(
    name: str,
    nodes: int | None,
    profile: str | None,
    config: Path | None,
    port: int | None,
    owner: int | None,
    source: str | None,
) -> None:
    """Start a sandbox in the background; returns when it is ready to use.

    It survives this terminal. Any client reaches it with the kubeconfig that is printed, over a port of 127.0.0.1.

    \b
    Examples:
      mutineer sandbox up
      mutineer sandbox up --name two --nodes 1
      mutineer sandbox up --owner $$              # ends with this shell; for CI
      mutineer sandbox up --config cluster.yaml

    \b
    cluster.yaml, for an operator that is to be tested:
      images:
        example.com/operator:1: ["./bin/manager", "--leader-elect=false"]
      furniture: [quota, webhook]
      audit: true
    """
    from campaigns.clusters.sandbox import by_hand, outside
    from mutineer.interrupts import interruptible

    settings = _settings(config, nodes, profile)
    with interruptible():
        made = by_hand.start(name, settings, _say, port=port or 0, owner=owner, source=source)
    option, until = _option(name), f"; it ends with process {owner}" if owner else ""
    what = f"{_nodes(made.config.nodes)}, Kubernetes {made.kubernetes}"
    click.echo(f"sandbox {name!r} is up after {made.seconds:.1f} s: {what}{until}")
    click.echo(f"  export KUBECONFIG={outside.find_running(name).kubeconfig}")
    click.echo(f"  mutineer sandbox kubectl{option} get pods -A")
    click.echo(f"  mutineer sandbox down{option}")


def _settings(config: Path | None, nodes: int | None, profile: str | None) -> Settings:
    """Of the file, with what the command line says instead."""
    from campaigns.spec.cluster_spec import ClusterSpec, load_cluster

    spec = load_cluster(config) if config is not None else ClusterSpec.model_validate({})
    said = {"nodes": nodes, "profile": profile}
    spec = spec.model_copy(update={key: value for key, value in said.items() if value is not None})
    return spec.to_sandbox_settings(config.parent if config is not None else Path())


@command.command()
@_name
def down(name: str) -> None:
    """End a sandbox. Nothing of it is left.

    \b
    Example:
      mutineer sandbox down --name two
    """
    from campaigns.clusters.sandbox import outside

    try:
        outside.down(name)
    finally:
        outside.reap()
    click.echo(f"sandbox {name!r} is gone")


@command.command()
@_name
def reset(name: str) -> None:
    """Make a sandbox as it was when it came up, and prove it.

    What was created is deleted, what was changed is put back, what was stopped is started: in place, within seconds,
    compared key by key with the beginning. Where that can't be proven, the sandbox is ended and started anew; its
    port stays, its certificates do not (the kubeconfig file is written anew).

    \b
    Example:
      mutineer sandbox reset
    """
    from campaigns.clusters.sandbox import by_hand
    from mutineer.interrupts import interruptible

    with interruptible():
        clean = by_hand.reset(name, _say)
    if clean.proof is not None:
        click.echo(f"sandbox {name!r} is as it was: {clean.proof} ({clean.seconds:.1f} s)")
        return
    previous = "mutineer sandbox logs --previous"
    click.echo(f"sandbox {name!r} is new, after {clean.seconds:.1f} s (logs of the old one: {previous})")


# look


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def list_(as_json: bool) -> None:
    """The sandboxes that run. Piped, a line each: name, nodes, profile, age, port, pid, state, with tabs between.

    \b
    Examples:
      mutineer sandbox list
      mutineer sandbox list | cut -f 1
      mutineer sandbox list --json | jq -r '.sandboxes[] | select(.state == "ready") | .kubeconfig'
    """
    from campaigns.clusters.sandbox import outside

    if reaped := outside.reap():
        click.echo(f"removed what was left of {', '.join(reaped)}", err=True)
    found = outside.survey()
    if as_json:
        click.echo(json.dumps({"schema": 1, "sandboxes": [_as_json(each) for each in found]}, indent=2))
        return
    rows = [
        (each.config.name, str(each.config.nodes), each.config.profile.value, _age(each.age_s),
         str(each.port or "-"), str(each.pid or "-"), each.stage.value)
        for each in found
    ]  # fmt: skip
    _table(("name", "nodes", "profile", "age", "port", "pid", "state"), rows, empty="none: mutineer sandbox up")


@command.command()
@_name
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def status(name: str, as_json: bool) -> None:
    """How every component of a sandbox is, asked now.

    \b
    Examples:
      mutineer sandbox status
      mutineer sandbox status --json | jq '.components[] | select(.ready == false)'
    """
    from campaigns.clusters.sandbox import control, outside

    found = outside.find_running(name)
    health = control.ask(found.config.folder, {"do": "health"}, within_s=_ASK_WITHIN_S)
    assert isinstance(health, list)
    components = [each for each in health if isinstance(each, dict)]
    if as_json:
        click.echo(json.dumps({"schema": 1, "sandbox": _as_json(found), "components": components}, indent=2))
        return
    rows = [
        (str(each["name"]), _state(each), str(each["restarts"]), f"{each['cpu_s']:.1f}",
         f"{int(str(each['rss_bytes'])) >> 20}", str(each["detail"] or ""))
        for each in components
    ]  # fmt: skip
    _table(("component", "state", "restarts", "cpu s", "MiB", "detail"), rows, empty="none")


@command.command()
@_name
@click.argument("component", required=False, shell_complete=_complete_logs)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until the sandbox ends.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@click.option("--previous", "-p", is_flag=True,
              help="Of the last sandbox of that name that did not start, or that `reset` replaced.")  # fmt: skip
def logs(name: str, component: str | None, follow: bool, tail: int | None, previous: bool) -> None:
    """Print what a COMPONENT has logged (pods' logs: `mutineer sandbox kubectl logs POD`).

    \b
    Examples:
      mutineer sandbox logs kube-apiserver --tail 20
      mutineer sandbox logs etcd --follow
      mutineer sandbox logs kubelet-node-1 --previous
    """
    from campaigns.clusters.sandbox import outside

    if previous and follow:
        raise click.UsageError("nothing is written to a --previous log any more: leave --follow out")
    folder = outside.logs_of(name, previous=previous)
    _require_known("COMPONENT", component, _log_names(folder))
    first = "+1" if tail is None else str(tail)
    until = ["--follow", f"--pid={outside.pid_of(name)}"] if follow else []
    _become(["tail", f"--lines={first}", *until, str(folder / f"{component}.log")], os.environ)


# use


@command.command(name="exec", context_settings=_ARGUMENTS)
@_name
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, argv: tuple[str, ...]) -> None:
    """Run a command inside the sandbox: in its network, with KUBECONFIG set and kubectl on PATH, in this folder.

    Its exit code is the command's.

    \b
    Examples:
      mutineer sandbox exec -- curl -sk https://127.0.0.1:6443/version
      mutineer sandbox exec -- bash
    """
    from campaigns.clusters.sandbox import outside

    config, pid = outside.find(name)
    _become(*outside.enter_command(config, pid, argv, folder=_here()))


@command.command(context_settings=_ARGUMENTS)
@_name
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def kubectl(name: str, argv: tuple[str, ...]) -> None:
    """Run the sandbox's kubectl, here: files are found as they are anywhere else. Its exit code is kubectl's.

    \b
    Examples:
      mutineer sandbox kubectl get nodes -o wide
      mutineer sandbox kubectl apply -f ./deployment.yaml
      mutineer sandbox kubectl --name two port-forward service/web 8080:80
    """
    from campaigns.clusters.sandbox import outside

    found = outside.find_running(name)
    env = {**os.environ, "KUBECONFIG": str(found.kubeconfig)}
    _become([str(found.config.binaries["kubectl"]), *argv], env)


# pull the plug


@command.command()
@_name
@click.argument("component", metavar="NAME", shell_complete=_complete_components)
@_action
def component(name: str, component: str, action: str) -> None:
    """Stop, start, pause, resume, kill or restart a component by its NAME (`mutineer sandbox status` lists them).

    What is stopped or paused stays so until it is started or resumed, or until `reset`; what is killed is started
    again as its cluster would do it.

    \b
    Examples:
      mutineer sandbox component kube-scheduler stop
      mutineer sandbox component etcd pause
      mutineer sandbox component kubelet-node-1 kill
    """
    from campaigns.clusters.sandbox import outside

    known = [each for each in _log_names(outside.find_running(name).config.logs) if each not in _NO_COMPONENTS]
    _require_known("NAME", component, known)
    _act(name, "component", component, action)


@command.command()
@_name
@click.argument("node", metavar="NAME", shell_complete=_complete_nodes)
@_action
def node(name: str, node: str, action: str) -> None:
    """Stop, start, pause, resume, kill or restart a whole node by its NAME: kubelet, pods and network.

    \b
    Examples:
      mutineer sandbox node node-2 kill
      mutineer sandbox node node-2 start
    """
    from campaigns.clusters.sandbox import outside

    _require_known("NAME", node, outside.find_running(name).config.node_names)
    _act(name, "node", node, action)


def _act(name: str, what: str, which: str, action: str) -> None:
    from campaigns.clusters.sandbox import control, outside

    folder = outside.find_running(name).config.folder
    control.ask(folder, {"do": what, "name": which, "action": action}, within_s=_ASK_WITHIN_S)
    back = {"stop": "start", "pause": "resume", "kill": "start" if what == "node" else ""}.get(action)
    hint = f" (back: mutineer sandbox {what}{_option(name)} {which} {back})" if back else ""
    click.echo(f"{which}: {action} done{hint}")


# what they share


def _become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Goes on as another program: its terminal, its signals and its exit code are then its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so
    os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - an argument list; becoming the program is the point


def _here() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed under our feet
        return None


def _say(line: str) -> None:
    click.echo(f"  {line}", err=True)


def _option(name: str) -> str:
    return "" if name == "default" else f" --name {name}"


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def _log_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.log"))


def _require_known(argument: str, name: str | None, known: Sequence[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name or "", known, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    wrong = f"there is no {name!r}" if name else "it is missing"
    raise InputError([Problem("command line", argument, f"{wrong}; {hint}There are: {', '.join(known) or 'none'}")])


def _as_json(found: Running) -> dict[str, JSONValue]:
    return {
        "name": found.config.name,
        "nodes": found.config.nodes,
        "profile": found.config.profile.value,
        "age_s": round(found.age_s, 1),
        "port": found.port,
        "pid": found.pid,
        "state": found.stage.value,
        "owner": found.owner,
        "kubeconfig": str(found.kubeconfig) if found.kubeconfig.exists() else None,
    }


def _state(health: Mapping[str, JSONValue]) -> str:
    if not health["alive"]:
        return "ended"
    return {True: "ready", False: "not ready", None: "running"}[health["ready"]]  # type: ignore[index]


def _age(seconds: float) -> str:
    """As kubectl has it, in one unit: 45s, 12m, 5h, 3d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """For a person where there is a terminal, else a line each, with tabs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(cell.replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column != "detail", overflow="fold")
    colours: dict[str, Callable[[str], Text]] = {
        "ready": lambda cell: Text(cell, style="green"),
        "not ready": lambda cell: Text(cell, style="red"),
        "ended": lambda cell: Text(cell, style="red"),
    }
    for row in rows:
        table.add_row(*(colours.get(cell, Text)(cell) for cell in row))
    Console().print(table)
