"""Finding any node and removing it: what was asked is gone, and nothing else."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.codec import Place, Storage, find, list_fields, locate, remove, to_tree
from injector.codec.encoding import encode_varint
from injector.codec.paths import parse_path
from injector.errors import CodecError, FaultError
from tests.injector.stored import UNKNOWN, add_unknown, envelope, golden, golden_cbor, random_object

EVERY = [
    *((name, golden(name)) for name in ("deployment", "pod", "service", "endpointslice", "csr", "hpa", "box", "crd")),
    ("box.cbor", golden_cbor("box")),
]


def _nodes(value: bytes) -> list[str]:
    """Paths of all leaves and of all that they lie in."""
    found: dict[str, None] = {}
    for item in list_fields(value):
        path = item.path
        while path:
            found[path] = None
            path = path[: path.rindex("[")] if path.endswith("]") else path.rpartition(".")[0]
    return list(found)


def _keys(path: str) -> list[str]:
    return [key for step in parse_path(path) for key in (step.name, *step.keys)]


def _without(tree: Any, path: str) -> Any:
    """The tree without a node; `tree` is changed. A zero that JSON leaves out is not there in the first place."""
    *above, last = _keys(path)
    node = tree
    for key in above:
        node = node[int(key)] if isinstance(node, list) else node[key]
    if isinstance(node, list):
        del node[int(last)]
    else:
        node.pop(last, None)
    return tree


def _at(tree: Any, path: str) -> Any:
    for key in _keys(path):
        tree = tree[int(key)] if isinstance(tree, list) else tree.get(key)
    return tree


def _pruned(tree: Any) -> Any:
    """Without what is empty: a list that lost its last element is absent in protobuf, and a message may stay."""
    if isinstance(tree, dict):
        return {key: kept for key, item in tree.items() if (kept := _pruned(item)) not in (None, {}, [])}
    return [_pruned(item) for item in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize(("value"), [value for _, value in EVERY], ids=[name for name, _ in EVERY])
def test_every_node_of_a_real_object_can_be_removed(value: bytes) -> None:
    for path in _nodes(value):
        if path in ("kind", "apiVersion"):
            continue
        place = find(value, path)
        assert (_pruned(place.value) or None) == (_pruned(_at(to_tree(value), path)) or None), path
        assert _pruned(to_tree(remove(value, place))) == _pruned(_without(to_tree(value), path)), path


def _cut_by_hand(value: bytes, place: Place) -> bytes:
    """One cut, with the lengths around it written anew from the inside out."""
    (cut,) = place.cuts
    piece, start, end = b"", cut.start, cut.end
    for span in reversed(cut.enclosing):
        piece = value[span.start : start] + piece + value[end : span.end]
        piece, start, end = encode_varint(len(piece)) + piece, span.length_start, span.end
    return value[:start] + piece + value[end:]


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=True))
def test_what_is_removed_is_gone_and_unknown_fields_and_all_other_bytes_stay(random: Random) -> None:
    api_version, kind, message = random_object(random)
    add_unknown(message, random)
    value = envelope(api_version, kind, message.SerializeToString())
    nodes = _nodes(value)
    if not nodes:
        return
    path = random.choice(nodes)
    place = find(value, path)
    after = remove(value, place)
    assert _pruned(to_tree(after)) == _pruned(_without(to_tree(value), path))
    lost = sum(value[cut.start : cut.end].count(UNKNOWN) for cut in place.cuts)
    assert after.count(UNKNOWN) == value.count(UNKNOWN) - lost
    if len(place.cuts) == 1:
        assert after == _cut_by_hand(value, place)


def test_a_list_or_map_goes_as_a_whole_wherever_its_elements_lie() -> None:
    value = golden("deployment")
    place = find(value, "spec.selector.matchLabels")
    assert (place.type, place.value, len(place.cuts)) == ("string", {"app": "web"}, 1)
    # Service.spec: a port, the type, another port
    scattered = envelope("v1", "Service", b"\x12\x0d" + b"\x0a\x02\x18\x50" + b"\x22\x03XYZ" + b"\x0a\x02\x18\x51")
    place = find(scattered, "spec.ports")
    assert (place.value, place.type, place.storage) == ([{"port": 80}, {"port": 81}], "ServicePort", Storage.PROTOBUF)
    assert remove(scattered, place) == envelope("v1", "Service", b"\x12\x05\x22\x03XYZ")
    assert scattered[slice(*place.span)] == b"\x0a\x02\x18\x50\x22\x03XYZ\x0a\x02\x18\x51"


def test_packed_elements_and_packed_lists_go() -> None:
    # PodSecurityContext.supplementalGroups (spec.securityContext 14, field 4): packed 1, 300; then 5
    value = envelope("v1", "Pod", b"\x12\x09\x72\x07\x22\x03\x01\xac\x02\x20\x05")
    path = "spec.securityContext.supplementalGroups"
    assert remove(value, find(value, f"{path}[1]")) == envelope("v1", "Pod", b"\x12\x07\x72\x05\x22\x01\x01\x20\x05")
    assert remove(value, find(value, path)) == envelope("v1", "Pod", b"\x12\x02\x72\x00")


def test_what_was_written_twice_is_removed_twice() -> None:
    value = envelope("apps/v1", "Deployment", b"\x12\x04\x08\x03\x38\x01\x12\x04\x08\x05\x08\x07")
    assert find(value, "spec.replicas").value == 7
    assert remove(value, find(value, "spec.replicas")) == envelope("apps/v1", "Deployment", b"\x12\x02\x38\x01\x12\x00")
    assert to_tree(remove(value, find(value, "spec"))) == {"apiVersion": "apps/v1", "kind": "Deployment"}
    entries = b"\x12\x06\x0a\x01k\x12\x01v" + b"\x12\x06\x0a\x01l\x12\x01w" + b"\x12\x06\x0a\x01k\x12\x01x"
    value = envelope("v1", "ConfigMap", entries)
    assert find(value, "data[k]").value == "x"
    assert to_tree(remove(value, find(value, "data[k]")))["data"] == {"l": "w"}


def test_a_time_that_was_written_twice_is_one_place_with_the_last_as_its_value() -> None:
    value = envelope("v1", "Pod", b"\x0a\x08\x42\x02\x08\x05\x42\x02\x08\x06")
    place = find(value, "metadata.creationTimestamp")
    assert (place.value, locate(value, place.path).value, len(place.cuts)) == ("1970-01-01T00:00:06Z", 6, 2)
    assert remove(value, place) == envelope("v1", "Pod", b"\x0a\x00")


def test_an_entry_without_a_value_is_a_place_too() -> None:
    value = envelope("v1", "ConfigMap", b"\x12\x03\x0a\x01k")
    assert (find(value, "data[k]").value, find(value, "data").value) == ("", {"k": ""})
    assert remove(value, find(value, "data[k]")) == envelope("v1", "ConfigMap", b"")


def test_lengths_shrink_right_up_the_chain() -> None:
    value = golden("deployment")
    after = remove(value, find(value, "spec.template"))
    assert "template" not in to_tree(after)["spec"]  # type: ignore[operator]
    assert len(after) < len(value) - 500


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spec.template.spec.affinity", "spec.template.spec.affinity is absent; spec.template.spec holds volumes"),
        ("spec.template.spec.hostAliases", "spec.template.spec.hostAliases is absent"),
        ("spec.template.spec.containers.image", "holds several values; say which in brackets"),
        ("spec.nope", "spec has no field 'nope'"),
        ("spec.selector.matchLabels[x]", "no key 'x'"),
    ],
)
def test_what_is_not_there_has_no_place(path: str, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        find(golden("deployment"), path)


def test_a_place_of_another_object_is_refused() -> None:
    with pytest.raises(CodecError, match="spec was found in other bytes"):
        remove(golden("service"), find(golden("deployment"), "spec"))


def test_old_versions_and_other_places_are_addressed_with_the_same_table() -> None:
    subsets = b"\x0a\x00" + b"\x12\x0c" + b"\x0a\x04\x0a\x02ip" + b"\x0a\x04\x0a\x02iq"
    value = envelope("v1", "Endpoints", subsets)
    assert locate(value, "subsets[0].addresses[1].ip").value == "iq"
    assert to_tree(remove(value, find(value, "subsets[0].addresses[0]")))["subsets"] == [{"addresses": [{"ip": "iq"}]}]
    old = envelope("extensions/v1beta1", "Deployment", b"\x12\x02\x08\x03")
    assert (locate(old, "spec.replicas").value, to_tree(old)["spec"]) == (3, {"replicas": 3})
    hpa = envelope("autoscaling/v1", "HorizontalPodAutoscaler", b"\x12\x02\x18\x05")
    assert locate(hpa, "spec.maxReplicas").value == 5
