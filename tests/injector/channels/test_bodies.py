"""Bodies of the API, as kube-apiserver and its components wrote them, cut into objects and put together again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.channels.bodies import (
    JSON,
    PROTOBUF,
    Part,
    event_in,
    object_in,
    objects_in,
    replaced,
    status_answer,
    status_in,
    without_part,
)
from injector.codec import decode_value, encode_value, find, locate, read_meta, remove, replace, to_tree
from injector.corrupt import corrupt
from injector.errors import CodecError, FaultError, WireError
from injector.rules import JSONValue
from tests.injector.channels.exchanges import captured
from tests.injector.stored import golden, golden_cbor

LISTS = ("list-services-protobuf", "list-services-json", "list-metadata-protobuf", "list-metadata-json")


def parts_of(name: str) -> tuple[bytes, list[Part]]:
    one = captured(name)
    return one.messages[0], objects_in(one.messages[0], one.content_type)


def body_of(name: str, *, kind: str = "Pod", api_version: str = "v1") -> Part:
    one = captured(name)
    content_type = dict(one.head.headers).get("content-type")
    return object_in(one.body, content_type, api_version=api_version, kind=kind)


def changed(value: bytes, path: str, to: JSONValue) -> bytes:
    located = locate(value, path)
    return replace(value, located, encode_value(located, to))


# Lists


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("list-services-protobuf", "Service", ["kubernetes", "web"]),
        ("list-services-json", "Service", ["kubernetes", "web"]),
        ("list-metadata-protobuf", "PartialObjectMetadata", ["web-5448489f7c", "web-5b7df8b546"]),
        ("list-metadata-json", "PartialObjectMetadata", ["kubernetes", "web"]),
    ],
)
def test_items_of_a_list_are_objects_that_name_their_kind(name: str, kind: str, names: list[str]) -> None:
    metas = [read_meta(part.value) for part in parts_of(name)[1]]
    assert [(meta.kind, meta.name, meta.resource_version != "") for meta in metas] == [(kind, n, True) for n in names]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("text", ["x", "y" * 300, ""])
def test_a_changed_item_leaves_all_other_bytes_of_its_list_as_they_were(name: str, text: str) -> None:
    body, parts = parts_of(name)
    after = replaced(body, parts[1], changed(parts[1].value, "metadata.name", text))
    again = objects_in(after, PROTOBUF)
    assert read_meta(again[1].value).name == text and again[0].value == parts[0].value
    mended = replaced(after, again[1], changed(again[1].value, "metadata.name", read_meta(parts[1].value).name))
    assert mended == body


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_list_without_one_of_its_items_is_a_list(name: str, which: int) -> None:
    body, parts = parts_of(name)
    left = objects_in(without_part(body, parts[which]), PROTOBUF)
    assert [part.value for part in left] == [parts[1 - which].value]
    (last,) = left
    assert objects_in(without_part(without_part(body, parts[which]), last), PROTOBUF) == []


def test_json_lists_without_items_stay_json() -> None:
    body, parts = parts_of("list-services-json")
    for part in parts:
        assert [i["metadata"]["name"] for i in json.loads(without_part(body, part))["items"]] != []


def test_a_list_of_nothing_and_a_table() -> None:
    assert parts_of("list-nothing")[1] == []
    with pytest.raises(CodecError, match="Table is not looked at"):
        parts_of("table")
    with pytest.raises(CodecError, match="a list in application/yaml is not looked at"):
        objects_in(b"apiVersion: v1", "application/yaml")


def test_what_a_list_s_items_leave_out_can_t_be_changed() -> None:
    for name in ("list-services-json", "list-services-protobuf"):
        part = parts_of(name)[1][0]
        for value in (part.value.replace(b"Service", b"Serfice"), part.value[:2]):
            if name.endswith("json") and len(value) < 3:
                continue
            with pytest.raises(FaultError, match="which this message does not carry"):
                part.own(value)
    flip = corrupt(part.value, "byte-flip", {"offset": 0, "bit": 7, "part": "envelope"}, None)
    with pytest.raises(FaultError, match="envelope"):
        part.own(flip.after)


@pytest.mark.parametrize("name", LISTS)
def test_bytes_of_an_item_count_as_they_stand_in_the_message(name: str) -> None:
    body, parts = parts_of(name)
    part = parts[1]
    flip = corrupt(part.value, "byte-flip", {"offset": 7, "bit": 0}, None)
    expected = bytearray(body)
    expected[part.start + 7] ^= 1
    assert replaced(body, part, flip.after) == bytes(expected)


def test_a_cut_item_is_cut_in_its_list_and_lengths_around_it_are_right() -> None:
    body, parts = parts_of("list-services-protobuf")
    keep = len(parts[0].head) + 40
    cut = replaced(body, parts[0], parts[0].value[:keep])
    left = objects_in(cut, PROTOBUF)
    assert left[1].value == parts[1].value and left[0].end - left[0].start == 40
    text, items = parts_of("list-services-json")
    assert replaced(text, items[0], items[0].value[:40]) == text[: items[0].start + 40] + text[items[0].end :]


def test_a_new_member_and_a_removed_one_stand_in_the_item_itself() -> None:
    text, items = parts_of("list-services-json")
    added = corrupt(items[0].value, "value-set", {"value": "x"}, "note").after
    tree = json.loads(replaced(text, items[0], added))["items"][0]
    assert tree["note"] == "x" and "kind" not in tree
    gone = remove(items[0].value, find(items[0].value, "spec.ports"))
    assert "ports" not in json.loads(replaced(text, items[0], gone))["items"][0]["spec"]


# Watches


def test_events_of_a_protobuf_watch() -> None:
    events = [event_in(message) for message in captured("watch-services").messages]
    assert [event.type for event in events][:2] == ["ADDED", "ADDED"] and "BOOKMARK" in [e.type for e in events]
    assert all((event.part is None) == (event.type == "BOOKMARK") for event in events)
    names = [read_meta(event.part.value).name for event in events if event.part is not None]
    assert {"kubernetes", "kube-dns"} <= set(names)


@pytest.mark.parametrize("name", ["watch-services", "watch-services-json"])
def test_a_changed_event_says_what_it_said_but_for_that(name: str) -> None:
    message = captured(name).messages[0]
    part = event_in(message).part
    assert part is not None
    longer = replaced(message, part, changed(part.value, "metadata.name", "n" * 200))
    again = event_in(longer).part
    assert again is not None and read_meta(again.value).name == "n" * 200
    assert replaced(longer, again, part.value) == message


def test_a_json_event_in_another_order_is_read_as_well() -> None:
    message = captured("watch-services-json").messages[0]
    tree = json.loads(message)
    turned = json.dumps({"object": tree["object"], "type": tree["type"]}, indent=1).encode()
    event = event_in(turned)
    assert event.part is not None and to_tree(event.part.value) == tree["object"]
    error = b'{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410}}'
    assert event_in(error) == ("ERROR", None)


@given(st.binary(max_size=60))
def test_what_is_no_event_is_refused_in_words(message: bytes) -> None:
    try:
        event_in(message)
        objects_in(message, None)
    except (CodecError, WireError):
        pass


# Single objects and patches


def test_a_binding_is_an_object() -> None:
    part = body_of("bind")
    assert locate(part.value, "target.name").value == "node-1" and not part.wrapped
    assert read_meta(part.value).kind == "Binding"


def test_a_patch_s_fields_are_found_by_the_object_s_paths_and_only_they_change() -> None:
    one = captured("patch-node-status")
    part = body_of("patch-node-status", kind="Node")
    located = locate(part.value, "status.conditions[type=Ready].lastHeartbeatTime")
    assert one.body[slice(*located.span)] == located.payload
    after = replaced(one.body, part, changed(part.value, "status.conditions[type=Ready].type", "Steady"))
    assert after == one.body[::-1].replace(b'"Ready"'[::-1], b'"Steady"'[::-1], 1)[::-1]
    assert part.shown(part.value) == one.body and part.span(located.span) == located.span


def test_a_merge_patch_can_be_given_more_and_an_empty_one_too() -> None:
    part = body_of("merge-patch", kind="Service")
    after = corrupt(part.value, "value-set", {"value": "x"}, "metadata.labels[app]").after
    assert json.loads(part.own(after)) == {"metadata": {"labels": {"tier": "front", "app": "x"}}}
    none = object_in(b"{}", "application/merge-patch+json", api_version="v1", kind="Pod")
    assert none.own(none.value) == b"{}"
    assert json.loads(none.own(corrupt(none.value, "value-set", {"value": 1}, "x").after)) == {"x": 1}


def test_a_json_patch_is_bytes() -> None:
    one, part = captured("json-patch"), body_of("json-patch", kind="Service")
    assert part.opaque and part.shown(part.value) == one.body
    flip = corrupt(part.value, "byte-flip", {"offset": 3, "bit": 0}, None)
    expected = bytearray(one.body)
    expected[3] ^= 1
    assert replaced(one.body, part, flip.after) == expected == part.shown(flip.after)
    assert part.span(flip.span) == (3, 4)
    cut = corrupt(part.value, "truncate", {"lose": 5}, None)
    assert replaced(one.body, part, cut.after) == one.body[:-5]


def test_cbor_is_an_object_and_yaml_bytes() -> None:
    cbor = golden_cbor("box")
    assert not object_in(cbor, "application/cbor", api_version="", kind="").opaque
    yaml = object_in(b"kind: Pod", "application/apply-patch+yaml", api_version="v1", kind="Pod")
    applied = object_in(b'{"metadata":{}}', "application/apply-patch+yaml", api_version="v1", kind="Pod")
    assert yaml.opaque and not applied.opaque and read_meta(applied.value).kind == "Pod"


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=4), st.text(max_size=9))
def test_whatever_is_in_a_patch_comes_back_as_it_was(tree: dict[str, JSONValue], text: str) -> None:
    body = json.dumps(tree, ensure_ascii=False).encode() + b"\n"
    part = object_in(body, "application/strategic-merge-patch+json", api_version="v1", kind="Pod")
    assert replaced(body, part, part.value) == body
    if "kind" in tree or "apiVersion" in tree or "new" in tree:
        return
    located = locate(part.value, "new")
    after = replaced(body, part, replace(part.value, located, encode_value(located, text)))
    assert json.loads(after) == tree | {"new": decode_value(located, encode_value(located, text))}


# Statuses


@pytest.mark.parametrize("name", ["not-found-protobuf", "not-found-json"])
def test_a_status_is_read_in_both_forms(name: str) -> None:
    assert str(status_in(captured(name).messages[0])) == 'NotFound: pods "none" not found'


@pytest.mark.parametrize(
    ("accept", "form"), [(f"{PROTOBUF}, */*", PROTOBUF), (f"{PROTOBUF},{JSON}", PROTOBUF), (JSON, JSON), (None, JSON)]
)
def test_a_made_up_status_is_one_as_kube_apiserver_s(accept: str | None, form: str) -> None:
    answer = status_answer(503, accept, reason="ServiceUnavailable", message="no")
    assert (answer.status, answer.content_type) == (503, form)
    assert status_in(answer.body) == ("Failure", "ServiceUnavailable", "no")
    assert status_in(status_answer(201, accept).body) == ("Success", "", "")


def test_a_binding_s_made_up_success_is_the_real_one_s_bytes() -> None:
    assert status_answer(201, PROTOBUF).body == captured("bind").messages[0]


def test_what_is_no_status_is_none() -> None:
    assert [status_in(body) for body in (golden("pod"), b"", b"{}", b"<html>")] == [None] * 4
