"""`mutineer export`: a run in a form that other programs read."""

from __future__ import annotations

import datetime
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from injector.errors import InputError
from mutineer.completing import complete_formats, complete_runs

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from mutineer.exports import Format

__all__ = ["command"]


@click.command("export")
@click.argument("run", required=False, shell_complete=complete_runs)
@click.option("--format", "format_name", required=True, metavar="FORMAT", shell_complete=complete_formats,
              help="junit: JUnit XML for CI systems.")  # fmt: skip
@click.option("--policy", "policy_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Failures: what breaks its limits (`mutineer schema gate`), not all that broke.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where to write it (default: standard output).")  # fmt: skip
def command(run: str | None, format_name: str, policy_file: Path | None, output: Path | None) -> None:
    """Export RUN (a name below runs/ or a folder; default: the newest). Values of Secrets are left out.

    In JUnit XML a test case fails where the fault broke anything, or with --policy where it breaks a limit; it is
    skipped where the experiment is inconclusive or not finished, and an error where the harness failed.

    \b
    Examples:
      mutineer export --format junit -o junit.xml
      mutineer export nightly-7 --format junit --policy gate.yaml -o junit.xml
    """
    from campaigns.judging.gate_policy import load_policy
    from campaigns.run_folder import find_run
    from campaigns.store import open_run
    from mutineer.commands.gate import gate_of
    from mutineer.exports.formats import exported

    chosen = _format(format_name)
    policy = load_policy(policy_file) if policy_file is not None else None
    with open_run(find_run(run)) as opened:
        records = {record.planned.id: record for record in opened.records(observations=False)}
        gate = gate_of(opened, policy, list(records.values()), today=datetime.date.today()) if policy else None
        values = exported(opened, records, gate)
    made = io.BytesIO()
    chosen.write(values, made)
    if output is None:
        click.echo(made.getvalue(), nl=False)
    else:
        _write(output, made.getvalue())


def _format(name: str) -> Format:
    from mutineer.exports import FORMATS

    if name not in FORMATS.names():
        known = "; ".join(f"{each.name}: {each.description}" for each in FORMATS)
        raise click.BadParameter(f"no format {name!r}; there are: {known}", param_hint="'--format'")
    return FORMATS[name]


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all. InputError if it can't be."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.touch(mode=0o600)  # what the API and the harness said is in it
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written: {error.strerror}; choose another --output") from error
