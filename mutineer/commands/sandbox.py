"""`mutineer sandbox`: the cluster alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click

from mutineer.exit_codes import ExitCode

__all__ = ["command"]

_name = click.option("--name", default="default", show_default=True, help="Which sandbox.")
_ARGUMENTS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group()
def command() -> None:
    """A real Kubernetes on this machine, without root and without containers.

    \b
    Examples:
      mutineer sandbox up
      mutineer sandbox kubectl get pods -A
      mutineer sandbox exec -- curl -sk https://127.0.0.1:6443/version
      mutineer sandbox down
    """


@command.command()
@_name
@click.option("--nodes", type=click.IntRange(1, 10), default=3, show_default=True, help="How many nodes.")
@click.option("--profile", type=click.Choice(["fast", "kubeadm"]), default="fast", show_default=True,
              help="fast: shorter timers for experiments; kubeadm: its own.")  # fmt: skip
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def up(name: str, nodes: int, profile: str, source: str | None) -> None:
    """Start a sandbox in the background; returns when all nodes are Ready."""
    from campaigns import assets, environment
    from campaigns.clusters.sandbox import outside
    from campaigns.clusters.sandbox.components import Profile
    from campaigns.clusters.sandbox.config import BINARIES
    from mutineer.interrupts import interruptible

    environment.require_sandbox()
    with interruptible():
        outside.reap()
        binaries = assets.ensure(BINARIES, source=source)
        config = outside.prepare(
            name, binaries={n: Path(binaries[n]) for n in BINARIES}, nodes=nodes, profile=Profile(profile)
        )
        took = outside.up(config, lambda line: click.echo(f"  {line}", err=True))
    option = "" if name == "default" else f" --name {name}"
    version = binaries.entries["kube-apiserver"].version
    click.echo(f"sandbox {name!r} is up after {took:.1f} s: {nodes} nodes, Kubernetes {version}")
    click.echo(f"  mutineer sandbox kubectl{option} get pods -A")
    click.echo(f"  mutineer sandbox down{option}")


@command.command(name="exec", context_settings=_ARGUMENTS)
@_name
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, argv: tuple[str, ...]) -> int:
    """Run a command inside the sandbox, with KUBECONFIG set and kubectl on PATH.

    \b
    Example:
      mutineer sandbox exec -- kubectl create deployment web --image mutineer/web:1
    """
    return _inside(name, argv)


@command.command(context_settings=_ARGUMENTS)
@_name
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def kubectl(name: str, argv: tuple[str, ...]) -> int:
    """Run kubectl inside the sandbox.

    \b
    Example:
      mutineer sandbox kubectl get nodes -o wide
    """
    return _inside(name, ("kubectl", *argv))


def _inside(name: str, argv: tuple[str, ...]) -> int:
    from campaigns.clusters.sandbox import outside

    config, pid = outside.find(name)
    enter, env = outside.enter_command(config, pid, argv)
    try:
        return subprocess.run(enter, env=env, check=False, cwd=os.sep).returncode
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


@command.command(name="list")
def list_() -> None:
    """Names of the sandboxes that run, one a line."""
    from campaigns.clusters.sandbox import outside

    for name in outside.running():
        click.echo(name)


@command.command()
@_name
def down(name: str) -> None:
    """End a sandbox. Nothing of it is left."""
    from campaigns.clusters.sandbox import outside

    outside.down(name)
    click.echo(f"sandbox {name!r} is gone")
