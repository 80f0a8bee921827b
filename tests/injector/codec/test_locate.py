"""Finding fields by their paths."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import list_fields, locate, replace, to_tree
from injector.codec.encoding import encode_varint
from injector.codec.table import shipped_table
from injector.errors import CodecError, FaultError
from tests.injector.stored import PROTOBUF, envelope, golden, leaves, random_object


@pytest.mark.parametrize(
    ("name", "path", "type_name", "kubernetes_type", "value"),
    [
        ("deployment", "spec.replicas", "int32", "int32", 3),
        ("deployment", "spec.paused", "bool", "bool", False),
        ("deployment", "spec.selector.matchLabels[app]", "string", "string", "web"),
        ("deployment", "spec.template.metadata.labels[app.kubernetes.io/name]", "string", "string", "web"),
        ("deployment", "spec.template.spec.containers[name=web].image", "string", "string", "web"),
        ("deployment", "spec.template.spec.containers[0].args[1]", "string", "string", "8080"),
        ("deployment", "spec.template.spec.containers[0].resources.limits[memory]", "string", "Quantity", "1G"),
        ("deployment", "spec.template.spec.volumes[name=conf].configMap.name", "string", "string", "settings"),
        ("deployment", "spec.template.spec.containers[0].readinessProbe.httpGet.port", "string", "IntOrString", "http"),
        ("deployment", "spec.template.spec.containers[0].livenessProbe.tcpSocket.port", "int32", "IntOrString", 8080),
        ("deployment", "metadata.annotations[note]", "string", "string", "üñï"),
        ("service", "spec.selector[app]", "string", "string", "web"),
        ("service", "spec.ports[name=raw].targetPort", "int32", "IntOrString", 8080),
        ("pod", "metadata.ownerReferences[0].kind", "string", "string", "ReplicaSet"),
        ("pod", "spec.nodeName", "string", "string", "node-1"),
        ("secret", "data[password]", "bytes", "bytes", "bm90LWEtc2VjcmV0"),
    ],
)
def test_a_field_is_found_with_its_type_and_value(
    name: str, path: str, type_name: str, kubernetes_type: str, value: object
) -> None:
    found = locate(golden(name), path)
    assert (found.type, found.kubernetes_type, found.value, found.present) == (type_name, kubernetes_type, value, True)
    assert golden(name)[slice(*found.span)] == found.payload


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spec.selctor", "spec has no field 'selctor'; a DeploymentSpec has minReadySeconds, paused"),
        ("spec.selector", "spec.selector is a LabelSelector, not a single value; it holds matchLabels"),
        ("spec.selector.matchLabels", r"holds several values; .* There are: spec.selector.matchLabels\[app\]"),
        ("spec.selector.matchLabels[nope]", r"no key 'nope'; there are: spec.selector.matchLabels\[app\]"),
        ("spec.template.spec.containers[1].image", "has 1 elements; there is no"),
        ("spec.template.spec.containers[name=db].image", "no element with name 'db'; there are: web"),
        ("spec.template.spec.containers[web].image", "expected an index or FIELD=VALUE"),
        ("spec.template.spec.volumes[0].emptyDir.medium", r"emptyDir is absent; .* holds name, configMap"),
        ("spec.template.spec.affinity", "affinity is absent; spec.template.spec holds volumes, containers"),
        ("spec.replicas.x", "spec.replicas is of type int32; it has no field 'x'"),
        ("spec.replicas[0]", "spec.replicas is of type int32, not a list or map"),
        ("kind", "the object has no field 'kind'; a Deployment has metadata, spec, status"),
        ("spec..replicas", "can't be read from character 6"),
        ("spec.replicas.", "can't be read from character 6"),
        ("spec.selector[app", "can't be read from character 6"),
        ("", "the field path is empty"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends_and_what_is_there(path: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        locate(golden("deployment"), path)


def test_a_message_that_is_nothing_but_a_list_is_indexed_like_one() -> None:
    extra = b"\x0a\x03a/b\x12\x06\x0a\x01x\x0a\x01y"  # a/b: [x, y]
    spec = b"\x32" + bytes((len(extra),)) + extra
    value = envelope("certificates.k8s.io/v1", "CertificateSigningRequest", b"\x12" + bytes((len(spec),)) + spec)
    assert locate(value, "spec.extra[a/b][1]").value == "y"
    assert to_tree(value)["spec"] == {"extra": {"a/b": ["x", "y"]}}
    with pytest.raises(FaultError, match=r"spec.extra\[a/b\] has 2 elements"):
        locate(value, "spec.extra[a/b][2]")


def test_an_optional_scalar_that_is_absent_has_a_place() -> None:
    found = locate(golden("deployment"), "spec.template.spec.priority")
    assert (found.present, found.value, found.type, found.span[0]) == (False, None, "int32", found.span[1])


def test_a_wrong_wire_type_is_an_error_as_it_is_in_kubernetes() -> None:
    with pytest.raises(CodecError, match=r"field 1 \(replicas\) has wire type 2, expected 0"):
        locate(envelope("apps/v1", "Deployment", b"\x12\x03\x0a\x01x"), "spec.replicas")


def test_of_a_field_that_is_written_twice_the_last_counts() -> None:
    value = envelope("apps/v1", "Deployment", b"\x12\x04\x08\x03\x08\x07")
    assert locate(value, "spec.replicas").value == 7
    assert [(item.path, item.value) for item in list_fields(value)] == [("spec.replicas", 7)]


def test_a_message_that_is_written_in_pieces_is_merged() -> None:
    pieces = envelope("apps/v1", "Deployment", b"\x12\x02\x08\x03\x12\x04\x38\x01\x08\x05")
    assert to_tree(pieces)["spec"] == {"replicas": 5, "paused": True}
    assert {item.path: item.value for item in list_fields(pieces)} == {"spec.replicas": 5, "spec.paused": True}
    assert [locate(pieces, f"spec.{name}").value for name in ("replicas", "paused")] == [5, True]
    first = envelope("apps/v1", "Deployment", b"\x12\x02\x08\x03\x12\x02\x38\x01")
    assert to_tree(replace(first, locate(first, "spec.replicas"), b"\x07"))["spec"] == {"replicas": 7, "paused": True}


def test_a_packed_list_is_read_element_by_element() -> None:
    # PodSecurityContext.supplementalGroups (spec.securityContext 14, field 4), packed: 1, 300
    value = envelope("v1", "Pod", b"\x12\x07\x72\x05\x22\x03\x01\xac\x02")
    assert [(item.path, item.value) for item in list_fields(value)] == [
        ("spec.securityContext.supplementalGroups[0]", 1),
        ("spec.securityContext.supplementalGroups[1]", 300),
    ]


@pytest.mark.parametrize("name", PROTOBUF)
def test_every_field_that_is_listed_is_found_again(name: str) -> None:
    value = golden(name)
    for item in list_fields(value):
        found = locate(value, item.path)
        there = (found.path, found.type, found.value, found.kubernetes_type, found.wire_type, found.span)
        assert (there, found.present) == (item, True)


@settings(max_examples=120, deadline=None)
@given(st.randoms(use_true_random=True))
def test_the_listed_fields_are_those_that_another_decoder_finds(random: Random) -> None:
    api_version, kind, message = random_object(random)
    table_message = shipped_table().of_kind(api_version, kind)
    assert table_message is not None
    expected = {path: (kind_, value) for path, (_, kind_, value) in leaves(message, table_message.name).items()}
    value = envelope(api_version, kind, message.SerializeToString())
    assert {item.path: (item.type, item.value) for item in list_fields(value)} == expected


def test_of_a_map_s_entry_that_stands_twice_only_the_last_is_listed() -> None:
    first, last = b"\x0a\x03a/b\x12\x06\x0a\x01x\x0a\x01y", b"\x0a\x03a/b\x12\x03\x0a\x01z"
    spec = b"\x32" + bytes((len(first),)) + first + b"\x32" + bytes((len(last),)) + last
    value = envelope("certificates.k8s.io/v1", "CertificateSigningRequest", b"\x12" + bytes((len(spec),)) + spec)
    assert [(item.path, item.value) for item in list_fields(value)] == [("spec.extra[a/b][0]", "z")]
    assert to_tree(value)["spec"] == {"extra": {"a/b": ["z"]}}


def test_a_field_s_number_is_cut_to_32_bits_as_in_kubernetes() -> None:
    tag = encode_varint(1 << 35 | 0x12)  # field 2 of a ConfigMap, with a bit too many
    value = envelope("v1", "ConfigMap", tag + b"\x06\x0a\x01k\x12\x01v" + encode_varint(1 << 35 | 0x20) + b"\x01")
    assert to_tree(value) == {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}, "immutable": True}
    assert {item.path: item.value for item in list_fields(value)} == {"data[k]": "v", "immutable": True}
