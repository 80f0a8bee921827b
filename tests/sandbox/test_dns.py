"""A corrupted Corefile: DNS fails, and the verdict is `network`, though every address goes on answering."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from classifiers.golden import Baseline
from classifiers.judge import judge
from classifiers.observation import Observation, ProbeKind
from classifiers.record import observation_from_json
from classifiers.trace import trace_from_bytes
from classifiers.verdict import ClientFailure, OrchestratorFailure
from injector.rules import Rule
from injector.rules_json import rule_to_json
from injector.targets import Channel, Target
from tests.conftest import wait_until
from tests.sandbox.inside import Inside

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(200)]

LIMITS = {"settle_s": 30, "quiet_s": 0.7, "stuck_s": 5, "steady_s": 3.2, "canary_s": 10}
COREFILE = "ConfigMap/kube-system/coredns"
CORRUPTED = Rule(
    id="corefile",
    channel=Channel.AT_REST_WRITE,
    model="value-set",
    parameters={"value": ".:53 { no such plugin }"},
    target=Target(kind="ConfigMap", identity=COREFILE, field="data[Corefile]"),
)


class Worker:
    """The executor of one sandbox, spoken to as the runner does."""

    def __init__(self, binaries: Assets) -> None:
        config = outside.prepare("dns", binaries=binaries, audit=True)
        self._launched = outside.launch(config, "campaigns.running.worker", pipes=True, dies_with_us=True)

    def wait(self, said: str, on_phase: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        process: subprocess.Popen[bytes] = self._launched.process
        assert process.stdout is not None
        for line in process.stdout:
            message: dict[str, Any] = json.loads(line)
            assert message["said"] != "error", message["error"]
            if message["said"] == "phase":
                on_phase(message["phase"])
            if message["said"] == said:
                return message
        raise AssertionError("the worker has ended")

    def run(self, rule: Rule | None, on_phase: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        document = rule_to_json(rule) if rule else None
        task = {"do": "run", "id": "x", "workload": "deploy", "rule": document, "limits": LIMITS}
        stdin = self._launched.process.stdin
        assert stdin is not None
        stdin.write(json.dumps(task).encode() + b"\n")
        stdin.flush()
        return self.wait("done", on_phase)

    def inside(self) -> Inside:
        pid = self._launched.init_pid
        assert pid is not None
        return Inside("dns", (self._launched.config, pid))

    def end(self) -> None:
        self._launched.end()


@pytest.fixture
def worker(binaries: Assets, state_home: Path) -> Iterator[Worker]:
    started = Worker(binaries)
    try:
        started.wait("ready")
        yield started
    finally:
        started.end()


def restart_dns(worker: Worker) -> Callable[[str], None]:
    """As soon as the Corefile is corrupted, CoreDNS' pods are replaced, as when a node is drained: CoreDNS itself looks
    at its Corefile every 30 s only, and keeps the old one if it can't read the new."""

    def on(phase: str) -> None:
        if phase == "injecting at rest":
            inside = worker.inside()
            corefile = ("get", "configmap", "coredns", "-n", "kube-system", "-o", "yaml")
            corrupted = lambda: "no such plugin" in inside.kubectl(*corefile)  # noqa: E731
            wait_until(corrupted, within_s=20, what="the corrupted Corefile")
            dns = ("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
            inside.kubectl("delete", *dns, "--grace-period=0", "--force")

    return on


def test_a_corrupted_corefile_is_a_network_failure_and_a_golden_run_is_none(worker: Worker) -> None:
    done = worker.run(None)
    golden = observation_from_json(done["observation"])
    faulty = observation_from_json(worker.run(CORRUPTED, restart_dns(worker))["observation"])
    baseline = Baseline.from_observations("deploy", [golden] * 3)

    quiet = judge(golden, baseline, golden=True)
    assert (quiet.orchestrator, quiet.client) == (OrchestratorFailure.NONE, ClientFailure.NONE), quiet.reasons
    looks_golden(golden, done)

    verdict = judge(faulty, baseline)
    assert verdict.orchestrator is OrchestratorFailure.NETWORK, verdict.reasons
    assert verdict.client is not ClientFailure.NONE
    assert any("DNS of web is" in reason for reason in verdict.reasons)
    assert {s.kind for s in faulty.probes if s.samples[-1].outcome != "ok"} == {ProbeKind.DNS}, "addresses answer"
    (dns,) = (c for c in faulty.components if c.name == "kube-system/coredns")
    assert dns.ready is False and dns.detail.startswith("0 of 2 pods are ready: Pod/kube-system/coredns")
    assert any(e.about.startswith("Pod/kube-system/coredns") and e.type == "Warning" for e in faulty.events)


def looks_golden(golden: Observation, done: dict[str, Any]) -> None:
    """Every observer saw what there is to see in a golden run."""
    assert not golden.blind and not golden.missing
    assert {(s.kind, s.vantage) for s in golden.probes} == {(k, f"node-{n}") for k in ProbeKind for n in (1, 2, 3)}
    for series in golden.probes:
        assert [s.outcome for s in series.samples[-20:]] == ["ok"] * 20, series.path
        spent = series.samples[-1].at_s - series.samples[0].at_s
        assert (len(series.samples) - 1) / spent > 12, "20 a second, but for a machine that is busy"
    system = {c.name: (c.alive, c.ready, c.restarts) for c in golden.components if "/" in c.name}
    assert system["kube-system/coredns"] == system["kube-system/kube-proxy"] == (True, True, 0)
    assert any((e.reason, e.about) == ("ScalingReplicaSet", "Deployment/default/web") for e in golden.events)
    assert any(e.reason == "Started" and e.about == "Pod/default/web#1" and e.who == "kubelet" for e in golden.events)
    over_time = {series.name: series.samples for series in golden.over_time}
    assert all(s.alive and s.rss_bytes > 1 << 20 for s in over_time["kube-apiserver"])
    assert {s.ready for s in over_time["kube-apiserver"]} == {True} and len(over_time["etcd"]) >= 3
    metrics = {(m.component, m.name): (m.before, m.after) for m in golden.metrics}
    assert metrics["etcd", "etcd_server_proposals_failed_total"] == (0.0, 0.0)
    before, after = metrics["kube-controller-manager", "workqueue_retries_total"]
    assert before is not None and after is not None and after >= before > 0
    assert golden.audit is not None and golden.audit.others > 0
    assert any((a.verb, a.what, a.code) == ("create", "deployments default/web", 201) for a in golden.audit.events)
    trace = trace_from_bytes(base64.b64decode(done["trace"]))
    assert [(s.revision, s.key) for s in trace.steps] == [(w.revision, w.key) for w in golden.writes]
    size = len(json.dumps(done["observation"])) + len(done["trace"])
    assert size < 150_000, "before the store compresses it"
