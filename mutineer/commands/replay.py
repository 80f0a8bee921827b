"""`mutineer replay`: one experiment of a run again, on a fresh sandbox."""

from __future__ import annotations

import json

import click

from mutineer.carrying_out import stage
from mutineer.completing import complete_experiments, complete_runs
from mutineer.exit_codes import ExitCode

__all__ = ["SCHEMA", "command"]

SCHEMA = 1
"""Of --json: {"schema", "id", "was": class (null where the run has not done it), "again": [class, …], "same", "times"};
a class is that of the cluster's failure, or `inconclusive` or `error`."""


@click.command("replay")
@click.argument("run", shell_complete=complete_runs)
@click.argument("experiment", shell_complete=complete_experiments)
@click.option("--times", type=click.IntRange(1, 1000), default=1, show_default=True, help="How often.")
@click.option("--parallelism", type=click.IntRange(1, 64), metavar="N", help="Sandboxes side by side.")
@click.option("--mixed-versions", is_flag=True, help="With other binaries than the run's.")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(
    run: str, experiment: str, times: int, parallelism: int | None, mixed_versions: bool, source: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Do one EXPERIMENT (an id, or its start) of RUN again, on a fresh sandbox each time.

    Judged by the run's own golden runs, and kept in the run as a repeat beside the first time. With --times it tells
    how stable the verdict is.

    \b
    Examples:
      mutineer replay quickstart-1 e0d58
      mutineer replay quickstart-1 e0d58 --times 10 --json
    """
    from campaigns.judging.agreement import agreement, classes_of
    from campaigns.run_folder import find_run
    from campaigns.running.campaign import Overrides, replay_experiment

    folder, overrides = find_run(run), Overrides(parallelism=parallelism)
    with stage(folder, source) as on:
        done = replay_experiment(
            folder, experiment, on.assets, on.view, times=times, overrides=overrides,
            mixed_versions=mixed_versions, stop=on.stop,
        )  # fmt: skip
    again = [classes_of(record) for record in done.again]
    found = agreement(done.first, done.again, classes_of) if done.first is not None else None
    if as_json:
        document = {
            "schema": SCHEMA, "id": done.planned.id, "was": found.was if found else None, "again": again,
            "same": found.same if found else None, "times": len(again),
        }  # fmt: skip
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(f"{done.planned.id}: {done.planned.why}")
        for number, record in enumerate(done.again, 1):
            click.echo(f"{number:3} {again[number - 1]:28} {'; '.join(record.verdict.reasons[:1])}")
        first = f"{found.same} of {len(again)} as in the run: {found.was}" if found else "the run has not done it yet"
        click.echo(first)
    if on.stop.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.ENVIRONMENT if "error" in again or len(again) < times else ExitCode.OK
