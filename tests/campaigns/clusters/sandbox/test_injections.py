"""Faults by hand, as the keeper carries them out: on a real etcd, with a forwarder that only remembers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Action, Cluster
from campaigns.clusters.sandbox.injections import Injections
from classifiers.observation import ComponentHealth
from injector.channels.control import Collected, Stats
from injector.channels.listening import Heard
from injector.codec import locate
from injector.errors import ClusterError, FaultError
from injector.rules import NearMiss, Rule
from tests.campaigns.etcd import Etcd
from tests.injector.stored import golden

SERVICE, POD = "/registry/services/specs/default/web", "/registry/pods/default/web-75976b6d9c-5p24p"


class Remembering:
    """A forwarder whose rule never fires."""

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self.listened, self.told = b"", 0
        self.baseline: list[tuple[bytes, bytes]] = []

    def arm(self, rule: Rule, baseline: list[tuple[bytes, bytes]]) -> None:
        self.rule, self.baseline = rule, baseline

    def disarm(self) -> None:
        self.rule = None

    def collect(self) -> Collected:
        return Collected((), (NearMiss(identity="Service/default/web", why="does not carry it", times=2),))

    def listen(self, key: bytes) -> None:
        self.listened = key

    def heard(self) -> tuple[Heard, ...]:
        return (Heard("watch", self.told, time.monotonic()),) if self.told else ()

    def stats(self) -> Stats:
        armed = self.rule.id if self.rule else None
        return Stats(connections=0, connections_total=0, messages=0, bytes_up=0, bytes_down=0, armed=armed)


class Small:
    """As much of a cluster as an edit in etcd needs."""

    etcd_tls = None
    etcd_files: tuple[Path, ...] = (Path("no/such/file"),)

    def __init__(self, address: tuple[str, int], forwarder: Remembering) -> None:
        self.etcd_address, self._forwarder = address, forwarder
        self.killed: list[tuple[str, Rule | None]] = []

    def component(self, name: str, action: Action) -> None:
        self.killed.append((f"{action} {name}", self._forwarder.rule))

    def health(self) -> tuple[ComponentHealth, ...]:
        return (ComponentHealth(name="kube-apiserver", alive=True, ready=bool(self.killed)),)


@pytest.fixture
def forwarder() -> Remembering:
    return Remembering()


@pytest.fixture
def small(etcd: Etcd, forwarder: Remembering) -> Small:
    return Small(etcd.address, forwarder)


@pytest.fixture
def injections(small: Small, keyspace: KeySpace, forwarder: Remembering, tmp_path: Path) -> Injections:
    keyspace.write({SERVICE: golden("service"), POD: golden("pod")}, [])
    return Injections(cast(Cluster, small), lambda channel: forwarder, tmp_path / "undo")


def rule(identity: str = "Service/default/web", field: str = "spec.selector[app]", **changes: Any) -> dict[str, Any]:
    target = {"kind": identity.partition("/")[0], "group": "", "identity": identity, "field": field}
    at_rest = {"id": "by-hand", "channel": "at-rest-write", "model": "value-set", "parameters": {"value": "wec"}}
    return {**at_rest, "target": target, **changes}


def inject(injections: Injections, document: dict[str, Any], *, dry_run: bool = False) -> Any:
    return injections.answer({"do": "inject", "rule": document, "dry_run": dry_run})


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(injections: Injections, keyspace: KeySpace) -> None:
    before = keyspace.revision()
    done = inject(injections, rule(), dry_run=True)
    firing = done["firing"]
    assert (firing["key"], firing["operation"], firing["accepted"]) == (SERVICE, "preview", None)
    assert (firing["field_before"], firing["field_after"], done["armed"]) == ("web", "wec", False)
    assert keyspace.revision() == before and keyspace.dump()[SERVICE].value == golden("service")
    assert injections.answer({"do": "undo"}) == []


@pytest.mark.parametrize(
    ("changes", "after"),
    [
        (
            {"model": "value-set", "parameters": {"object": "Pod/default/web#1", "object_field": "metadata.name"}},
            "web-",
        ),
        ({"model": "stale", "parameters": {}}, None),
        ({"model": "wrong-key", "parameters": {"identity": "Pod/default/web#1"}}, None),
    ],
)
def test_a_dry_run_knows_other_objects_and_earlier_versions(
    injections: Injections, keyspace: KeySpace, changes: dict[str, Any], after: str | None
) -> None:
    inject(injections, rule())
    before = keyspace.revision()
    field = "spec.selector[app]" if after else None
    firing = inject(injections, rule(field=field, **changes), dry_run=True)["firing"]  # type: ignore[arg-type]
    assert firing["operation"] == "preview" and str(firing["field_after"]).startswith(after or "None")
    assert (POD in firing["note"]) == (changes["model"] == "wrong-key")
    assert keyspace.revision() == before


def test_a_fault_at_rest_is_done_at_once_and_undone_from_its_record(injections: Injections, keyspace: KeySpace) -> None:
    firing = inject(injections, rule())["firing"]
    assert (firing["accepted"], firing["revision"]) == (True, keyspace.revision())
    assert locate(keyspace.dump()[SERVICE].value, "spec.selector[app]").value == "wec"
    (undone,) = injections.answer({"do": "undo"})  # type: ignore[misc]
    assert undone["outcome"] == "restored"  # type: ignore[index,call-overload]
    assert keyspace.dump()[SERVICE].value == golden("service")
    assert injections.answer({"do": "undo"}) == []


def test_who_read_the_edit_is_told_where_it_is_known_at_once(
    injections: Injections, forwarder: Remembering, keyspace: KeySpace
) -> None:
    forwarder.told = keyspace.revision() + 1
    (read,) = inject(injections, rule())["firing"]["consumed"]
    assert read.startswith("kube-apiserver's watch, ") and read.endswith(" ms later")
    assert forwarder.listened == SERVICE.encode()
    forwarder.told = 1
    assert "consumed" not in inject(injections, rule(parameters={"value": "wed"}))["firing"]


def test_edits_of_one_object_are_undone_the_last_one_first(injections: Injections, keyspace: KeySpace) -> None:
    for number in range(12):  # more than nine: their records' names do not sort as they came
        inject(injections, rule(parameters={"value": f"w{number}"}))
    undone: Any = injections.answer({"do": "undo"})
    assert [each["outcome"] for each in undone] == ["restored"] * 12
    assert keyspace.dump()[SERVICE].value == golden("service")


def test_one_rules_edit_is_undone_alone(injections: Injections, keyspace: KeySpace) -> None:
    inject(injections, {**rule(), "id": "test-1"})
    inject(injections, {**rule("Pod/default/web#1", "spec.nodeName"), "id": "test-10"})
    changed = keyspace.dump()[POD].value
    undone: Any = injections.answer({"do": "undo", "rule": "test-1"})
    assert [Path(each["record"]).stem for each in undone] == ["test-1"]
    assert keyspace.dump()[SERVICE].value == golden("service")
    assert keyspace.dump()[POD].value == changed
    assert injections.answer({"do": "undo", "rule": "test-1"}) == []
    undone = injections.answer({"do": "undo"})
    assert [Path(each["record"]).stem for each in undone] == ["test-10"]


def test_an_object_goes_by_its_own_name_or_by_its_stable_identity(injections: Injections) -> None:
    for identity in ("Pod/default/web-75976b6d9c-5p24p", "Pod/default/web#1"):
        done = inject(injections, rule(identity, "spec.nodeName"), dry_run=True)
        assert (done["rule"]["target"]["identity"], done["firing"]["key"]) == ("Pod/default/web#1", POD)


def test_an_object_that_is_not_stored_is_told_with_those_that_are(injections: Injections) -> None:
    with pytest.raises(
        FaultError, match=r"no stored core object is Service/default/api; there is Service/default/web$"
    ):
        inject(injections, rule("Service/default/api"))


def test_a_fault_in_flight_is_armed_with_all_that_is_stored(injections: Injections, forwarder: Remembering) -> None:
    done = inject(injections, rule("Pod/default/web-75976b6d9c-5p24p", "spec.nodeName", channel="apiserver-to-etcd"))
    assert (done["armed"], done["firing"]) == (True, None)
    assert forwarder.rule is not None and forwarder.rule.target.identity == "Pod/default/web#1"
    assert forwarder.baseline == [(POD.encode(), golden("pod")), (SERVICE.encode(), golden("service"))]
    seen: Any = injections.answer({"do": "injected"})
    assert (seen["armed"], seen["firings"], seen["near_misses"][0]["times"]) == ("by-hand", [], 2)
    assert injections.answer({"do": "disarm"}) is None
    assert forwarder.rule is None


def test_a_read_that_is_to_go_wrong_is_armed_and_then_asked_for(injections: Injections, small: Small) -> None:
    inject(injections, rule(channel="etcd-to-apiserver"))
    assert small.killed == []
    inject(injections, rule(channel="etcd-to-apiserver", reread=True))
    ((done, armed),) = small.killed
    assert done == "kill kube-apiserver" and armed is not None and armed.reread


def test_two_forwarders_hold_one_rule_between_them(small: Small, keyspace: KeySpace, tmp_path: Path) -> None:
    keyspace.write({SERVICE: golden("service")}, [])
    to_etcd, components = Remembering(), Remembering()
    both = Injections(
        cast(Cluster, small), lambda channel: components if channel.of_components else to_etcd, tmp_path / "undo"
    )
    inject(both, rule(channel="component-to-apiserver"))
    assert (to_etcd.rule, components.rule is not None) == (None, True)
    with pytest.raises(ClusterError, match="rule 'by-hand' is armed in component-to-apiserver; disarm it first"):
        inject(both, rule(channel="apiserver-to-etcd"))
    both.answer({"do": "disarm"})
    inject(both, rule(channel="apiserver-to-etcd"))
    assert (to_etcd.rule is not None, components.rule) == (True, None)


def test_an_object_that_is_to_come_can_be_waited_for(injections: Injections, forwarder: Remembering) -> None:
    inject(injections, rule("Service/default/api", channel="apiserver-to-etcd"))
    assert forwarder.rule is not None and forwarder.rule.target.identity == "Service/default/api"


@pytest.mark.parametrize("request_", [{"do": "inject"}, {"do": "inject", "rule": {"id": 1}, "dry_run": True}, {}])
def test_what_is_no_request_is_refused(injections: Injections, request_: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match=r"no such request|not a rule"):
        injections.answer(request_)


def chosen(**target: Any) -> dict[str, Any]:
    return rule(target={"kind": "Pod", "group": "", "field": "spec.nodeName", **target})


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_object_is_chosen_by_its_labels_and_the_answer_tells_which(injections: Injections, dry_run: bool) -> None:
    done = inject(injections, chosen(labels="app=web", namespace="default", by="kubectl-p"), dry_run=dry_run)
    assert (done["firing"]["identity"], done["firing"]["actor"]) == ("Pod/default/web#1", "kubectl-patch")
    assert done["rule"]["target"]["labels"] == "app=web" and "identity" not in done["rule"]["target"]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"labels": "app=db"}, "Pod with app=db"),
        (
            {"after": "Pod/default/web#1 Ready=Maybe"},
            "the rule waits for Pod/default/web#1 Ready=Maybe; Pod/default/web#1",
        ),
        ({"after": "Node/node-1 Ready"}, "the rule waits for Node/node-1 Ready; there is no Node/node-1"),
    ],
)
def test_what_is_not_there_now_is_refused_at_rest(
    injections: Injections, keyspace: KeySpace, target: dict[str, str], words: str, dry_run: bool
) -> None:
    before = keyspace.revision()
    with pytest.raises(FaultError, match=words):
        inject(injections, chosen(**target), dry_run=dry_run)
    assert keyspace.revision() == before


def test_a_rule_in_flight_may_wait_for_what_is_not_there_yet(injections: Injections, forwarder: Remembering) -> None:
    asked = {**chosen(labels="app=db", after="Node/node-1 Ready"), "channel": "apiserver-to-etcd"}
    assert inject(injections, asked)["armed"] is True
    assert forwarder.rule is not None and (forwarder.rule.target.labels, forwarder.rule.target.identity) == (
        "app=db",
        "",
    )
