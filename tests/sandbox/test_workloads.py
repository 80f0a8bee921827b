"""Workloads that prepare something, and others, end to end: golden runs are quiet, faults are the user's own or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets import Assets
from campaigns.record import ExperimentRecord
from campaigns.store import open_run
from classifiers.observation import Handled
from classifiers.verdict import OrchestratorFailure, State
from tests.sandbox.test_campaign import mutineer

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

SPEC = """
name: workloads
workloads: [scale, daemonset]
golden: 4
parallelism: 2
faults:
  - why: more-resources
    channel: apiserver-to-etcd
    model: bit-flip
    parameters: {bit: 3}
    target: {kind: Deployment, identity: Deployment/default/web, field: spec.replicas}
  - why: network
    channel: apiserver-to-etcd
    model: value-set
    parameters: {value: wax}
    target: {kind: Service, identity: Service/default/agent, field: "spec.selector[app]"}
"""


@pytest.fixture(scope="module")
def run(binaries: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One small campaign, run once for all tests of this module."""
    folder = tmp_path_factory.mktemp("workloads")
    (folder / "workloads.yaml").write_text(SPEC)
    mutineer("run", "workloads.yaml", "--name", "small", cwd=folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def records(run: Path) -> list[ExperimentRecord]:
    with open_run(run / "runs" / "small") as opened:
        return list(opened.records())


def test_golden_runs_of_each_workload_report_no_failure(records: list[ExperimentRecord]) -> None:
    goldens = [(r.planned.workload, str(r.verdict.orchestrator), str(r.verdict.client)) for r in records
               if r.planned.golden]  # fmt: skip
    assert sorted(goldens) == [("daemonset", "none", "none")] * 4 + [("scale", "none", "none")] * 4


def test_each_fault_fires_in_the_workload_that_has_its_target_and_in_no_other(records: list[ExperimentRecord]) -> None:
    found = {(r.planned.workload, r.planned.why): r.verdict for r in records if not r.planned.golden}
    scaled, lost = found["scale", "more-resources"], found["daemonset", "network"]
    assert scaled.orchestrator is OrchestratorFailure.MORE_RESOURCES, scaled.reasons
    assert lost.orchestrator is OrchestratorFailure.NETWORK, lost.reasons
    for verdict in (found["scale", "network"], found["daemonset", "more-resources"]):
        assert verdict.state is State.INCONCLUSIVE and any("not fired" in reason for reason in verdict.reasons)


def test_what_is_prepared_is_neither_written_nor_hit_but_probed_before_the_start(
    records: list[ExperimentRecord],
) -> None:
    for record in records:
        observation = record.observation
        assert observation is not None and not observation.unclean
        first = min(sample.at_s for series in observation.probes for sample in series.samples)
        created = {w.identity for w in observation.writes if w.operation == "create"}
        if record.planned.workload == "scale":
            assert observation.milestones["traffic"] == 0.0 and first < -0.5
            assert "Deployment/default/web" not in created
            before = [s for series in observation.probes for s in series.samples if s.at_s < 0]
            assert {sample.outcome for sample in before} == {"ok"}
        else:
            assert first >= 0.0 and "DaemonSet/default/agent" in created
            assert observation.wanted_pods == 3


def test_the_request_that_scales_is_known_as_the_user_s_own(run: Path) -> None:
    shown: dict[str, Any] = json.loads(mutineer("show", "small", "--json", cwd=run))
    scaled = next(e for e in shown["experiments"] if e["orchestrator"] == "more-resources")
    assert scaled["aware"] is False, "they asked, and nobody told them"
    with open_run(run / "runs" / "small") as opened:
        record = next(r for r in opened.records() if r.planned.id == scaled["id"])
    assert record.observation is not None
    (firing,) = record.observation.firings
    assert (firing.actor, firing.field_before, firing.field_after) == ("mutineer-user", 4, 12)
    assert record.reset is not None and record.reset.rung == "rollback"
    (handled,) = record.observation.handled
    assert handled == Handled(key=firing.key, identity="Deployment/default/web", decodable=True), "twelve is as good"
