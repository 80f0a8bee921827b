"""What the keeper answers. Its process (door, owner, signals) is tested from outside: test_outside.py."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from campaigns.clusters.protocol import Action
from campaigns.clusters.sandbox import keeper as keeper_module
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.clusters.sandbox.keeper import Keeper
from injector.errors import ClusterError
from injector.rules import JSONValue
from tests.campaigns.clusters.sandbox.stand_in_keeper import STORED, StandIn


@pytest.fixture
def cluster(tmp_path: Path) -> StandIn:
    return StandIn(SandboxConfig(name="a", folder=tmp_path, binaries={}))


@pytest.fixture
def keeper(cluster: StandIn, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(keeper_module, "_HEALTHY_WITHIN_S", 0.1)
    made = Keeper(cluster)
    made.take_baseline()
    return made


def reset(keeper: Keeper) -> JSONValue:
    return keeper.answer({"do": "reset"})


def test_health_tells_every_component(keeper: Keeper, cluster: StandIn) -> None:
    cluster.component("etcd", Action.PAUSE)
    answer = keeper.answer({"do": "health"})
    assert isinstance(answer, list)
    assert [(each["name"], each["alive"], each["ready"]) for each in answer] == [  # type: ignore[index, call-overload]
        ("etcd", True, False),
        ("kube-apiserver", True, True),
        ("kube-scheduler", True, True),
    ]


@pytest.mark.parametrize("action", list(Action))
def test_components_and_nodes_are_acted_on_as_asked(keeper: Keeper, cluster: StandIn, action: Action) -> None:
    assert keeper.answer({"do": "component", "name": "etcd", "action": action.value}) is None
    assert keeper.answer({"do": "node", "name": "node-1", "action": action.value}) is None
    assert (cluster.states["etcd"], cluster.states["node-1"]) == (action, action)


@pytest.mark.parametrize(
    "request_",
    [{}, {"do": "dance"}, {"do": "component"}, {"do": "component", "name": "etcd", "action": "poke"},
     {"do": "node", "name": 1, "action": "stop"},
     {"do": "value"}, {"do": "value", "key": ""}, {"do": "keys", "prefix": ""}],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_words(keeper: Keeper, request_: dict[str, JSONValue]) -> None:
    with pytest.raises(ClusterError, match="no such request: "):
        keeper.answer(request_)


def test_what_etcd_holds_is_told_in_base64_and_keys_by_their_beginning(keeper: Keeper) -> None:
    value = keeper.answer({"do": "value", "key": "/registry/pods/default/web"})
    assert value == base64.b64encode(STORED["/registry/pods/default/web"]).decode()
    assert keeper.answer({"do": "value", "key": "/registry/pods/default/we"}) is None
    assert keeper.answer({"do": "keys", "prefix": "/registry/configmaps/"}) == sorted(STORED)[:2]


def test_the_clusters_own_words_come_through(keeper: Keeper) -> None:
    with pytest.raises(ClusterError, match="no component 'etdc'"):
        keeper.answer({"do": "component", "name": "etdc", "action": "stop"})


def test_a_reset_brings_back_what_was_pulled_by_hand_and_hands_on_the_proof(keeper: Keeper, cluster: StandIn) -> None:
    for name, action in (("etcd", "pause"), ("kube-apiserver", "stop"), ("kube-scheduler", "kill")):
        keeper.answer({"do": "component", "name": name, "action": action})
    keeper.answer({"do": "node", "name": "node-1", "action": "kill"})
    assert reset(keeper) == {"rung": "rollback", "seconds": 0.1, "proof": "7 keys equal"}
    assert cluster.states == {
        "etcd": Action.RESUME,
        "kube-apiserver": Action.START,
        "kube-scheduler": Action.START,
        "node-1": Action.START,
    }


def test_what_was_brought_back_already_is_left_alone_by_a_reset(keeper: Keeper, cluster: StandIn) -> None:
    for action in ("stop", "restart"):
        keeper.answer({"do": "component", "name": "etcd", "action": action})
    reset(keeper)
    assert cluster.states["etcd"] is Action.RESTART


def test_a_cluster_with_a_component_that_is_ill_is_not_called_clean(keeper: Keeper, cluster: StandIn) -> None:
    cluster.component("etcd", Action.PAUSE)  # not by hand: nothing is known of it
    with pytest.raises(ClusterError, match=r"every component to be healthy; not so: etcd \(not ready\)"):
        reset(keeper)


def test_a_component_that_falls_ill_during_the_rollback_is_noticed(keeper: Keeper, cluster: StandIn) -> None:
    rollback = cluster.rollback

    def and_die(**within: float) -> object:
        cluster.component("etcd", Action.KILL)
        return rollback(**within)

    cluster.rollback = and_die  # type: ignore[method-assign, assignment]
    with pytest.raises(ClusterError, match="not so: etcd"):
        reset(keeper)


def test_without_a_baseline_a_reset_says_why_it_can_not_be_done(cluster: StandIn) -> None:
    with pytest.raises(ClusterError, match="not up yet"):
        reset(Keeper(cluster))
    cluster.differs = "restless"
    keeper = Keeper(cluster)
    keeper.take_baseline()
    with pytest.raises(ClusterError, match="could not be told after the start: waited 90 s"):
        reset(keeper)


def test_a_crashed_component_is_not_started_again_while_hands_are_on_it(keeper: Keeper, cluster: StandIn) -> None:
    keeper.tend()
    assert cluster.tended == 1
    component = cluster.component

    def meanwhile(name: str, action: Action) -> None:
        keeper.tend()
        component(name, action)

    cluster.component = meanwhile  # type: ignore[method-assign]
    keeper.answer({"do": "component", "name": "etcd", "action": "stop"})
    assert cluster.tended == 1
    keeper.tend()
    assert cluster.tended == 2
