"""`mutineer assets`: the pinned Kubernetes, etcd and CoreDNS binaries in the cache."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

import click

from campaigns.assets import AssetState, AssetStatus, Supply, choose_progress, load_manifest
from injector.errors import AssetError
from mutineer.exit_codes import ExitCode

__all__ = ["command"]


@click.group("assets")
def command() -> None:
    """The pinned binaries a cluster is made of: get, list and check them.

    They come from a folder you name, else from the official downloads (checksums verified), else from a Go build of
    pinned sources, and are kept in $XDG_CACHE_HOME/mutineer (default ~/.cache/mutineer).

    \b
    Environment:
      MUTINEER_ASSETS         a folder that holds the binaries, or the word PATH
      MUTINEER_ASSETS_MIRROR  a base URL instead of the official sites' (paths stay the same)
    """


def _known(context: click.Context, parameter: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    names = load_manifest().names
    for name in (value,) if isinstance(value, str) else value:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
            raise click.BadParameter(f"no such asset {name!r}; {hint}", context, parameter)
    return value


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def list_assets(as_json: bool) -> None:
    """List the binaries: version, state, where they came from, size, path.

    \b
    Examples:
      mutineer assets list
      mutineer assets list --json | jq -r '.assets[] | select(.state != "cached") | .name'
    """
    statuses = Supply().status()
    click.echo(_as_json(statuses) if as_json else _table(statuses))


@command.command("ensure")
@click.argument("names", nargs=-1, callback=_known)
@click.option("--from", "source", metavar="DIR|PATH", help="Take them from this folder, or from PATH (the word).")
def ensure_assets(names: tuple[str, ...], source: str | None) -> None:
    """Get NAMES (default: all) into the cache, unless they are there.

    \b
    Examples:
      mutineer assets ensure
      mutineer assets ensure kubectl etcd
      mutineer assets ensure --from ~/kubernetes/bin
      mutineer assets ensure --from PATH
    """
    supply = Supply(progress=choose_progress())
    supply.ensure(names or None, source=source)
    click.echo(_table(supply.status(names or None)))


@command.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def verify_assets(as_json: bool) -> int:
    """Take every cached binary's SHA-256 anew; what is broken is removed (exit code 3).

    \b
    Example:
      mutineer assets verify
    """
    statuses = Supply().verify()
    click.echo(_as_json(statuses) if as_json else _table(statuses))
    broken = [one.name for one in statuses if one.state is AssetState.BROKEN]
    if broken:
        click.echo(f"removed: {', '.join(broken)}\n  remedy: mutineer assets ensure", err=True)
    return ExitCode.ENVIRONMENT if broken else ExitCode.OK


@command.command("path")
@click.argument("name", callback=_known)
def asset_path(name: str) -> None:
    """Print the path of one cached binary.

    \b
    Example:
      $(mutineer assets path kubectl) version --client
    """
    (status,) = Supply().status([name])
    if status.path is None:
        raise AssetError(f"{name} {status.version} is not in the cache", remedy=f"mutineer assets ensure {name}")
    click.echo(status.path)


def _as_json(statuses: Sequence[AssetStatus]) -> str:
    assets = [
        {
            "name": one.name,
            "version": one.version,
            "state": one.state.value,
            "provider": one.provider,
            "origin": one.origin,
            "size_bytes": one.size_bytes,
            "sha256": one.digest,
            "path": str(one.path) if one.path else None,
        }
        for one in statuses
    ]
    return json.dumps({"schema": 1, "assets": assets}, indent=2)


def _table(statuses: Sequence[AssetStatus]) -> str:
    rows = [("NAME", "VERSION", "STATE", "PROVIDER", "MB", "PATH")] + [
        (
            one.name,
            one.version,
            one.state.value,
            one.provider or "-",
            f"{one.size_bytes / 1e6:.0f}" if one.size_bytes is not None else "-",
            str(one.path or "-"),
        )
        for one in statuses
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join("  ".join((*(c.ljust(w) for c, w in zip(row[:5], widths, strict=True)), row[5])) for row in rows)
