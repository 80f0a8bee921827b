"""A recorder notes what a rule would count, and hits nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from injector.channels.component_requests import RequestsChannel
from injector.channels.components import component_channel
from injector.channels.controlling import Armory, answer_line
from injector.channels.etcd import EtcdChannel
from injector.channels.evidence import Evidence
from injector.channels.forwarder import Forwarder
from injector.channels.recording import (
    Message,
    Notes,
    Recorded,
    notes_of,
    recorded_from_json,
    recorded_to_json,
    recording_rule,
)
from injector.codec import list_fields
from injector.errors import FaultError
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.injector.channels.exchanges import NAMES, captured, played
from tests.injector.channels.test_etcd import ask
from tests.injector.conftest import delete_request, put_request
from tests.injector.stored import KEYS, golden
from tests.injector.test_identity import stored

WRITES = Channel.APISERVER_TO_ETCD


def requests() -> list[Any]:
    """A deployment written three times, two of its pods, and the end of one."""
    deployment = golden("deployment")
    puts = [put_request(KEYS["deployment"], deployment, mod_revision=n) for n in (0, 5, 9)]
    pods = [
        put_request(f"/registry/pods/default/web-{n}", stored("Pod", f"web-{n}", generate_name="web-")) for n in "ab"
    ]
    return [puts[0], pods[0], puts[1], pods[1], puts[2], delete_request("/registry/pods/default/web-a", mod_revision=7)]


def recorder() -> EtcdChannel:
    return EtcdChannel(recording_rule(WRITES), clock=lambda: 1.5, evidence=Notes)


def test_what_passes_is_noted_in_its_order_and_goes_on_as_it_came() -> None:
    channel = recorder()
    assert [ask(channel, request) for request in requests()] == [None] * 6
    told = notes_of(channel).recorded()
    assert [(m.identity, m.operation) for m in told.messages] == [
        ("Deployment/default/web", "put"), ("Pod/default/web#1", "put"), ("Deployment/default/web", "put"),
        ("Pod/default/web#2", "put"), ("Deployment/default/web", "put"), ("Pod/default/web#1", "delete"),
    ]  # fmt: skip
    assert told.messages[0] == Message("Deployment", "apps", "Deployment/default/web", "default", "put", "", 0, 1.5)
    assert told.messages[-1].value is None
    assert told.values[0] == golden("deployment") and len(told.values) == 3, "the same bytes are kept once"
    assert told.complete and not channel.firings()


def _text_in(value: bytes) -> str:
    return next(item.path for item in list_fields(value) if item.type == "string" and item.value)


def test_the_nth_message_noted_is_the_one_that_a_rule_with_that_occurrence_fires_on() -> None:
    noted = recorder()
    for request in requests():
        ask(noted, request)
    told = notes_of(noted).recorded()
    counted: dict[tuple[str, str | None], int] = {}
    sites = []
    for place, message in enumerate(told.messages):
        value = told.values[message.value] if message.value is not None else None
        paths = [None, *([_text_in(value)] if value is not None else [])]
        for path in paths:
            number = counted[message.identity, path] = counted.get((message.identity, path), 0) + 1
            sites.append((place, message, path, number))
    assert len(sites) == 11
    for place, message, path, number in sites:
        target = Target(
            kind=message.kind, group=message.group, identity=message.identity, field=path, occurrence=number
        )
        model = "drop" if path is None else "bit-flip"
        channel = EtcdChannel(Rule(id="r", channel=WRITES, model=model, target=target))
        hit = [n for n, request in enumerate(requests()) if ask(channel, request) is not None]
        assert hit == [place], (message.identity, path, number)


@pytest.mark.parametrize("channel", [Channel.COMPONENT_TO_APISERVER, Channel.APISERVER_TO_COMPONENT])
def test_a_recorder_of_components_follows_every_kind_and_says_whose_message_it_was(channel: Channel) -> None:
    noting = component_channel(recording_rule(channel), evidence=Notes)
    for name in NAMES:
        played(noting, captured(name))
    told = notes_of(noting).recorded().messages
    assert len({m.kind for m in told}) > 2
    assert all(m.component for m in told)
    assert not noting.firings() and not noting.done


def test_more_than_fits_into_memory_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("injector.channels.recording._MOST_BYTES", len(golden("deployment")) + 10)
    channel = recorder()
    for request in requests():
        ask(channel, request)
    told = notes_of(channel).recorded()
    assert not told.complete
    assert {m.identity for m in told.messages} == {"Deployment/default/web", "Pod/default/web#1"}, (
        "a delete has no bytes"
    )


def test_a_recording_comes_back_equal_from_json_and_what_is_none_is_refused() -> None:
    message = Message("Pod", "", "Pod/default/web#1", "default", "put", "", 0, 2.5)
    told = Recorded((message, message._replace(value=None)), (b"\0\xff",), False)
    assert recorded_from_json(json.loads(json.dumps(recorded_to_json(told)))) == told
    for wrong in ({}, recorded_to_json(told) | {"messages": [["Pod"]]}, recorded_to_json(told) | {"values": []}):
        with pytest.raises(ValueError, match="expected"):
            recorded_from_json(wrong)


def asked(forwarder: Forwarder, do: str, **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(answer_line(forwarder, json.dumps({"schema": 1, "do": do, **more}).encode()))
    return answer


def test_the_control_socket_takes_record_and_recorded_and_one_thing_at_a_time() -> None:
    forwarder = Forwarder(("127.0.0.1", 1))
    assert asked(forwarder, "recorded")["messages"] == []
    assert asked(forwarder, "record", channel=WRITES.value, baseline=[])["ok"]
    assert "is armed; disarm it first" in asked(forwarder, "record", channel=WRITES.value, baseline=[])["error"]
    inspector = forwarder.armory.inspector()
    assert isinstance(inspector, EtcdChannel)
    ask(inspector, requests()[0])
    assert asked(forwarder, "disarm")["ok"]
    assert forwarder.armory.inspector() is None
    assert [row[2] for row in asked(forwarder, "recorded")["messages"]] == ["Deployment/default/web"]
    for wrong in ("at-rest-write", "nowhere", None):
        assert "expected one in flight" in asked(forwarder, "record", channel=wrong, baseline=[])["error"]


def test_who_can_record_nothing_says_so() -> None:
    armory: Armory[RequestsChannel] = Armory(lambda rule, pairs: RequestsChannel(rule, baseline=pairs))
    with pytest.raises(FaultError, match="nothing here can record"):
        armory.record(WRITES, [])
    plain = EtcdChannel(recording_rule(WRITES))
    assert type(plain.evidence) is Evidence
