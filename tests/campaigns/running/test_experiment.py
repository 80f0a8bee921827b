"""What an experiment makes of components that are down at its end. The cluster is a stand-in that tells its health."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Cluster
from campaigns.observers.history import History
from campaigns.record import Limits
from campaigns.running import experiment
from campaigns.running.experiment import Experiment
from campaigns.workloads import WORKLOADS
from classifiers.observation import ComponentHealth
from injector.channels.listening import Heard
from injector.errors import ClusterError
from injector.rules import NearMiss, Rule
from injector.targets import Channel, Target
from tests.builders import firing
from tests.campaigns.etcd import Etcd
from tests.injector.stored import KEYS, golden

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
    ("actor", "identity", "occurrence", "own"),
    [
        ("mutineer-user", "Deployment/default/web", 1, True),
        ("mutineer-user", "Service/default/web", 2, True),
        ("kube-controller-manager", "Deployment/default/web", 1, False),
        ("", "Deployment/default/web", 1, True),
        ("", "Deployment/default/web", 2, False),
        ("", "ReplicaSet/default/web#1", 1, False),
    ],
)
def test_the_fault_was_in_the_users_own_request_if_they_wrote_it_or_nobody_can_tell_and_they_asked_for_it(
    actor: str, identity: str, occurrence: int, own: bool
) -> None:
    target = Target(kind=identity.split("/")[0], identity=identity, occurrence=occurrence)
    rule = Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model="drop", target=target)
    experiment = made(Told(health("etcd")), rule)
    experiment._firings = (firing(identity=identity, actor=actor),)
    assert experiment._users_own(rule) is own
    experiment._firings = (firing(identity=identity, actor=actor, key="/registry/services/specs/mutineer-canary/c"),)
    assert experiment._users_own(rule) is False, "what the canary asks for is not the workload's"


class Resting:
    """A stand-in for a history in which nothing changes any more: waiting is looking each tenth of a second."""

    last_change_s = 0.0

    def __init__(self, *pods: Any) -> None:
        self.now_s, self.pods = 0.0, [SimpleNamespace(tree=pod) for pod in pods]

    def objects(self, kind: str, namespace: str) -> list[Any]:
        assert (kind, namespace) == ("Pod", "default")
        return self.pods

    def wait(self, holds: Any, *, deadline: float) -> bool:
        while not holds() and self.now_s < 10:
            self.now_s = round(self.now_s + 0.1, 1)
        return self.now_s < 10


@pytest.mark.parametrize(
    ("model", "parameters", "stuck_s"),
    [
        ("drop", {"told": "success"}, 1.0),
        ("delay", {"seconds": 0.5}, 1.5),
        ("delay", {"seconds": 300}, 2.0),
        ("bit-flip", {"bit": 1}, 1.0),
    ],
)
def test_nothing_is_stuck_before_what_is_held_back_can_have_arrived(
    model: str, parameters: dict[str, Any], stuck_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(kind="Deployment", identity="Deployment/default/web", field="spec.replicas", group="apps")
    rule = Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model=model, parameters=parameters, target=target)
    waiting, resting = made(Told(health("etcd")), rule), Resting()
    monkeypatch.setattr(waiting, "_now_s", lambda: resting.now_s)
    monkeypatch.setattr(waiting, "_note_milestones", lambda *_: None)
    assert waiting._settle(resting, None) == stuck_s


BOUND: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("pod", "stuck_s"),
    [
        (BOUND, 5.0),
        ({**BOUND, "status": {"phase": "Pending", "startTime": "2026-01-01T00:00:00Z"}}, 1.0),
        ({**BOUND, "spec": {}}, 1.0),
        ({**BOUND, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, 1.0),
        (None, 1.0),
    ],
)
def test_a_kubelet_that_has_told_nothing_of_a_pod_has_the_time_to_try_again(
    pod: Any, stuck_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, resting = made(Told(health("etcd"))), Resting(pod)
    waiting._limits = dataclasses.replace(LIMITS, unspoken_s=5.0)
    monkeypatch.setattr(waiting, "_now_s", lambda: resting.now_s)
    monkeypatch.setattr(waiting, "_note_milestones", lambda *_: None)
    assert waiting._settle(resting, None) == stuck_s


@pytest.mark.parametrize(
    ("channel", "kind", "after_fault", "fired_s", "waited_s"),
    [
        (Channel.AT_REST_WRITE, "Deployment", True, None, 4.0),
        (Channel.AT_REST_WRITE, "Lease", False, None, 1.0),
        (Channel.APISERVER_TO_ETCD, "Lease", False, None, 4.0),
        (Channel.APISERVER_TO_ETCD, "Lease", False, 2.5, 6.5),
        (Channel.APISERVER_TO_ETCD, "Deployment", False, 2.5, 1.0),
    ],
)
def test_who_leads_by_a_lease_has_the_time_to_lose_it(
    channel: Channel,
    kind: str,
    after_fault: bool,
    fired_s: float | None,
    waited_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = Rule(id="r", channel=channel, model="bit-flip", target=Target(kind=kind, field="metadata.name"))
    waiting, resting = made(Told(health("etcd")), rule), Resting()
    waiting._limits, waiting._armed = dataclasses.replace(LIMITS, dormant_s=4.0), not channel.at_rest
    firings = () if fired_s is None else (firing(at_s=waiting._began + fired_s),)
    forwarder = SimpleNamespace(collect=lambda: SimpleNamespace(firings=firings))
    waiting._cluster.forwarder = lambda channel: forwarder
    monkeypatch.setattr(waiting, "_now_s", lambda: resting.now_s)
    monkeypatch.setattr(waiting, "_note_milestones", lambda *_: None)
    assert waiting._settle(resting, None, after_fault=after_fault) == 1.0, "that is when rest came"
    assert resting.now_s == waited_s


# What a rule at rest waits for, and what became of the fault, with a real etcd

AFTER = "Deployment/default/web Available"
AT_REST = Rule(
    id="r",
    channel=Channel.AT_REST_WRITE,
    model="value-set",
    parameters={"value": "wec"},
    target=Target(kind="Service", identity="Service/default/web", field="spec.selector[app]", after=AFTER),
)


class Etcds:
    """As much of a cluster as an edit in etcd needs, with a forwarder that heard one watch."""

    etcd_tls = None

    def __init__(self, address: tuple[str, int]) -> None:
        self.etcd_address, self.listened = address, b""
        self.told = 0

    def forwarder(self, channel: Channel) -> Etcds:
        return self

    def listen(self, key: bytes) -> None:
        self.listened = key

    def heard(self) -> tuple[Heard, ...]:
        return (Heard("watch", self.told, time.monotonic()),)


def at_rest(cluster: Etcds, keyspace: KeySpace, undo: Path) -> Any:
    limits = Limits(settle_s=0.3, quiet_s=1, stuck_s=1, steady_s=1, canary_s=1)
    return Experiment(
        cast(Cluster, cluster), keyspace, {}, WORKLOADS["deploy"], AT_REST, limits=limits, undo=undo / "undo"
    )


@pytest.fixture
def history(keyspace: KeySpace) -> Iterator[History]:
    keyspace.write({KEYS["service"]: golden("service")}, [])
    baseline = keyspace.dump()
    with History(keyspace, baseline, r0=keyspace.revision(), began=time.monotonic()) as started:
        yield started


def test_what_a_component_asks_for_or_is_told_is_never_the_user_s_request() -> None:
    target = Target(kind="Deployment", identity="Deployment/default/web", group="apps")
    for channel in (Channel.COMPONENT_TO_APISERVER, Channel.APISERVER_TO_COMPONENT):
        rule = Rule(id="r", channel=channel, model="drop", target=target)
        assert made(Told(health("etcd")), rule)._users_own(rule) is False


def test_a_condition_that_never_comes_leaves_the_fault_undone_and_says_so(
    etcd: Etcd, keyspace: KeySpace, history: History, tmp_path: Path
) -> None:
    waiting = at_rest(Etcds(etcd.address), keyspace, tmp_path)
    waiting._inject_at_rest(AT_REST, history)
    assert waiting._firings == () and keyspace.revision() == history.r0
    assert waiting._near_misses == (
        NearMiss(identity="Service/default/web", why=f"the rule waits for {AFTER}, which never came", times=1),
    )


def test_a_condition_is_waited_for_and_what_became_of_the_fault_is_told(
    etcd: Etcd, keyspace: KeySpace, history: History, tmp_path: Path
) -> None:
    cluster = Etcds(etcd.address)
    waiting = at_rest(cluster, keyspace, tmp_path)
    waiting._await_by = time.monotonic() + 10
    later = threading.Timer(0.1, keyspace.write, ({KEYS["deployment"]: golden("deployment")}, []))
    later.start()
    try:
        waiting._inject_at_rest(AT_REST, history)
    finally:
        later.join()
    (firing,) = waiting._firings
    assert (firing.revision, cluster.listened) == (history.r0 + 2, KEYS["service"].encode())
    cluster.told = firing.revision
    keyspace.write({KEYS["service"]: golden("service")}, [])
    assert history.caught_up()
    waiting._collect_firings()
    (watch, overwritten) = waiting._followed(waiting._firings[0], history).consumed
    assert watch.startswith("kube-apiserver's watch, ")
    assert overwritten == f"overwritten by kubectl-client-side-apply at revision {history.r0 + 3}"
    elsewhere = dataclasses.replace(waiting._firings[0], field="spec.type")  # which a role led to
    assert waiting._followed(elsewhere, history).consumed[1] == overwritten
    right = dataclasses.replace(elsewhere, field_after="ClusterIP")
    assert waiting._followed(right, history).consumed[1].startswith("carried on by ")
