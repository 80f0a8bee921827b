"""A campaign from spec to finished record: plan, execute, judge, store. What is shown meanwhile is the view's."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

from campaigns.assets import Assets
from campaigns.clusters.sandbox.components import deviations
from campaigns.clusters.sandbox.outside import Settings
from campaigns.environment import inotify_free
from campaigns.experiment import Limits
from campaigns.judging import Bench
from campaigns.plan import plan
from campaigns.record import ExperimentRecord
from campaigns.runner import Executor, LocalExecutor, Progress, sandboxes_side_by_side
from campaigns.spec import CampaignSpec
from campaigns.store import Run, create_run
from failure_db.catalogue import load
from injector.rules import JSONValue

__all__ = ["CampaignView", "Host", "run_campaign"]


class CampaignView(Progress, Protocol):
    """Told how a campaign goes."""

    def planned(self, *, golden: int, faults: int, sandboxes: int, folder: Path) -> None: ...

    def finished(self, record: ExperimentRecord) -> None:
        """One experiment is done and stored; its verdict is by the golden runs so far."""

    def note(self, words: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, for records: a figure means little without it."""

    cores: int
    memory_bytes: int
    kernel: str
    python: str

    @classmethod
    def this(cls) -> Host:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(len(os.sched_getaffinity(0)), pages, platform.release(), platform.python_version())


def run_campaign(
    spec: CampaignSpec, spec_text: str, folder: Path, assets: Assets, view: CampaignView, *, beside: Path | None = None
) -> Run:
    """Runs it all into `folder`; returns the run, open. On Ctrl-C (KeyboardInterrupt goes on) all that is finished is
    kept, and judged. `beside`: where relative paths in the spec start (None: the current folder)."""
    the_plan, host, settings = plan(spec), Host.this(), spec.cluster.to_sandbox_settings(beside or Path.cwd())
    parallel = _parallel(spec, host, len(the_plan.experiments))
    run = create_run(folder, spec_text, the_plan, _metadata(spec, host, assets, settings, parallel))
    golden = sum(e.golden for e in the_plan.experiments)
    view.planned(golden=golden, faults=len(the_plan.experiments) - golden, sandboxes=parallel, folder=folder)
    executor = LocalExecutor(
        binaries=assets,
        settings=settings,
        limits=_limits(spec),
        experiment_s=spec.time_limits.experiment_s,
        parallel=parallel,
        progress=view,
        logs=folder / "logs",
    )
    bench = Bench(load())
    with contextlib.ExitStack() as on_error:
        on_error.callback(run.close)
        try:
            with _closing(executor, run, bench, view):
                for result in executor.run(the_plan.experiments):
                    record = bench.record(result)
                    run.add(record)
                    view.finished(record)
        finally:
            run.judge_again(bench.judged)
            run.note("ended", _now())
        on_error.pop_all()
    return run


@contextlib.contextmanager
def _closing(executor: LocalExecutor, run: Run, bench: Bench, view: CampaignView) -> Iterator[Executor]:
    """Ends the sandboxes whatever happens, and keeps what was finished but not yet handed over."""
    try:
        yield executor
    finally:
        try:
            executor.close()
        finally:
            for result in executor.unfinished():
                if result.planned.id not in run.finished_ids():
                    record = bench.record(result)
                    run.add(record)
                    view.finished(record)


def _parallel(spec: CampaignSpec, host: Host, experiments: int) -> int:
    if spec.parallelism != "auto":
        return min(spec.parallelism, experiments)
    return sandboxes_side_by_side(host.cores, _available_bytes(), inotify_free(), experiments)


def _available_bytes() -> int:
    """Memory that can be had without swapping: free, and what the page cache would give back (SC_AVPHYS_PAGES counts
    only what is free, next to nothing on a machine that has read many files)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def _limits(spec: CampaignSpec) -> Limits:
    limits = spec.time_limits
    return Limits(
        prepare_s=limits.prepare_s,
        settle_s=limits.settle_s,
        quiet_s=limits.quiet_s,
        stuck_s=limits.stuck_s,
        steady_s=limits.steady_s,
        canary_s=limits.canary_s,
    )


def _metadata(
    spec: CampaignSpec, host: Host, assets: Assets, settings: Settings, parallel: int
) -> Mapping[str, JSONValue]:
    versions: dict[str, JSONValue] = {name: assets.entries[name].version for name in sorted(assets)}
    return {
        "spec": spec.name,
        "seed": spec.seed,
        "started": _now(),
        "versions": {"mutineer": metadata.version("mutineer"), **versions},
        "host": {
            "cores": host.cores,
            "memory_bytes": host.memory_bytes,
            "kernel": host.kernel,
            "python": host.python,
            "sandboxes": parallel,
        },
        "cluster": _cluster(spec, settings),
        "deviations": [
            f"{d.component} {d.setting}: {d.kubeadm} → {d.ours} ({d.why})"
            for d in deviations(
                settings["profile"],
                etcd_tls=settings["etcd_tls"],
                component_channels=settings["component_channels"],
            )
        ],
        "assets": dict(assets.origins),
    }


def _cluster(spec: CampaignSpec, settings: Settings) -> dict[str, JSONValue]:
    """As asked for, with all defaults; images with the files of this machine that were run."""
    images: dict[str, JSONValue] = {
        name: {"command": list(image.command), "files": dict(image.files)} for name, image in settings["images"].items()
    }
    asked: dict[str, JSONValue] = spec.cluster.model_dump(mode="json")
    return {**asked, "furniture": list(settings["furniture"]), "images": images}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
