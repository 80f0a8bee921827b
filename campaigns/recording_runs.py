"""Makes recordings: golden runs of a workload in which what passes in the channels is noted.

In one run one channel of each forwarder can be noted, so that four channels take two runs. All runs go through the
components' forwarder, which changes nothing in what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from campaigns.assets import Assets
from campaigns.executor import FailedAttempt, Progress, Result, Task
from campaigns.record import RecordedRun
from campaigns.recording import Recording, build
from campaigns.runner import LocalExecutor
from campaigns.spec import CampaignSpec
from injector.errors import ClusterError
from injector.targets import Channel

__all__ = ["IN_FLIGHT", "record_workload", "recorded_runs"]

IN_FLIGHT = tuple(channel for channel in Channel if not channel.at_rest)


def recorded_runs(workload: str, channels: Collection[Channel], runs: int) -> list[RecordedRun]:
    """The golden runs that it takes to have `runs` of every channel."""
    of_etcd = [channel for channel in IN_FLIGHT if channel in channels and not channel.of_components]
    of_components = [channel for channel in IN_FLIGHT if channel in channels and channel.of_components]
    together = [
        tuple(pair for pair in (of_etcd[n : n + 1] + of_components[n : n + 1]))
        for n in range(max(len(of_etcd), len(of_components)))
    ]
    return [
        RecordedRun(id=f"{workload}-{number}-{n}", workload=workload, record=each)
        for number in range(1, runs + 1)
        for n, each in enumerate(together, 1)
    ]


def record_workload(
    spec: CampaignSpec,
    assets: Assets,
    *,
    channels: Collection[Channel] = IN_FLIGHT,
    runs: int,
    parallel: int,
    progress: Progress,
    logs: Path,
    beside: Path,
    told: Callable[[int, int, Result], None] = lambda done, of, result: None,
) -> Recording:
    """Runs them and makes a recording of them. `spec` is of one workload (CampaignSpec.alone). ClusterError if one of
    the runs failed. `beside`: where relative paths of the spec start; `told` hears of each run that is done."""
    (workload,) = spec.workloads
    through = spec.model_copy(update={"cluster": spec.cluster.model_copy(update={"component_channels": True})})
    planned = recorded_runs(workload, channels, runs)
    executor = LocalExecutor(
        binaries=assets,
        settings=through.to_sandbox_settings(beside),
        limits=spec.time_limits.of_experiment(),
        experiment_s=spec.time_limits.experiment_s,
        parallel=min(parallel, len(planned)),
        progress=progress,
        logs=logs,
    )
    results: list[Result] = []
    try:
        for result in _sound(executor.run([Task(each) for each in planned])):
            results.append(result)
            told(len(results), len(planned), result)
    finally:
        executor.close()
    results.sort(key=lambda result: planned.index(_run_of(result)))
    versions = {name: assets.entries[name].version for name in sorted(assets)}
    return build(
        workload, spec.cluster, versions, [(each.recorded, each.seconds) for each in results], results[0].baseline
    )


def _run_of(result: Result) -> RecordedRun:
    assert isinstance(result.planned, RecordedRun)
    return result.planned


def _sound(results: Iterator[Result | FailedAttempt]) -> Iterator[Result]:
    """ClusterError at the first that is no golden run to go by; one that failed once is tried again."""
    for result in results:
        if isinstance(result, FailedAttempt):
            continue
        if result.error is not None or result.observation is None:
            raise ClusterError(f"a golden run of {result.planned.workload} failed: {result.error}")
        if result.observation.unclean:
            raise ClusterError(f"a golden run did not begin: {'; '.join(result.observation.unclean)}")
        if any(not recorded.complete for recorded in result.recorded.values()):
            raise ClusterError(f"a golden run of {result.planned.workload} had more traffic than a recorder keeps")
        yield result
