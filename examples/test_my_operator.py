"""Faults in the test of one's own operator: pytest --mutineer examples/test_my_operator.py (docs/ci.md).

The fixtures come with mutineer's pytest plugin. `cluster` is a real Kubernetes on this machine, booted once and rolled
back for each test; `inject` does one fault and undoes it. Your operator runs wherever you like: here on the host, with
`cluster.kubeconfig`, or in the cluster, as an image of `--mutineer-config cluster.yaml` (examples/cluster.yaml). The
operator under test stands in this example for Kubernetes' own Deployment and EndpointSlice controllers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mutineer.testing import Cluster, Inject

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "mutineer/web:1", ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""


@pytest.fixture
def web(cluster: Cluster) -> Cluster:
    """A Deployment that is up."""
    cluster.kubectl("apply", "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return cluster


def eventually(holds: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_a_pod_that_is_recorded_as_failed_is_replaced(web: Cluster, inject: Inject) -> None:
    """A fault at rest: one stored value is changed, now."""
    before = web.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()
    inject("value-set", "Pod", namespace="default", labels="app=web", field="status.phase", value="Failed")

    def replaced() -> bool:
        names = web.kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name")
        return len(names.split()) == 2 and set(names.split()) != set(before)

    assert eventually(replaced)


def test_a_service_that_selects_nothing_has_no_endpoints_until_it_is_mended(web: Cluster, inject: Inject) -> None:
    """In a `with`, the fault is there inside, and undone at its end."""

    def endpoints() -> int:
        path = "{.items[*].endpoints[*].addresses}"
        slices = web.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", f"jsonpath={path}")
        return len(slices.split())

    assert eventually(lambda: endpoints() == 2)
    with inject("value-set", "Service/default/web", field="spec.selector[app]", value="wax") as fault:
        assert (fault.firing.field_before, fault.firing.field_after) == ("web", "wax")
        assert eventually(lambda: endpoints() == 0)
    assert eventually(lambda: endpoints() == 2)


def test_what_is_lost_on_its_way_to_the_store_is_written_again(cluster: Cluster, inject: Inject) -> None:
    """In flight: armed first; leaving the `with` waits until it has fired, and fails the test if it never does."""
    with inject("drop", "ReplicaSet/default/web#1", channel="apiserver-to-etcd", told="error"):
        cluster.kubectl("apply", "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
