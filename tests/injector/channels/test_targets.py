"""Which messages a target means by labels, role, author and condition, and what the firing then tells."""

from __future__ import annotations

from typing import Any

import pytest

from injector.channels.etcd import EtcdChannel
from injector.channels.reads import WATCH, ReadsChannel
from injector.channels.txn import writes_of
from injector.codec import locate, rewrite, to_tree
from injector.errors import FaultError
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target
from injector.wire.inspection import Place, Replace
from tests.injector.channels.test_etcd import ANSWERED, REFUSED, TXN, ask
from tests.injector.channels.test_reads import RANGE, call_of, deleted, kv, put, watch_response
from tests.injector.conftest import delete_request, etcdrpc, put_request
from tests.injector.stored import KEYS, golden
from tests.injector.test_identity import stored
from tests.injector.test_writers import versions

WEB, POD = KEYS["deployment"], KEYS["pod"]
HISTORY = "/registry/deployments/default/web"


def rule(
    *,
    channel: Channel = Channel.APISERVER_TO_ETCD,
    model: str = "value-set",
    parameters: dict[str, JSONValue] | None = None,
    **target: Any,
) -> Rule:
    kind, group = target.pop("kind", "Deployment"), target.pop("group", "apps")
    given = {"value": 67} if parameters is None and model == "value-set" else parameters or {}
    return Rule(id="r", channel=channel, model=model, parameters=given, target=Target(kind=kind, group=group, **target))


def named(name: str, labels: str, namespace: str = "default") -> bytes:
    value = stored("Pod", name, namespace)
    tree: Any = to_tree(value)
    tree["metadata"]["labels"] = dict(pair.split("=") for pair in labels.split(",")) if labels else None
    return rewrite(value, tree)


def put_pod(channel: EtcdChannel, name: str, labels: str, namespace: str = "default", answer: bytes = ANSWERED) -> Any:
    return ask(channel, put_request(f"/registry/pods/{namespace}/{name}", named(name, labels, namespace)), answer)


def dropping(**target: Any) -> Rule:
    return rule(model="drop", kind="Pod", group="", **target)


def test_occurrences_count_over_all_objects_that_the_labels_fit() -> None:
    channel = EtcdChannel(dropping(labels="app=web,tier!=db", namespace="default", occurrence=3))
    assert put_pod(channel, "a", "app=web") is None
    assert put_pod(channel, "b", "app=web,tier=db") is None
    assert put_pod(channel, "c", "app=db") is None
    assert put_pod(channel, "d", "app=web", "kube-system") is None
    assert put_pod(channel, "e", "app=web,tier=front") is None
    misses = {(miss.identity, miss.why) for miss in channel.near_misses()}
    assert misses == {
        ("any Pod in default with app=web,tier!=db", "matched, but the rule waits for occurrence 3"),
        ("Pod/default/b", "has app=web,tier=db, not app=web,tier!=db"),
        ("Pod/default/c", "has app=db, not app=web,tier!=db"),
    }
    assert put_pod(channel, "f", "app=web") is not None
    (firing,) = channel.firings()
    assert (firing.identity, channel.near_misses()) == ("Pod/default/f", ())


def test_without_identity_and_labels_any_object_of_the_kind_is_meant() -> None:
    channel = EtcdChannel(dropping(namespace="b"))
    assert put_pod(channel, "x", "", "a") is None
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    assert put_pod(channel, "y", "", "b") is not None


def test_a_deletes_labels_are_those_of_what_is_deleted() -> None:
    baseline = [(f"/registry/pods/default/{name}".encode(), named(name, f"app={name}")) for name in "ab"]
    channel = EtcdChannel(dropping(labels="app=b", operation="delete"), baseline=baseline)
    assert ask(channel, delete_request("/registry/pods/default/a")) is None
    assert ask(channel, delete_request("/registry/pods/default/b")) is not None


def test_labels_are_looked_at_in_lists_and_events_and_before_the_fault() -> None:
    target = {"kind": "Pod", "group": "", "labels": "app=web", "field": "metadata.labels[app]"}
    channel = ReadsChannel(rule(channel=Channel.ETCD_TO_APISERVER, parameters={"value": "wex"}, **target))
    listed = etcdrpc.RangeResponse(
        header={"revision": 5},
        kvs=[kv(f"/registry/pods/default/{name}", named(name, f"app={name}")) for name in ("db", "web")],
    )
    decision = call_of(channel, RANGE).response(listed.SerializeToString())
    assert isinstance(decision, Replace)
    (firing,) = channel.firings()
    assert (firing.identity, firing.field_before, firing.field_after) == ("Pod/default/web", "web", "wex")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"labels": "app in web", "kind": "Pod"}, "character 8"),
        ({"labels": "a=b", "identity": "Deployment/default/web"}, "is one object already; leave out the labels"),
        ({"namespace": "b", "identity": "Deployment/default/web"}, "leave out the namespace"),
        ({"role": "identidy"}, "expected one of dependency, identity, .*label-or-selector.*, got 'identidy'"),
        ({"role": "identity", "field": "spec.replicas"}, "expected a field or a role"),
        ({"after": "Available"}, "such as 'Deployment/default/web Available'"),
    ],
)
@pytest.mark.parametrize("channel", [Channel.APISERVER_TO_ETCD, Channel.ETCD_TO_APISERVER])
def test_a_target_that_means_nothing_is_refused(target: dict[str, Any], words: str, channel: Channel) -> None:
    refused = rule(channel=channel, **target)
    with pytest.raises(FaultError, match=words):
        EtcdChannel(refused) if channel is Channel.APISERVER_TO_ETCD else ReadsChannel(refused)


