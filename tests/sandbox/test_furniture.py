"""A sandbox with all furniture: each piece does what a real one does, with the user's own kubectl from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES, ImageConfig
from campaigns.clusters.sandbox.furniture import FURNITURE
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

SHELL = "example.com/shell:1"


class Kubectl:
    def __init__(self, binary: Path, kubeconfig: Path) -> None:
        self._command = [str(binary), f"--kubeconfig={kubeconfig}"]

    def run(self, *argv: str, given: str | None = None) -> tuple[int, str]:
        """Exit code and what it said."""
        done = subprocess.run(
            [*self._command, *argv], input=given, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    def __call__(self, *argv: str, given: str | None = None) -> str:
        code, said = self.run(*argv, given=given)
        assert code == 0, f"{argv}: {said}"
        return said.strip()

    def refuses(self, *argv: str, given: str | None = None) -> str:
        code, said = self.run(*argv, given=given)
        assert code != 0, f"{argv} was not refused: {said}"
        return said

    def get(self, *argv: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *argv, "-o", "json"))
        return found

    def apply(self, *documents: dict[str, Any]) -> None:
        self("apply", "-f", "-", given=yaml.safe_dump_all(documents))

    def waits(self, *argv: str, within_s: int = 60) -> None:
        self("wait", f"--timeout={within_s}s", *argv)


@pytest.fixture(scope="module")
def kubectl(binaries: Assets) -> Iterator[Kubectl]:
    folder = Path(f"/tmp/mt-{os.getpid()}-{time.monotonic_ns() % 10**9}")  # short: sockets in it
    folder.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        config = outside.prepare(
            "furnished",
            binaries={name: binaries[name] for name in BINARIES},
            images={SHELL: ImageConfig(command=("/bin/sh",))},
            furniture=tuple(FURNITURE),
        )
        try:
            outside.up(config, lambda _: None)
            yield Kubectl(binaries["kubectl"], config.folder / "kubeconfig")
        finally:
            if "furnished" in outside.running():
                outside.down("furnished")
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    kubectl("create", "namespace", "elsewhere")
    yield "elsewhere"
    kubectl("delete", "namespace", "elsewhere", "--wait=true", "--timeout=60s")


@pytest.fixture
def web(kubectl: Kubectl) -> Iterator[str]:
    """Six ready pods labelled app=web in default."""
    kubectl("create", "deployment", "web", "--image=mutineer/web:1", "--replicas=6")
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    yield "web"
    kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")


def shell(name: str, script: str, *, claim: str | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "shell", "image": SHELL, "command": ["sh", "-c", script]}
    spec: dict[str, Any] = {"restartPolicy": "Never", "containers": [container]}
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_a_budget_blocks_evictions_beyond_half(kubectl: Kubectl, web: str) -> None:
    def allowed() -> int:
        return int(kubectl("get", "pdb", web, "-o", "jsonpath={.status.disruptionsAllowed}"))

    wait_until(lambda: allowed() == 3, within_s=20, what="three of six that may go")
    kubectl("scale", "deployment/web", "--replicas=1")
    wait_until(lambda: allowed() == 0, within_s=20, what="none of one that may go")
    pods = [p for p in kubectl.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
    (pod,) = [pod["metadata"]["name"] for pod in pods]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}}
    path = f"/api/v1/namespaces/default/pods/{pod}/eviction"
    said = kubectl.refuses("create", "--raw", path, "-f", "-", given=json.dumps(eviction))
    assert "TooManyRequests" in said and "disruption budget" in said


def test_a_quota_counts_refuses_and_comes_with_defaults(kubectl: Kubectl, web: str) -> None:
    pod = kubectl.get("pods", "-l", "app=web")["items"][0]
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "20m", "memory": "16Mi"}
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "128Mi"}
    used = kubectl("get", "quota", "workloads", "-o", "jsonpath={.status.used.pods}")
    assert used == "6"
    kubectl("patch", "quota", "workloads", "--type=merge", '-p={"spec":{"hard":{"pods":"7"}}}')
    try:
        wait_until(
            lambda: kubectl("get", "quota", "workloads", "-o", "jsonpath={.status.hard.pods}") == "7",
            within_s=20,
            what="the new limit",
        )
        kubectl("scale", "deployment/web", "--replicas=9")
        reasons = ("get", "events", "--field-selector=reason=FailedCreate", "-o", "jsonpath={.items[*].message}")
        wait_until(lambda: "exceeded quota: workloads" in kubectl(*reasons), within_s=20, what="a refusal")
        assert len(kubectl.get("pods", "-l", "app=web")["items"]) == 7
    finally:
        kubectl("patch", "quota", "workloads", "--type=merge", '-p={"spec":{"hard":{"pods":"50"}}}')


def test_a_policy_refuses_too_many_replicas_as_its_parameter_says(kubectl: Kubectl, web: str) -> None:
    many = ("create", "deployment", "many", "--image=mutineer/web:1", "--replicas=51")
    assert "at most 50 replicas are allowed, not 51" in kubectl.refuses(*many)
    assert "at most 50" in kubectl.refuses("scale", "deployment/web", "--replicas=67")
    parameter = ("patch", "configmap", "replica-limit", "-n", "kube-system", "--type=merge")
    kubectl(*parameter, '-p={"data":{"maxReplicas":"7"}}')
    try:
        scale = ("scale", "deployment/web", "--replicas=8", "--dry-run=server")
        wait_until(lambda: "at most 7" in kubectl.run(*scale)[1], within_s=20, what="the new parameter")
    finally:
        kubectl(*parameter, '-p={"data":{"maxReplicas":"50"}}')
    assert kubectl.run("scale", "deployment/coredns", "-n", "kube-system", "--replicas=99", "--dry-run=server")[0] == 0


def test_a_webhook_refuses_and_where_it_is_gone_so_does_everything_but_the_system(
    kubectl: Kubectl, namespace: str
) -> None:
    run = ("run", "p", "--image=mutineer/web:1", "--dry-run=server")
    said = kubectl.refuses(*run, "--privileged")
    assert 'webhook "pods.mutineer.dev" denied the request' in said and "may not be privileged" in said
    kubectl(*run)
    kubectl("scale", "deployment/webhook", "-n", "furniture", "--replicas=0")
    kubectl.waits("--for=delete", "pod", "-l", "app=webhook", "-n", "furniture")
    try:
        # a connection that kube-apiserver has kept may live for a moment
        wait_until(lambda: kubectl.run(*run)[0] != 0, within_s=20, what="failurePolicy: Fail")
        assert 'failed calling webhook "pods.mutineer.dev"' in kubectl.refuses(*run, "-n", namespace)
        kubectl(*run, "-n", "kube-system")
        kubectl("label", "namespace", namespace, "webhook.mutineer.dev/ignore=yes")
        wait_until(lambda: kubectl.run(*run, "-n", namespace)[0] == 0, within_s=20, what="the label to count")
    finally:
        kubectl("scale", "deployment/webhook", "-n", "furniture", "--replicas=1")
        kubectl("rollout", "status", "deployment/webhook", "-n", "furniture", "--timeout=60s")
    wait_until(lambda: kubectl.run(*run)[0] == 0, within_s=20, what="the webhook to be back")


def test_an_operator_makes_heals_and_cleans_up(kubectl: Kubectl, namespace: str) -> None:
    site = {"apiVersion": "demo.mutineer.dev/v1", "kind": "Site", "metadata": {"name": "s", "namespace": namespace}}
    kubectl.apply({**site, "spec": {"replicas": 2, "port": 81}})
    kubectl.waits("--for=condition=Ready", "site/s", "-n", namespace)
    assert kubectl("get", "service", "s", "-n", namespace, "-o", "jsonpath={.spec.ports[0].port}") == "81"
    slices = ("get", "endpointslices", "-n", namespace, "-o", "jsonpath={.items[*].endpoints[*].addresses[0]}")
    wait_until(lambda: len(kubectl(*slices).split()) == 2, within_s=20, what="two endpoints")

    def replicas() -> str:
        return kubectl("get", "deployment", "s", "-n", namespace, "-o", "jsonpath={.spec.replicas}")

    kubectl("scale", "deployment/s", "-n", namespace, "--replicas=5")
    wait_until(lambda: replicas() == "2", within_s=20, what="two replicas again")
    uid = kubectl("get", "deployment", "s", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    kubectl("delete", "deployment", "s", "-n", namespace)
    new = ("get", "deployment", "s", "-n", namespace, "-o", "jsonpath={.metadata.uid}", "--ignore-not-found")
    wait_until(lambda: kubectl(*new) not in ("", uid), within_s=20, what="a new Deployment")
    kubectl.waits("--for=condition=Ready", "site/s", "-n", namespace)
    negative = ("patch", "site", "s", "-n", namespace, "--type=merge", '-p={"spec":{"replicas":-1}}')
    assert "should be greater than or equal to 0" in kubectl.refuses(*negative)
    kubectl("delete", "site", "s", "-n", namespace)
    kubectl.waits("--for=delete", "deployment/s", "service/s", "-n", namespace)


def test_a_claim_binds_and_one_pod_reads_what_another_wrote(kubectl: Kubectl) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "500Mi"}}},
    }
    kubectl.apply(claim, shell("writer", "echo kept > /data/file", claim="data"))
    try:
        kubectl.waits("--for=jsonpath={.status.phase}=Succeeded", "pod/writer")
        volume = kubectl("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
        assert kubectl("get", "pv", volume, "-o", "jsonpath={.status.phase} {.spec.claimRef.name}") == "Bound data"
        kubectl("delete", "pod", "writer")
        kubectl.apply(shell("reader", "cat /data/file", claim="data"))
        kubectl.waits("--for=jsonpath={.status.phase}=Succeeded", "pod/reader")
        assert kubectl("logs", "reader") == "kept"
        node = kubectl("get", "pod", "reader", "-o", "jsonpath={.spec.nodeName}")
        assert volume.startswith(f"{node}-disk-"), "the pod went where the volume is"
    finally:
        kubectl("delete", "pod", "writer", "reader", "--ignore-not-found")
        kubectl("delete", "pvc", "data", "--timeout=30s")


def test_the_metrics_api_answers_kubectl_top(kubectl: Kubectl) -> None:
    def nodes() -> list[str]:
        return [line.split()[0] for line in kubectl.run("top", "nodes", "--no-headers")[1].splitlines()]

    # a kubelet looks at its machine every 10 to 15 s, and two looks are needed
    wait_until(lambda: nodes() == ["node-1", "node-2", "node-3"], within_s=60, what="all nodes to be told of")
    listed = kubectl("top", "pods", "-n", "kube-system", "--no-headers").splitlines()
    pods = {line.split()[0].rpartition("-")[0]: line.split() for line in listed}
    cpu, memory = pods["kube-proxy"][1:]
    assert cpu.endswith("m") and int(memory.removesuffix("Mi")) > 10
    said = kubectl.refuses("top", "nodes", "--as=system:serviceaccount:default:default")
    assert "Forbidden" in said or "forbidden" in said


@pytest.mark.slow  # the autoscaler looks every 15 s (--horizontal-pod-autoscaler-sync-period)
def test_an_autoscaler_scales_a_busy_deployment(kubectl: Kubectl) -> None:
    burn = "trap exit TERM; while :; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.1; done"
    labels = {"app": "busy"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "busy"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": shell("", burn)["spec"]["containers"]}},
        },
    }
    target = {"type": "Utilization", "averageUtilization": 50}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "busy"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    kubectl.apply(deployment, autoscaler)
    try:
        kubectl.waits("--for=jsonpath={.spec.replicas}=2", "deployment/busy", within_s=90)
    finally:
        kubectl("delete", "hpa/busy", "deployment/busy", "--cascade=foreground", "--timeout=60s")
