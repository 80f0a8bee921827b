"""`mutineer run`: a campaign from a spec file."""

from __future__ import annotations

from pathlib import Path

import click

from injector.errors import InputError, MutineerError, Problem
from mutineer.exit_codes import ExitCode

__all__ = ["campaign", "command"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--name", help="Folder below runs/ for the results (default: the spec's name and a number).")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(spec: Path, name: str | None, source: str | None) -> int:
    """Run the campaign in SPEC, a YAML file or the name of a preset.

    \b
    Examples:
      mutineer run campaign.yaml
      mutineer run quickstart --name first
    """
    return campaign(spec, name, source)


def campaign(spec: Path, name: str | None, source: str | None) -> ExitCode:
    """Reads the spec (all its problems at once), gets the binaries, runs, writes the report. Errors of the harness in
    it make the exit code ENVIRONMENT; findings do not."""
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

    preset = str(spec) in presets()
    if not preset and not spec.exists():
        known = f"there is no such file; presets are: {', '.join(presets())}; `mutineer schema spec` describes the file"
        raise InputError([Problem(str(spec), "", known)])
    loaded, text = load_preset(str(spec)) if preset else load_spec(spec)
    folder = RUNS / (name or _free_name(loaded.name))
    environment.require_sandbox()
    console = Console(stderr=True)
    try:
        with interruptible():
            outside.reap()
            binaries = assets.ensure(BINARIES, source=source)
            with (
                choose_view(console) as view,
                run_campaign(loaded, text, folder, binaries, view, beside=None if preset else spec.parent) as run,
            ):
                report = write_report(run)
    except (KeyboardInterrupt, MutineerError):
        if (folder / "record.sqlite").exists():
            click.echo(f"what was finished is kept: mutineer show {folder.name}", err=True)
        raise
    errors = print_summary(folder)
    click.echo(f"report: {report.resolve()}")
    if errors:
        click.echo(f"{errors} experiments are errors of the harness; their logs are in {folder / 'logs'}", err=True)
    return ExitCode.ENVIRONMENT if errors else ExitCode.OK


def _free_name(base: str) -> str:
    from campaigns.run_folder import RUNS

    number = 1
    while (RUNS / f"{base}-{number}").exists():
        number += 1
    return f"{base}-{number}"
