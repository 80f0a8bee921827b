"""`mutineer run`: a campaign from a spec file."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["campaign", "command"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--name", help="Folder below runs/ for the results (default: the spec's name and a number).")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(spec: Path, name: str | None, source: str | None) -> None:
    """Run the campaign in SPEC, a YAML file or the name of a preset.

    \b
    Examples:
      mutineer run campaign.yaml
      mutineer run quickstart --name first
    """
    campaign(spec, name, source)


def campaign(spec: Path, name: str | None, source: str | None) -> None:
    """Reads the spec (all its problems at once), gets the binaries, runs, writes the report."""
    from rich.console import Console

    from campaigns import assets, environment
    from campaigns.campaign import run_campaign
    from campaigns.clusters.sandbox import outside
    from campaigns.clusters.sandbox.config import BINARIES
    from campaigns.run_folder import RUNS
    from campaigns.spec import load_preset, load_spec, presets
    from mutineer.commands.report import write_report
    from mutineer.commands.show import print_summary
    from mutineer.interrupts import interruptible
    from mutineer.live import choose_view

    loaded, text = load_preset(str(spec)) if str(spec) in presets() else load_spec(spec)
    folder = RUNS / (name or _free_name(loaded.name))
    environment.require_sandbox()
    console = Console(stderr=True)
    try:
        with interruptible():
            outside.reap()
            binaries = assets.ensure(BINARIES, source=source)
            with choose_view(console) as view, run_campaign(loaded, text, folder, binaries, view) as run:
                report = write_report(run)
    except KeyboardInterrupt:
        if (folder / "record.sqlite").exists():
            click.echo(f"what was finished is kept: mutineer show {folder.name}", err=True)
        raise
    print_summary(folder)
    click.echo(f"report: {report.resolve()}")


def _free_name(base: str) -> str:
    from campaigns.run_folder import RUNS

    number = 1
    while (RUNS / f"{base}-{number}").exists():
        number += 1
    return f"{base}-{number}"
