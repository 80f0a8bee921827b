"""`mutineer resume`: what a run lacks of its plan."""

from __future__ import annotations

import click

from mutineer.carrying_out import finished, report, stage
from mutineer.completing import complete_runs

__all__ = ["command"]


@click.command("resume")
@click.argument("run", shell_complete=complete_runs)
@click.option("--parallelism", type=click.IntRange(1, 64), metavar="N", help="Sandboxes side by side.")
@click.option("--confirm", is_flag=True, help="Do stalls and outages again on a fresh sandbox (spec: confirm).")
@click.option("--mixed-versions", is_flag=True, help="Go on with other binaries than the run began with.")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(run: str, parallelism: int | None, confirm: bool, mixed_versions: bool, source: str | None) -> int:
    """Do the experiments that RUN (a name below runs/, or a folder) lacks of its plan, and nothing else.

    With the run's own spec and plan, in the plan's order, whether it was stopped, interrupted, killed, or the disk was
    full. With --confirm also of a run that is whole.

    \b
    Examples:
      mutineer resume quickstart-1
      mutineer resume nightly --parallelism 2
    """
    from campaigns.run_folder import find_run
    from campaigns.running.campaign import Overrides, resume_campaign

    folder, overrides = find_run(run), Overrides(parallelism=parallelism, confirm=confirm)
    with (
        stage(folder, source) as on,
        resume_campaign(
            folder, on.assets, on.view, overrides=overrides, mixed_versions=mixed_versions, stop=on.stop
        ) as resumed,
    ):
        report(resumed)
    return finished(resumed, on.stop)
