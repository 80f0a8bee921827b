"""`mutineer report`: one HTML file of a run, to read and to pass on."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from injector.errors import InputError
from mutineer.completing import complete_runs

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from campaigns.store import Run

__all__ = ["command", "write_report"]


@click.command("report")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; runs/NAME/report.html if not given.",
)
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
def command(run: str | None, output: Path | None, open_it: bool) -> None:
    """Write the HTML report of RUN (a name below runs/, or a folder; the newest run if not given).

    The file needs no network and no other file. A run that is still going on can be reported as far as it is. Values of
    Secrets are left out, all other stored values that a fault touched are shown: look before you pass it on.

    \b
    Examples:
      mutineer report quickstart-1
      mutineer report quickstart-1 --output /tmp/quickstart.html --open
    """
    from campaigns.run_folder import find_run
    from campaigns.store import open_run

    folder = find_run(run)
    with open_run(folder) as opened:
        path = write_report(opened, output)
    click.echo(path)
    if open_it:
        webbrowser.open(path.resolve().as_uri())


def write_report(run: Run, output: Path | None = None) -> Path:
    """Writes the report of `run` (default: report.html in its folder); returns where it is. InputError if it can't."""
    from mutineer.report.rendering import render
    from mutineer.report.source import read_report

    path = output or run.folder / "report.html"
    _write(path, render(read_report(run)))
    return path


def _write(path: Path, html: str) -> None:
    """Whole or not at all: a reader never sees half a report, and an old one stays until the new one is there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.touch(mode=0o600)  # stored values are in it
        partial.write_text(html, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"the report can't be written to {path}: {error.strerror}; choose another --output") from error
