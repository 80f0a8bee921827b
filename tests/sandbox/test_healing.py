"""A fault is removed after its experiment, and the cluster comes back, or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.record import PlannedExperiment
from campaigns.running.executor import Task
from campaigns.spec.campaign_spec import TimeLimits
from injector.faults import Parameters
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.sandbox.executing import carried_out

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]


def _task(number: int, kind: str, field: str, parameters: Parameters, model: str = "value-set") -> Task:
    target = Target(
        kind=kind, group="apps" if kind == "Deployment" else "", identity=f"{kind}/default/web", field=field
    )
    rule = Rule(id=f"e{number}", channel=Channel.APISERVER_TO_ETCD, model=model, parameters=parameters, target=target)
    return Task(PlannedExperiment(id=f"e{number}", workload="deploy", rule=rule))


TASKS = [
    _task(1, "Service", "spec.selector[app]", {"value": "wax"}),
    _task(2, "Deployment", "spec.replicas", {"bit": 3}, "bit-flip"),
]


def test_what_follows_from_stored_state_follows_again_once_it_is_right(binaries: Assets, tmp_path: Path) -> None:
    limits = TimeLimits(settle_s=10.0)
    done = carried_out(TASKS, binaries, tmp_path, limits=limits, heal=True)
    results = {result.planned.id: result for result in done}
    for result in results.values():
        seen = result.observation
        assert seen is not None and result.error is None
        (look,) = seen.looks
        assert look.done == "the fault was removed" and look.rested_s is not None and look.rested_s < limits.heal_s
        assert {series.samples[-1].outcome for series in look.probes} == {"ok"}
        assert all(at_s is not None for at_s in look.canary.stages.values())
        assert result.reset is not None and result.reset.rung == "rollback"
    broken, many = results["e1"].observation, results["e2"].observation
    assert broken is not None and "refused" in {s.samples[-1].outcome for s in broken.probes if s.service == "web"}
    assert many is not None and (len(many.pods), len(many.looks[0].pods)) == (14, 6)
