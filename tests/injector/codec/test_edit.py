"""Changing one field: exactly what was asked, and nothing else."""

from __future__ import annotations

import base64
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import Located, encode_scalar, list_fields, locate, replace, to_tree
from injector.codec.encoding import encode_tag, encode_varint
from injector.codec.table import shipped_table
from injector.errors import CodecError
from tests.injector.stored import (
    PROTOBUF,
    add_unknown,
    envelope,
    golden,
    leaves,
    parsed,
    random_object,
    random_scalar,
    raw_of,
)


def _rest(value: bytes, located: Located) -> bytes:
    """All bytes but the field's own and those of the lengths around it."""
    holes = [located.span, *((span.length_start, span.start) for span in located.enclosing)]
    keep, position = bytearray(), 0
    for start, end in sorted(holes):
        keep += value[position:start]
        position = end
    return bytes(keep + value[position:])


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=True))
def test_another_decoder_sees_the_one_field_changed_and_no_other_byte_differs(random: Random) -> None:
    api_version, kind, message = random_object(random)
    add_unknown(message, random)
    table_message = shipped_table().of_kind(api_version, kind)
    assert table_message is not None
    known = leaves(message, table_message.name)
    if not known:
        return
    path = random.choice(sorted(known))
    (owner, attribute, place), type_name, _ = known[path]
    value = envelope(api_version, kind, message.SerializeToString())
    wanted = random_scalar(random, type_name)
    as_json = base64.b64encode(wanted).decode() if isinstance(wanted, bytes) else wanted

    located = locate(value, path)
    after = replace(value, located, encode_scalar(type_name, as_json))

    if place is None:
        setattr(owner, attribute, wanted)
    else:
        getattr(owner, attribute)[place] = wanted
    assert parsed(after, api_version, kind) == message
    changed = _same_place(after, path, located)
    assert changed.value == as_json
    assert _rest(after, changed) == _rest(value, located)


def _same_place(after: bytes, path: str, before: Located) -> Located:
    """The path again; where the change made it another field (the type of an IntOrString), nothing to compare."""
    found = locate(after, path)
    assert len(found.enclosing) == len(before.enclosing)
    return found


@pytest.mark.parametrize("name", PROTOBUF)
def test_writing_back_what_is_there_changes_no_byte(name: str) -> None:
    value = golden(name)
    for item in list_fields(value):
        found = locate(value, item.path)
        assert replace(value, found, found.payload) == value


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 100_000])
def test_lengths_grow_and_shrink_right_up_the_chain(size: int) -> None:
    value = golden("deployment")
    path = "spec.template.spec.containers[0].env[1].value"
    grown = replace(value, locate(value, path), b"x" * size)
    tree = to_tree(grown)
    expected = to_tree(value)
    expected["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"] = "x" * size  # type: ignore
    if not size:
        del expected["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"]  # type: ignore
    assert tree == expected
    assert replace(grown, locate(grown, path), b"x") == value


def test_unknown_fields_and_lengths_written_long_survive() -> None:
    strange = encode_tag(15_000, 2) + b"\x03abc" + encode_tag(15_001, 0) + b"\x05" + b"\xdb\xd4\x07\x08\x01\xdc\xd4\x07"
    spec = b"\x08\x03" + strange
    raw = strange + b"\x12" + bytes((len(spec) | 0x80, 0)) + spec + strange  # the length takes a byte too many
    value = envelope("apps/v1", "Deployment", raw)
    after = replace(value, locate(value, "spec.replicas"), b"\x04")
    assert after == value.replace(b"\x08\x03" + strange, b"\x08\x04" + strange)
    assert raw_of(replace(value, locate(value, "spec.replicas"), b"\x80\x01")).count(strange) == 3


def test_an_element_of_a_packed_list_changes_with_the_list_s_length() -> None:
    value = envelope("v1", "Pod", b"\x12\x07\x72\x05\x22\x03\x01\xac\x02")
    found = locate(value, "spec.securityContext.supplementalGroups[0]")
    after = replace(value, found, encode_varint(-1))
    assert [item.value for item in list_fields(after)] == [-1, 300]
    assert parsed(after, "v1", "Pod").f2.f14.f4 == [-1, 300]  # type: ignore[attr-defined]


def test_an_absent_field_is_inserted_where_kubernetes_writes_it() -> None:
    value = golden("deployment")
    found = locate(value, "spec.template.spec.activeDeadlineSeconds")
    after = replace(value, found, encode_varint(300))
    expected = to_tree(value)
    expected["spec"]["template"]["spec"]["activeDeadlineSeconds"] = 300  # type: ignore
    assert to_tree(after) == expected
    rewritten = parsed(after, "apps/v1", "Deployment")
    assert len(rewritten.SerializeToString()) == len(raw_of(after))
    paths = [item.path for item in list_fields(after) if item.path.startswith("spec.template.spec.")]
    names = [path.split(".")[3].split("[")[0] for path in paths]
    order = {
        field.name: field.number for field in shipped_table().message("k8s.io.api.core.v1.PodSpec").fields.values()
    }
    assert [order[name] for name in names] == sorted(order[name] for name in names)


def test_a_field_of_another_object_is_refused() -> None:
    with pytest.raises(CodecError, match="located in other bytes"):
        replace(golden("service"), locate(golden("deployment"), "spec.template.spec.containers[0].image"), b"x")
