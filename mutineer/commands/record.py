"""`mutineer record`: golden runs that are listened to, so that campaigns can be planned without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from campaigns.assets import Assets
    from campaigns.planning.recording import Recording
    from campaigns.record import Result
    from campaigns.spec.campaign_spec import CampaignSpec

__all__ = ["RUNS", "command", "recordings_for"]

RUNS = 10
"""Golden runs of each channel: the least of which nine in ten can be told from all."""


@click.command("record")
@click.argument("what", metavar="[WORKLOAD|SPEC]", required=False)
@click.option("-n", "runs", type=click.IntRange(2), default=RUNS, show_default=True,
              help="Golden runs of each channel; two channels are recorded in one.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Every workload that ships, into the recordings that ship.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
              help="Where to (default: recordings/).")  # fmt: skip
@click.option("--parallelism", type=click.IntRange(1), metavar="N", help="Sandboxes side by side.")
@click.option("--from", "source", metavar="FOLDER|PATH", help="Take the binaries from there (PATH: the search path).")
def command(
    what: str | None, runs: int, everything: bool, out: Path | None, parallelism: int | None, source: str | None
) -> None:
    """Record what passes in golden runs of WORKLOAD, or of each workload of SPEC on its cluster.

    `mutineer plan` and `mutineer run` find it in recordings/ below the current folder.

    \b
    Examples:
      mutineer record deploy
      mutineer record campaign.yaml -n 20
    """
    from campaigns import assets, environment
    from campaigns.clusters.sandbox import outside
    from campaigns.clusters.sandbox.config import BINARIES
    from campaigns.planning.recordings_found import HERE, SHIPPED
    from mutineer.interrupts import interruptible

    if everything == (what is not None):
        raise click.UsageError("expected WORKLOAD, SPEC or --all")
    spec, beside = _asked(what)
    if parallelism is not None:
        spec = spec.model_copy(update={"parallelism": parallelism})
    folder = out or (SHIPPED if everything else HERE)
    environment.require_sandbox()
    with interruptible():
        outside.reap()
        binaries = assets.ensure(BINARIES, source=source)
        for workload in spec.workloads:
            _record(spec.alone(workload), binaries, runs=runs, beside=beside, folder=folder, tell=_say)


def recordings_for(
    spec: CampaignSpec, binaries: Assets, *, beside: Path, tell: Callable[[str], None]
) -> Mapping[str, Recording]:
    """What a spec's sample is drawn from, by workload: those that ship or were made here; what is missing is recorded
    now, and kept in recordings/. `tell` hears of it."""
    from campaigns.planning.recordings_found import HERE, find_recordings

    found = find_recordings(spec)
    recordings = dict(found.recordings)
    for path, why in found.passed_over:
        tell(f"{path} is passed over: {why}")
    for workload in found.missing:
        tell(f"there is no recording of {workload} on such a cluster: it is made first")
        recordings[workload] = _record(spec.alone(workload), binaries, runs=RUNS, beside=beside, folder=HERE, tell=tell)
    return recordings


def _asked(what: str | None) -> tuple[CampaignSpec, Path]:
    """A spec with the workloads to record and their cluster, and where its relative paths start."""
    from campaigns.spec.campaign_spec import CampaignSpec
    from campaigns.workloads import WORKLOADS
    from mutineer.commands.plan import load

    if what is not None and what not in WORKLOADS:
        spec, _, beside = load(Path(what))
        return spec, beside or Path.cwd()
    workloads = [what] if what is not None else list(WORKLOADS.names())
    return CampaignSpec.model_validate({"name": "record", "workloads": workloads}), Path.cwd()


def _say(words: str) -> None:
    click.echo(words, err=True)


def _record(
    spec: CampaignSpec,
    binaries: Assets,
    *,
    runs: int,
    beside: Path,
    folder: Path,
    tell: Callable[[str], None],
) -> Recording:
    import tempfile

    from campaigns.planning.recording import write_recording
    from campaigns.planning.recordings_found import file_name
    from campaigns.running.host import sandboxes_for
    from campaigns.running.recording_runs import record_workload

    (workload,) = spec.workloads
    parallel = sandboxes_for(spec, 2 * runs)

    def told(done: int, of: int, result: Result) -> None:
        tell(f"{workload}: golden run {done} of {of}, {result.seconds:.1f} s")

    with tempfile.TemporaryDirectory(prefix="mutineer-record-") as logs:
        recording = record_workload(
            spec, binaries, runs=runs, parallel=parallel, progress=_Notes(tell), logs=Path(logs), beside=beside,
            told=told,
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(spec)
    write_recording(recording, path)
    tell(f"{path}: {path.stat().st_size / 1000:.0f} kB, sha256 {recording.sha256}")
    return recording


class _Notes:
    """Of what the sandboxes do, only what a person should know."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.note = tell

    def sandbox(self, name: str, state: str) -> None:
        """Nobody is told."""
