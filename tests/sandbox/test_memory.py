"""What components remember does not outlive a reset: golden runs after the faults that were seen to leave something."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.record import PlannedExperiment
from campaigns.running.executor import Task
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.sandbox.executing import carried_out

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]


def _fault(number: int, kind: str, identity: str, field: str, occurrence: int) -> Task:
    """A bit of the first character flipped, as the rules of the hour in docs/decisions/016 had it."""
    group = "discovery.k8s.io" if kind == "EndpointSlice" else ""
    target = Target(kind=kind, group=group, identity=f"{kind}/{identity}", field=field, occurrence=occurrence)
    rule = Rule(
        id=f"e{number}",
        channel=Channel.APISERVER_TO_ETCD,
        model="bit-flip",
        parameters={"bit": 0, "character": "first"},
        target=target,
    )
    return Task(PlannedExperiment(id=f"e{number}", workload="deploy", rule=rule))


def _golden(number: int) -> Task:
    return Task(PlannedExperiment(id=f"g{number}", workload="deploy"))


TASKS = [
    _fault(1, "Endpoints", "default/web", "metadata.name", 3),
    _golden(1),
    _fault(2, "EndpointSlice", "default/web#1", "metadata.labels[kubernetes.io/service-name]", 2),
    _golden(2),
]


def test_a_golden_run_after_a_fault_that_controllers_remember_is_as_if_there_had_been_none(
    binaries: Assets, tmp_path: Path
) -> None:
    results = carried_out(TASKS, binaries, tmp_path)
    rungs = ["recreate", "rollback", "recreate", "rollback"]
    assert [(r.planned.id, r.error, r.reset and r.reset.rung) for r in results] == [
        (task.planned.id, None, rung) for task, rung in zip(TASKS, rungs, strict=True)
    ]
    for result in results:
        seen = result.observation
        assert seen is not None and not seen.unclean
        if result.planned.golden:
            assert seen.final_counts["Endpoints"] == seen.final_counts["Service"], "one each"
            assert {series.samples[-1].outcome for series in seen.probes} == {"ok"}
        else:
            assert seen.firings and seen.renamed == (seen.firings[0].key,)
