"""`mutineer replay`: experiments of a run again, each on a fresh sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mutineer.carrying_out import stage
from mutineer.completing import complete_experiments, complete_runs
from mutineer.exit_codes import ExitCode

if TYPE_CHECKING:
    from campaigns.running.campaign import Replayed

__all__ = ["SCHEMA", "command"]

SCHEMA = 2
"""Of --json: {"schema", "experiments": [{"id", "was": class (null where the run has not done it), "again": [class, …],
"same", "times"}, …]}; a class is that of the cluster's failure, or `inconclusive` or `error`. 1: of one experiment, its
keys beside "schema"."""


@click.command("replay")
@click.argument("run", shell_complete=complete_runs)
@click.argument("experiments", metavar="EXPERIMENT...", nargs=-1, required=True, shell_complete=complete_experiments)
@click.option("--times", type=click.IntRange(1, 1000), default=1, show_default=True, help="How often each.")
@click.option("--parallelism", type=click.IntRange(1, 64), metavar="N", help="Sandboxes side by side.")
@click.option("--heal", is_flag=True, help="Afterwards remove the fault; tell what the cluster needs to come back.")
@click.option("--mixed-versions", is_flag=True, help="With other binaries than the run's.")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def command(
    run: str, experiments: tuple[str, ...], times: int, parallelism: int | None, heal: bool,
    mixed_versions: bool, source: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Do each EXPERIMENT (an id, or its start) of RUN again, on a fresh sandbox each time.

    Judged by the run's own golden runs, and kept in the run as a repeat beside the first time. With --times it tells
    how stable the verdict is.

    \b
    Examples:
      mutineer replay quickstart-1 e0d58
      mutineer replay quickstart-1 e0d58 e41c7 --times 10 --json
      mutineer replay quickstart-1 e0d58 --heal
    """
    from campaigns.run_folder import find_run
    from campaigns.running.campaign import Overrides, replay_experiments

    folder, overrides = find_run(run), Overrides(parallelism=parallelism, heal=heal)
    with stage(folder, source) as on:
        done = replay_experiments(
            folder, experiments, on.assets, on.view, times=times, overrides=overrides,
            mixed_versions=mixed_versions, stop=on.stop,
        )  # fmt: skip
    told = [_document(each) for each in done]
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, "experiments": told}, indent=2))
    else:
        for each, document in zip(done, told, strict=True):
            _print(each, document)
    if on.stop.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if all(_whole(each, times) for each in done) else ExitCode.ENVIRONMENT


def _document(done: Replayed) -> dict[str, Any]:
    from campaigns.judging.agreement import agreement, classes_of

    found = agreement(done.first, done.again, classes_of) if done.first is not None else None
    again = [classes_of(record) for record in done.again]
    return {
        "id": done.planned.id, "was": found.was if found else None, "again": again,
        "same": found.same if found else None, "times": len(again),
    }  # fmt: skip


def _print(done: Replayed, document: dict[str, Any]) -> None:
    from mutineer.report.sentences import shown_recovery

    click.echo(f"{done.planned.id}: {done.planned.why}")
    for number, (record, again) in enumerate(zip(done.again, document["again"], strict=True), 1):
        click.echo(f"{number:3} {again:28} {'; '.join(record.verdict.reasons[:1])}")
        if record.verdict.recovery is not None:
            click.echo(f"    {shown_recovery(record.verdict.recovery)}")
    same = f"{document['same']} of {document['times']} as in the run: {document['was']}"
    click.echo(same if document["was"] is not None else "the run has not done it yet")


def _whole(done: Replayed, times: int) -> bool:
    """As often as asked for, and the harness never failed."""
    return len(done.again) == times and all(record.verdict.state.value != "error" for record in done.again)
