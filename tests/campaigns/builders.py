"""Builders of plans and records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from campaigns.planning.plan import Plan, plan
from campaigns.record import ExperimentRecord, IncidentMatch, PlannedExperiment, Reset
from campaigns.spec.campaign_spec import CampaignSpec
from campaigns.store import Judgement, Run
from classifiers.judge import judge
from tests.builders import baseline, faulty, goldens, rule

SPEC = """\
name: small
golden: 4
faults:
  - why: a wrong word
    channel: apiserver-to-etcd
    model: value-set
    parameters: {value: wax}
    target: {kind: Service, identity: Service/default/web, field: "spec.selector[app]"}
  - why: a lost pod
    channel: apiserver-to-etcd
    model: drop
    parameters: {told: success}
    target: {kind: Pod, identity: Pod/default/web#3}
"""


def spec(**changes: Any) -> CampaignSpec:
    from campaigns.spec.campaign_spec import parse_spec

    return parse_spec(SPEC, file="small.yaml").model_copy(update=changes)


def small_plan() -> Plan:
    return plan(spec())


def record(planned: PlannedExperiment | None = None, **changes: Any) -> ExperimentRecord:
    """A finished experiment, judged: of `planned`, or one with a fault."""
    experiment = planned or PlannedExperiment(id="e0123456789", workload="deploy", rule=rule(), why="a wrong word")
    observed = goldens(1)[0] if experiment.golden else faulty()
    built: dict[str, Any] = {
        "planned": experiment,
        "verdict": judge(observed, baseline(), golden=experiment.golden),
        "observation": observed,
        "incidents": () if experiment.golden else (IncidentMatch("monzo-empty-endpoints-2017", 0.7, "same field"),),
        "reset": Reset("rollback", 0.2, "1234 keys equal"),
        "seconds": 9.5,
        "sandbox": "s1",
    }
    return ExperimentRecord(**{**built, **changes})


def judge_again(run: Run, judged: Callable[[ExperimentRecord], ExperimentRecord]) -> None:
    """Keeps what `judged` says of each finished experiment, where that is anything new."""
    run.add_judgements(Judgement.of(latest) for each in run.records() if (latest := judged(each)) != each)
