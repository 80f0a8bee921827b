"""When a rollback is not enough."""

from __future__ import annotations

import pytest

from campaigns.running.worker import lingers
from campaigns.workloads.deploy import DEPLOY
from campaigns.workloads.failover import FAILOVER
from classifiers.observation import ComponentHealth, Observation
from tests.builders import canary, components, firing, observation


def health(**changes: object) -> tuple[ComponentHealth, ...]:
    return components(etcd=ComponentHealth(name="etcd", **{"alive": True, "ready": True, **changes}))  # type: ignore[arg-type]


def crashed(name: str) -> tuple[ComponentHealth, ...]:
    return components(**{name: ComponentHealth(name=name, alive=True, ready=True, restarts=1)})


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (observation(), None),
        (
            observation(firings=(firing(key="/registry/masterleases/172.30.0.1"),)),
            "the rollback does not compare",
        ),
        (observation(firings=(firing(key="/registry/leases/kube-node-lease/node-1"),)), None),
        (observation(firings=(firing(key="/registry/events/default/new"),)), None),
        (observation(firings=(firing(key="/registry/minions/node-1"),)), "the rollback does not compare"),
        (observation(firings=(firing(),)), None),
        (observation(undecodable=("/registry/pods/default/a",)), "a stored object could not be decoded"),
        (observation(components=health(restarts=1)), "etcd had ended"),
        (observation(components=health(alive=False, ready=False)), "etcd had ended"),
        (observation(canary=canary(pod_ready=None, endpoints=None, traffic=None)), "the canary did not come to life"),
        (observation(firings=(firing(key="/registry/configmaps/kube-system/coredns"),)), "a kubelet may have written"),
        (observation(firings=(firing(key="/registry/configmaps/default/web-config"),)), None),
        (observation(renamed=("/registry/services/endpoints/default/web",)), "whoever watches keeps an object"),
        (observation(firings=(firing(operation="watch"),)), "what was told wrongly of"),
        (observation(firings=(firing(operation="list"),)), "what was told wrongly of"),
        (observation(firings=(firing(operation="update/status"),)), None),
        (observation(components=crashed("kube-scheduler")), None),
        (observation(components=crashed("kube-controller-manager")), None),
        (observation(unclean=("deploy was not prepared",)), "deploy was not prepared"),
        (observation(canary=canary(traffic=None)), "the canary did not come to life"),
    ],
)
def test_what_a_component_may_remember_asks_for_a_fresh_sandbox(seen: Observation, why: str | None) -> None:
    found = lingers(seen, DEPLOY, {"/registry/configmaps/kube-system/coredns"})
    assert found is None if why is None else found is not None and found.startswith(why)


def test_after_a_node_was_switched_off_the_cluster_is_made_anew() -> None:
    found = lingers(observation(), FAILOVER, ())
    assert found is not None and found.startswith("kill node node-2: pods of the baseline ended with it")
