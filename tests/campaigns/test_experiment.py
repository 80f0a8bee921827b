"""What an experiment makes of components that are down at its end. The cluster is a stand-in that tells its health."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from campaigns import experiment
from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Cluster
from campaigns.experiment import Experiment, Limits
from campaigns.workloads import WORKLOADS
from classifiers.observation import ComponentHealth
from injector.errors import ClusterError
from injector.rules import Rule
from injector.targets import Channel, Target

LIMITS = Limits(settle_s=1, quiet_s=1, stuck_s=1, steady_s=1, canary_s=1)


class Told:
    """A stand-in for a cluster: says one health after another, the last for ever."""

    def __init__(self, *healths: ComponentHealth) -> None:
        self._healths: Iterator[ComponentHealth] = iter(healths)
        self._last = healths[0]

    def health(self) -> tuple[ComponentHealth, ...]:
        self._last = next(self._healths, self._last)
        return (self._last,)


def made(cluster: Told, rule: Rule | None = None) -> Any:
    keyspace = cast(KeySpace, None)
    return Experiment(cast(Cluster, cluster), keyspace, {}, WORKLOADS["deploy"], rule, limits=LIMITS, undo=Path("/"))


def health(name: str, **changes: Any) -> ComponentHealth:
    return ComponentHealth(name=name, **{"alive": True, "ready": True, **changes})


@pytest.mark.parametrize("changes", [{"restarts": 1}, {"alive": False}])
@pytest.mark.parametrize("name", ["forwarder", "runtime"])
def test_the_end_of_a_part_of_the_harness_is_never_a_finding(
    name: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "_COME_BACK_S", 0.0)
    with pytest.raises(ClusterError, match=f"{name} ended during the experiment"):
        made(Told(health(name, **changes)))._components({name: health(name)})


def test_a_component_that_comes_back_in_time_had_crashed_and_is_not_out() -> None:
    down = health("etcd", alive=False, ready=False)
    (seen,) = made(Told(down, down, health("etcd", restarts=1)))._components({"etcd": health("etcd")})
    assert (seen.alive, seen.ready, seen.restarts) == (True, True, 1)


def test_a_component_that_stays_away_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "_COME_BACK_S", 0.0)
    (seen,) = made(Told(health("etcd", alive=False, ready=False)))._components({"etcd": health("etcd")})
    assert (seen.alive, seen.ready) == (False, False)


@pytest.mark.parametrize(
    ("identity", "occurrence", "own"),
    [
        ("Deployment/default/web", 1, True),
        ("Service/default/web", 1, True),
        ("Deployment/default/web", 2, False),
        ("ReplicaSet/default/web#1", 1, False),
    ],
)
def test_only_the_first_write_of_what_the_user_asked_for_is_their_request(
    identity: str, occurrence: int, own: bool
) -> None:
    target = Target(kind=identity.split("/")[0], identity=identity, occurrence=occurrence)
    rule = Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model="drop", target=target)
    assert made(Told(health("etcd")), rule)._users_own(rule) is own