def test_a_model_of_whole_messages_has_no_use_for_a_role() -> None:
    with pytest.raises(FaultError, match="drop is done to a whole message; the target names a role"):
        EtcdChannel(rule(model="drop", role="identity"))


# Roles


def test_the_first_field_of_the_role_that_the_model_fits_is_changed_and_told() -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", role="replicas"))
    decision = ask(channel, put_request(WEB, golden("deployment")))
    after = writes_of(decision.message)[0].value
    (firing,) = channel.firings()
    assert (firing.field, firing.field_after, locate(after, "spec.replicas").value) == ("spec.replicas", 67, 67)


def test_fields_of_the_role_that_the_model_does_not_fit_are_passed_over() -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", role="status", model="boolean-invert"))
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    (miss,) = channel.near_misses()
    assert miss.why.startswith("boolean-invert fits no field with the role status; of status.observedGeneration: ")
    text = EtcdChannel(rule(identity="Deployment/default/web", role="status", parameters={"value": "x"}))
    assert ask(text, put_request(WEB, golden("deployment"))) is not None
    (firing,) = text.firings()
    assert firing.field is not None and firing.field.startswith("status.conditions[0].")


def test_a_message_that_fits_no_field_of_the_role_leaves_the_rule_waiting() -> None:
    channel = EtcdChannel(
        rule(identity="Deployment/default/web", role="replicas", model="bit-flip", parameters={"bit": 1})
    )
    without = stored("Deployment", "web", api_version="apps/v1")
    assert ask(channel, put_request(WEB, without)) is None
    assert channel.near_misses()[0].why == "carries no field with the role replicas"
    assert ask(channel, put_request(WEB, golden("deployment"))) is not None


def test_a_rule_that_fires_once_waits_for_a_message_that_fits_its_role() -> None:
    other = rewrite(golden("deployment"), {**to_tree(golden("deployment")), "status": {"replicas": 67}})
    channel = EtcdChannel(rule(identity="Deployment/default/web", role="status", parameters={"value": "x"}))
    assert ask(channel, put_request(WEB, other)) is None
    assert "value-set fits no field with the role status" in channel.near_misses()[0].why
    assert ask(channel, put_request(WEB, golden("deployment"))) is not None


def test_a_kind_of_dependency_is_a_role() -> None:
    channel = EtcdChannel(
        rule(kind="Pod", group="", identity="Pod/default/web#1", role="owner-reference", parameters={"value": "x"})
    )
    assert ask(channel, put_request(POD, golden("pod"))) is not None
    assert channel.firings()[0].field == "metadata.ownerReferences[0].kind"


# Who wrote it


def history() -> list[bytes]:
    return [value for _, value in versions(HISTORY)]


def replay(channel: EtcdChannel, values: list[bytes]) -> int | None:
    """Number of the write that the rule fired on."""
    for number, value in enumerate(values):
        if ask(channel, put_request(HISTORY, value)) is not None:
            return number
    return None


@pytest.mark.parametrize(("by", "number"), [("kube-controller-manager", 1), ("kubectl-label", 3), ("kubectl", 0)])
def test_a_write_is_meant_by_who_made_it(by: str, number: int) -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", field="spec.replicas", by=by))
    assert replay(channel, history()) == number
    assert channel.firings()[0].actor.startswith(by)


def test_the_version_before_is_the_one_that_etcd_took() -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", field="spec.replicas", by="kube-c", occurrence=2))
    first, second, third = history()[:3]
    assert ask(channel, put_request(HISTORY, first)) is None
    assert ask(channel, put_request(HISTORY, second), REFUSED) is None
    assert ask(channel, put_request(HISTORY, third)) is not None
    assert channel.firings()[0].actor == "kube-controller-manager"


def test_of_two_that_may_have_written_it_both_have_to_be_meant() -> None:
    quota = golden("resourcequota")
    for by, fires in (("kube-controller-manager", False), ("kube-", True)):
        channel = EtcdChannel(rule(kind="ResourceQuota", group="", model="truncate", by=by))
        assert (ask(channel, put_request(KEYS["resourcequota"], quota)) is not None) is fires
    channel = EtcdChannel(rule(kind="ResourceQuota", group="", model="truncate", by="kube-apiserver"))
    ask(channel, put_request(KEYS["resourcequota"], quota))
    words = "written by kube-apiserver or kube-controller-manager; the rule waits for kube-apiserver"
    assert channel.near_misses()[0].why == words


