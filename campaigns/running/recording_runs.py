"""Makes recordings: golden runs of a workload in which what passes in the channels is noted.

In one run one channel of each forwarder can be noted, so that four channels take two runs. All runs go through the
components' forwarder, which changes nothing in what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from campaigns.assets import Assets
from campaigns.planning.recording import Recording, build
from campaigns.record import RecordedRun, Result
from campaigns.running.executor import FailedAttempt, Progress, Task
from campaigns.running.runner import LocalExecutor
from campaigns.spec.campaign_spec import CampaignSpec
from injector.errors import ClusterError
from injector.targets import Channel

__all__ = ["IN_FLIGHT", "record_workload", "recorded_runs"]

_ATTEMPTS = 2
"""For a golden run that is none to go by: once more."""

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
        missing = list(planned)
        for _ in range(_ATTEMPTS):
            for result in executor.run([Task(each) for each in missing]):
                if isinstance(result, FailedAttempt):
                    continue  # it is tried again by itself
                why = _unsound(result)
                if why is not None:
                    progress.note(f"a golden run of {workload} is left out: {why}")
                    continue
                results.append(result)
                missing.remove(_run_of(result))
                told(len(results), len(planned), result)
            if not missing:
                break
        else:
            raise ClusterError(f"{len(missing)} golden runs of {workload} failed {_ATTEMPTS} times: {why}")
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


def _unsound(result: Result) -> str | None:
    """Why it is no golden run to go by, None if it is."""
    seen = result.observation
    if result.error is not None or seen is None:
        return result.error or "it was not observed"
    if seen.unclean:
        return f"it did not begin: {'; '.join(seen.unclean)}"
    if seen.blind:
        return f"not everything was seen: {'; '.join(seen.blind)}"
    if seen.milestones.get("settled") is None:
        return "it did not come to rest"
    if any(not recorded.complete for recorded in result.recorded.values()):
        return "it had more traffic than a recorder keeps"
    return None
