"""`mutineer run`: a campaign from a spec file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mutineer.carrying_out import finished, report, stage
from mutineer.completing import complete_specs
from mutineer.exit_codes import ExitCode

if TYPE_CHECKING:
    from campaigns.running.campaign import Overrides

__all__ = ["campaign", "command"]


@click.command()
@click.argument("spec", type=click.Path(path_type=Path), shell_complete=complete_specs)
@click.option("--name", help="Folder below runs/ for the results (default: the spec's name and a number).")
@click.option("--parallelism", type=click.IntRange(1, 64), metavar="N", help="Sandboxes side by side.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Instead of the spec's.")
@click.option("--confirm", is_flag=True, help="Do stalls and outages again on a fresh sandbox (spec: confirm).")
@click.option("--heal", is_flag=True, help="Afterwards remove the fault; tell what the cluster needs to come back.")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(
    spec: Path,
    name: str | None,
    parallelism: int | None,
    seed: int | None,
    confirm: bool,
    heal: bool,
    source: str | None,
) -> int:
    """Run the campaign in SPEC, a YAML file or the name of a preset.

    Ctrl-C finishes the experiments that are under way, a second one stops at once; `mutineer resume` does what is
    missing then, as it does after a crash.

    \b
    Examples:
      mutineer run campaign.yaml
      mutineer run quickstart --name first
      mutineer run campaign.yaml --parallelism 4 --seed 7 --confirm
    """
    from campaigns.running.campaign import Overrides

    return campaign(spec, name, source, Overrides(parallelism=parallelism, seed=seed, confirm=confirm, heal=heal))


def campaign(spec: Path, name: str | None, source: str | None, overrides: Overrides | None = None) -> ExitCode:
    """Reads the spec (all its problems at once), gets the binaries, runs, writes the report. Errors of the harness in
    it make the exit code ENVIRONMENT; findings do not."""
    from campaigns.run_folder import RUNS, named_folder
    from campaigns.running.campaign import run_campaign
    from mutineer.commands.plan import load
    from mutineer.commands.record import recordings_for

    loaded, text, beside = load(spec)
    folder = named_folder(name) if name is not None else RUNS / _free_name(loaded.name)
    with stage(folder, source) as on:
        recordings = recordings_for(loaded, on.assets, beside=beside or Path.cwd(), tell=on.view.note)
        with run_campaign(
            loaded,
            text,
            folder,
            on.assets,
            on.view,
            beside=beside,
            recordings=recordings,
            overrides=overrides,
            stop=on.stop,
        ) as run:
            report(run)
    return finished(run, on.stop)


def _free_name(base: str) -> str:
    from campaigns.run_folder import RUNS

    number = 1
    while (RUNS / f"{base}-{number}").exists():
        number += 1
    return f"{base}-{number}"