def test_another_author_and_an_unknown_one_are_near_misses() -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", field="spec.replicas", by="kube-scheduler"))
    assert replay(channel, history()[:2]) is None
    ask(channel, put_request(HISTORY, history()[1]))
    ask(channel, delete_request(HISTORY))
    whys = {miss.why for miss in channel.near_misses()}
    assert whys == {
        "written by kubectl-create; the rule waits for kube-scheduler",
        "written by kube-controller-manager; the rule waits for kube-scheduler",
        "who wrote it is not known; the rule waits for kube-scheduler",
    }


def test_what_is_told_has_an_author_too_by_the_version_that_the_event_carries() -> None:
    values = history()
    target = {"identity": "Deployment/default/web", "field": "spec.replicas"}
    channel = ReadsChannel(rule(channel=Channel.ETCD_TO_APISERVER, by="kubectl-label", **target))
    watch = call_of(channel, WATCH)
    for number in (1, 2, 3):
        event = put(HISTORY, values[number], modified=number + 10, before=values[number - 1])
        decision = watch.response(watch_response(event).SerializeToString())
    assert isinstance(decision, Replace)
    (firing,) = channel.firings()
    assert (firing.actor, firing.revision) == ("kubectl-label", 13)


# On a condition


def test_occurrences_count_from_when_the_condition_was_taken_by_etcd() -> None:
    channel = EtcdChannel(dropping(namespace="default", after="Deployment/default/web Available"))
    assert put_pod(channel, "a", "") is None
    assert ask(channel, put_request(WEB, golden("deployment")), REFUSED) is None
    assert put_pod(channel, "b", "") is None
    whys = {miss.why for miss in channel.near_misses()}
    assert whys == {
        "came before Deployment/default/web Available",
        "the rule waits for Deployment/default/web Available, which never came",
    }
    assert ask(channel, put_request(WEB, golden("deployment"))) is None
    assert put_pod(channel, "c", "") is not None


def test_a_condition_that_holds_already_is_not_waited_for() -> None:
    waiting = dropping(after="Deployment/default/web Available")
    channel = EtcdChannel(waiting, baseline=[(WEB.encode(), golden("deployment"))])
    assert put_pod(channel, "a", "") is not None


def test_an_update_brings_a_condition_as_well_as_a_creation() -> None:
    waiting = dropping(after="Deployment/default/web Available")
    channel = EtcdChannel(waiting, baseline=[(WEB.encode(), history()[0])])
    assert put_pod(channel, "a", "") is None
    assert ask(channel, put_request(WEB, golden("deployment"), mod_revision=3)) is None
    assert put_pod(channel, "b", "") is not None


def test_a_condition_that_a_list_tells_counts_from_then_on() -> None:
    waiting = rule(channel=Channel.ETCD_TO_APISERVER, model="drop", kind="Pod", group="",
                   after="Deployment/default/web Available")  # fmt: skip
    channel = ReadsChannel(waiting)
    listed = etcdrpc.RangeResponse(header={"revision": 5}, kvs=[kv(WEB, golden("deployment"))])
    assert call_of(channel, RANGE).response(listed.SerializeToString()) is None
    event = watch_response(put(POD, golden("pod"), modified=10)).SerializeToString()
    assert call_of(channel, WATCH).response(event) is not None


def test_a_condition_that_is_told_counts_from_the_next_message() -> None:
    web = "Deployment/default/web"
    waiting = rule(channel=Channel.ETCD_TO_APISERVER, model="drop", identity=web, after=f"{web} Available")
    channel = ReadsChannel(waiting)
    watch = call_of(channel, WATCH)
    event = put(WEB, golden("deployment"), modified=9)
    assert watch.response(watch_response(deleted("/x", b"y", modified=8), event).SerializeToString()) is None
    later = put(WEB, golden("deployment"), modified=10)
    assert watch.response(watch_response(later).SerializeToString()) is not None


# Where


def test_the_stream_and_the_author_stand_in_the_firing() -> None:
    channel = EtcdChannel(rule(identity="Deployment/default/web", field="spec.replicas"))
    call = channel.call(TXN, Place(4, 17))
    assert call is not None
    call.request(put_request(WEB, golden("deployment")).SerializeToString())
    (firing,) = channel.firings()
    assert (firing.stream, firing.actor, firing.field) == ("connection 4, stream 17", "kube-controller-manager", None)
    reads = ReadsChannel(
        rule(channel=Channel.ETCD_TO_APISERVER, identity="Deployment/default/web", field="spec.replicas")
    )
    watch = reads.call(WATCH, Place(2, 5))
    assert watch is not None
    watch.response(watch_response(put(WEB, golden("deployment"))).SerializeToString())
    assert reads.firings()[0].stream == "connection 2, stream 5"
