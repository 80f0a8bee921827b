"""`mutineer show`: what came of a run, or the story of one experiment. Reads only."""

from __future__ import annotations

import click

from mutineer.completing import complete_experiments, complete_runs

__all__ = ["command"]


@click.command("show")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.argument("experiment", required=False, shell_complete=complete_experiments)
@click.option("--all", "everything", is_flag=True, help="List every experiment, not only the 200 gravest.")
@click.option("--history", "with_history", is_flag=True,
              help="Of an EXPERIMENT: every write that etcd took, and what it changed.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts (`mutineer schema show`).")
def command(run: str | None, experiment: str | None, everything: bool, with_history: bool, as_json: bool) -> None:
    """Show a run (a name below runs/ or a folder; default: the newest), or one EXPERIMENT of it (an id or its start).

    \b
    Examples:
      mutineer show
      mutineer show quickstart-1 e0d58
      mutineer show quickstart-1 e0d58 --history
      mutineer show quickstart-1 --json
    """
    if with_history and experiment is None:
        raise click.UsageError("--history is of one EXPERIMENT: mutineer show RUN EXPERIMENT --history")
    from campaigns.run_folder import find_run
    from mutineer.showing import print_experiment, print_run

    if experiment is None:
        print_run(find_run(run), everything=everything, as_json=as_json)
    else:
        print_experiment(find_run(run), experiment, with_history=with_history, as_json=as_json)
