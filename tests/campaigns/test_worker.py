"""When a rollback is not enough."""

from __future__ import annotations

import pytest

from campaigns.worker import lingers
from classifiers.observation import ComponentHealth, Observation
from tests.builders import canary, components, firing, observation


def health(**changes: object) -> tuple[ComponentHealth, ...]:
    return components(etcd=ComponentHealth(name="etcd", **{"alive": True, "ready": True, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (observation(), None),
        (
            observation(firings=(firing(key="/registry/leases/kube-node-lease/node-1"),)),
            "the rollback does not compare",
        ),
        (observation(firings=(firing(key="/registry/minions/node-1"),)), "the rollback does not compare"),
        (observation(firings=(firing(),)), None),
        (observation(undecodable=("/registry/pods/default/a",)), "a stored object could not be decoded"),
        (observation(components=health(restarts=1)), "etcd had ended"),
        (observation(components=health(alive=False, ready=False)), "etcd had ended"),
        (observation(canary=canary(pod_ready=None, endpoints=None, traffic=None)), "the canary did not come to life"),
        (observation(canary=canary(traffic=None)), "the canary did not come to life"),
    ],
)
def test_what_a_component_may_remember_asks_for_a_fresh_sandbox(seen: Observation, why: str | None) -> None:
    found = lingers(seen)
    assert found is None if why is None else found is not None and found.startswith(why)
