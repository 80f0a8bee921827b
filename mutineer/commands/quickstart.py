"""`mutineer quickstart`: the first thing a person runs."""

from __future__ import annotations

from pathlib import Path

import click

from mutineer.commands.run import campaign

__all__ = ["command"]


@click.command()
@click.option("--name", help="Folder below runs/ for the results (default: quickstart-1, -2, …).")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(name: str | None, source: str | None) -> int:
    """Run a small campaign on a real cluster and write a report: 10 golden runs and 30 faults.

    The same as `mutineer run quickstart`. Takes about five minutes on two cores once the binaries are there.
    """
    return campaign(Path("quickstart"), name, source)
