"""The fault models: what each does to a field or message, what it refuses, and its parameters."""

from __future__ import annotations

from typing import Any

import pytest

from injector.codec import encode_value, locate, to_tree
from injector.corrupt import corrupt
from injector.errors import CodecError, FaultError
from injector.faults import MODELS, Registry, Scope
from injector.faults.drop import Drop
from injector.rules import IN_TURN, Delivery, Told
from tests.injector.stored import envelope, golden, raw_of

DEPLOYMENT = "Deployment/default/web"
SERVICE_UID, DEPLOYMENT_UID = "f96ffaa0-c27c-4db1-bb61-fb83f1d3b7c2", "9b0295bd-68c1-451b-bde8-99fe2378d75d"


class Cluster:
    """One Deployment, and an earlier version of whatever is asked for."""

    def __init__(self, previous: bytes | None = None) -> None:
        self._previous = previous

    def previous(self) -> bytes | None:
        return self._previous

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        return (b"/registry/deployments/default/web", golden("deployment")) if identity == DEPLOYMENT else None


def test_the_models_that_ship_are_known_by_name_scope_and_causes() -> None:
    assert {model.name: model.scope for model in MODELS} == {
        "bit-flip": Scope.FIELD,
        "value-set": Scope.FIELD,
        "boolean-invert": Scope.FIELD,
        "field-remove": Scope.PART,
        "byte-flip": Scope.EITHER,
        "truncate": Scope.EITHER,
        "drop": Scope.MESSAGE,
        "delay": Scope.MESSAGE,
        "duplicate": Scope.MESSAGE,
        "reorder": Scope.MESSAGE,
        "stale": Scope.MESSAGE,
        "wrong-key": Scope.MESSAGE,
    }
    assert all(model.causes and all(cause.words for cause in model.causes) for model in MODELS)


def test_a_name_is_registered_once() -> None:
    registry = Registry((Drop(),))
    with pytest.raises(ValueError, match="'drop' is already registered"):
        registry.add(Drop())
    assert (len(registry), "drop" in registry, "bit-flip" in registry) == (1, True, False)


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(FaultError, match=r"no fault model 'bitflip'; there are: bit-flip, boolean-invert"):
        MODELS["bitflip"]


@pytest.mark.parametrize(
    ("name", "model", "parameters", "field", "before", "after"),
    [
        ("deployment", "bit-flip", {}, "spec.replicas", 3, 2),
        ("deployment", "bit-flip", {"bit": 6}, "spec.replicas", 3, 67),
        ("deployment", "bit-flip", {"bit": 31}, "spec.replicas", 3, 3 - 2**31),
        ("pod", "bit-flip", {"bit": 63}, "spec.tolerations[1].tolerationSeconds", None, None),
        ("deployment", "bit-flip", {"bit": 63}, "metadata.generation", 1, 1 - 2**63),
        ("service", "bit-flip", {}, "spec.selector[app]", "web", "veb"),
        ("service", "bit-flip", {"character": "middle", "bit": 1}, "spec.selector[app]", "web", "wgb"),
        ("service", "bit-flip", {"character": 2, "bit": 0}, "spec.selector[app]", "web", "wec"),
        ("deployment", "bit-flip", {"character": 1}, "metadata.annotations[note]", "üñï", "üðï"),
        ("configmap", "bit-flip", {"character": 2, "bit": 7}, "binaryData[b.bin]", "AAECAwT/", "AAGCAwT/"),
        ("deployment", "value-set", {"value": 67}, "spec.replicas", 3, 67),
        ("deployment", "value-set", {"value": 0}, "spec.replicas", 3, 0),
        ("deployment", "value-set", {"extreme": "zero"}, "spec.replicas", 3, 0),
        ("deployment", "value-set", {"extreme": "minus-one"}, "spec.replicas", 3, -1),
        ("deployment", "value-set", {"extreme": "max"}, "spec.replicas", 3, 2**31 - 1),
        ("deployment", "value-set", {"extreme": "max"}, "metadata.generation", 1, 2**63 - 1),
        ("service", "value-set", {"extreme": "empty"}, "spec.selector[app]", "web", ""),
        ("service", "value-set", {"value": "other"}, "spec.selector[app]", "web", "other"),
        ("secret", "value-set", {"value": "AAE="}, "data[password]", "bm90LWEtc2VjcmV0", "AAE="),
        ("deployment", "value-set", {"value": True}, "spec.paused", False, True),
        ("deployment", "value-set", {"value": 5}, "spec.template.spec.priority", None, 5),
        ("deployment", "boolean-invert", {}, "spec.paused", False, True),
        ("pod", "boolean-invert", {}, "metadata.ownerReferences[0].controller", True, False),
        ("deployment", "value-set", {"value": 2**32 + 5, "force": True}, "spec.replicas", 3, 5),
        ("service", "value-set", {"object": DEPLOYMENT}, "metadata.uid", SERVICE_UID, DEPLOYMENT_UID),
        (
            "service",
            "value-set",
            {"object": DEPLOYMENT, "object_field": "spec.strategy.type"},
            "spec.type",
            "ClusterIP",
            "RollingUpdate",
        ),
        ("deployment", "truncate", {}, "metadata.name", "web", "w"),
        ("deployment", "truncate", {"lose": 1}, "metadata.name", "web", "we"),
        ("deployment", "truncate", {"keep": 0}, "metadata.name", "web", ""),
        ("deployment", "truncate", {"keep": 3}, "metadata.annotations[note]", "üñï", "ü"),
        ("box", "truncate", {"keep": 1}, "metadata.namespace", "default", "d"),
        ("deployment", "byte-flip", {"bit": 2}, "spec.replicas", 3, 7),
        ("box", "bit-flip", {"bit": 63}, "spec.a", 1, 1 - 2**63),
        ("box", "bit-flip", {"character": 0, "bit": 1}, "metadata.name", "b", "`"),
        ("box", "value-set", {"extreme": "max"}, "spec.a", 1, 2**63 - 1),
        ("box", "value-set", {"value": 'a"<\n'}, "spec.b[1]", "x", 'a"<\n'),
        ("box", "value-set", {"value": 2}, "spec.b[0]", 1.5, 2),
        ("box", "value-set", {"value": True}, "spec.new", None, True),
        ("apiservice", "value-set", {"value": -1}, "spec.versionPriority", 15, -1),
        ("crd", "boolean-invert", {}, "spec.versions[name=v1].served", True, False),
        ("box", "byte-flip", {"bit": 1}, "spec.a", 1, 3),
        ("deployment", "byte-flip", {"offset": -1, "xor": 3}, "metadata.name", "web", "wea"),
    ],
)
def test_a_field_gets_the_value_that_was_asked_for(
    name: str, model: str, parameters: dict[str, Any], field: str, before: object, after: object
) -> None:
    value = golden(name)
    if field.startswith("spec.tolerations"):
        value = envelope("v1", "Pod", b"\x12\x08\xb2\x01\x00\xb2\x01\x02\x28\x05")
        before, after = 5, 5 - 2**63
    found = corrupt(value, model, parameters, field, around=Cluster())
    assert (found.field_before, found.field_after, found.delivery) == (before, after, IN_TURN)
    assert locate(found.after, field).value == after
    expected = encode_value(locate(value, field), after) if "force" not in parameters else None  # type: ignore[arg-type]
    assert locate(found.after, field).payload == expected or expected is None
    assert found.span == locate(value, field).span or model == "byte-flip"


def test_a_field_fault_leaves_the_rest_of_the_object_as_it_was() -> None:
    value = golden("deployment")
    expected: Any = to_tree(value)
    expected["spec"]["replicas"] = 2**31 - 1
    assert to_tree(corrupt(value, "value-set", {"extreme": "max"}, "spec.replicas").after) == expected


@pytest.mark.parametrize(
    ("name", "model", "parameters", "field", "message"),
    [
        ("deployment", "bit-flip", {"bit": 32}, "spec.replicas", "has bits 0 to 31, got 32"),
        ("deployment", "bit-flip", {}, "spec.paused", "boolean-invert is for booleans"),
        ("deployment", "bit-flip", {"character": "first"}, "spec.replicas", "`character` is for strings"),
        ("deployment", "bit-flip", {}, "metadata.generateName", "is empty"),
        (
            "deployment",
            "bit-flip",
            {"character": 3},
            "metadata.name",
            "characters 0 to 2 with .* got character 3",
        ),
        ("deployment", "bit-flip", {"bit": 7}, "metadata.name", "characters 0 to 2 with bits 0 to 6"),
        ("deployment", "bit-flip", {}, "spec.template.spec.priority", "is absent from this object"),
        (
            "deployment",
            "value-set",
            {"value": 3},
            "spec.replicas",
            "already has the value 3; setting it changes",
        ),
        ("deployment", "value-set", {"extreme": "zero"}, "spec.paused", "already has the value False"),
        ("deployment", "value-set", {"value": "3"}, "spec.replicas", "expected a whole number from -2147483648 to"),
        ("deployment", "value-set", {"value": 2**31}, "spec.replicas", "expected a whole number from -2147483648 to"),
        ("deployment", "value-set", {"value": 1}, "metadata.name", "of type string: expected a text, got 1"),
        (
            "deployment",
            "value-set",
            {"value": 2**31},
            "spec.replicas",
            "`force: true` stores it, and it is read as -2147",
        ),
        ("service", "value-set", {"object": "Pod/default/x"}, "spec.type", "there is no Pod/default/x whose spec.type"),
        ("service", "value-set", {"object": DEPLOYMENT}, "spec.type", "Deployment/default/web: .* has no field 'type'"),
        ("service", "truncate", {"keep": 3}, "metadata.name", "metadata.name has 3 bytes; it can't be cut to 3"),
        ("service", "truncate", {"lose": 4}, "metadata.name", "it can't be cut to -1"),
        ("deployment", "truncate", {}, "spec.replicas", "truncate is for strings and bytes"),
        ("service", "delay", {}, "spec.type", "delay is done to a whole message; the target names the field spec.type"),
        ("service", "stale", {}, None, "no earlier version of this object is known"),
        ("service", "wrong-key", {"identity": "Pod/default/x"}, None, "there is no Pod/default/x whose key"),
        ("secret", "value-set", {"value": "?"}, "data[password]", "expected bytes in base64"),
        ("deployment", "value-set", {"extreme": "empty"}, "spec.replicas", "has no extreme 'empty'"),
        ("deployment", "value-set", {"extreme": "max"}, "metadata.name", "has no extreme 'max'"),
        ("service", "value-set", {"value": 8080}, "spec.ports[0].targetPort", r"\(IntOrString\): expected a text"),
        ("deployment", "boolean-invert", {}, "spec.replicas", "boolean-invert is for booleans"),
        ("deployment", "byte-flip", {"offset": 1}, "spec.replicas", "has 1 bytes; there is no byte 1"),
        ("deployment", "byte-flip", {"offset": -2}, "spec.replicas", "has 1 bytes; there is no byte -2"),
        (
            "deployment",
            "byte-flip",
            {"offset": 99999},
            None,
            "the message's raw has 5259 bytes; there is no",
        ),
        ("box", "byte-flip", {"part": "envelope"}, None, "the message's envelope has 0 bytes"),
        ("deployment", "byte-flip", {"part": "raw"}, "spec.replicas", "`part` is for faults on the whole message"),
        (
            "deployment",
            "drop",
            {},
            "spec.replicas",
            "a whole message; the target names the field spec",
        ),
        ("deployment", "bit-flip", {}, None, "bit-flip is done to a field; the target names none"),
        ("deployment", "field-remove", {}, None, "field-remove is done to a field; the target names none"),
        ("deployment", "field-remove", {}, "spec.nosuch", "has no field 'nosuch'"),
        ("box", "bit-flip", {}, "spec.b", "spec.b is an array, not a single value; it holds 2 elements"),
        (
            "deployment",
            "bit-flip",
            {"bit": 64, "charcter": 1},
            "spec.replicas",
            "bit: expected .* got 64; .*did you mean",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    name: str, model: str, parameters: dict[str, Any], field: str | None, message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        corrupt(golden(name), model, parameters, field, around=Cluster())


@pytest.mark.parametrize(
    ("parameters", "position", "mask"),
    [
        ({}, 30, 1),
        ({"offset": 5, "bit": 7}, 35, 0x80),
        ({"offset": -1, "xor": 0xFF}, 5288, 0xFF),
        ({"part": "envelope", "offset": 3}, 3, 1),
        ({"part": "envelope", "offset": -1}, 29, 1),
    ],
)
def test_a_byte_of_the_message_is_flipped_wherever_it_is(parameters: dict[str, Any], position: int, mask: int) -> None:
    value = golden("deployment")
    assert value[30:5289] == raw_of(value)
    found = corrupt(value, "byte-flip", parameters, None)
    expected = bytearray(value)
    expected[position] ^= mask
    assert (found.after, found.span) == (bytes(expected), (position, position + 1))


def test_a_flipped_byte_may_make_an_object_that_can_t_be_decoded() -> None:
    found = corrupt(golden("endpointslice"), "byte-flip", {}, None)
    with pytest.raises(CodecError):
        to_tree(found.after)


def test_a_field_whose_bytes_are_no_value_any_more_is_shown_as_bytes() -> None:
    assert corrupt(golden("deployment"), "byte-flip", {"bit": 7}, "spec.replicas").field_after == "bytes 83"


def test_messages_stored_as_json_are_flipped_too() -> None:
    found = corrupt(golden("box"), "byte-flip", {"offset": 2, "bit": 5}, None)
    assert found.after == b'{"Api' + golden("box")[5:]


@pytest.mark.parametrize("told", list(Told))
def test_a_dropped_message_is_declared_with_what_its_sender_is_told(told: Told) -> None:
    found = corrupt(golden("pod"), "drop", {"told": str(told)}, None)
    assert (found.after, found.delivery.told, found.span) == (b"", told, (0, len(golden("pod"))))


def test_the_sender_of_a_dropped_message_is_told_an_error_unless_said_otherwise() -> None:
    assert corrupt(golden("pod"), "drop", {}, None).delivery.told is Told.ERROR


@pytest.mark.parametrize(
    ("model", "parameters", "delivery"),
    [
        ("delay", {}, Delivery(delay_s=5.0)),
        ("delay", {"seconds": 0.25}, Delivery(delay_s=0.25)),
        ("duplicate", {}, Delivery(copies=2)),
        ("duplicate", {"copies": 7}, Delivery(copies=7)),
        ("reorder", {}, Delivery(behind=1)),
        ("reorder", {"behind": 3}, Delivery(behind=3)),
    ],
)
def test_what_is_done_to_the_delivery_leaves_the_value_alone(
    model: str, parameters: dict[str, Any], delivery: Delivery
) -> None:
    found = corrupt(golden("pod"), model, parameters, None)
    assert (found.after, found.delivery, found.key, found.span) == (golden("pod"), delivery, None, (0, 0))


@pytest.mark.parametrize(
    ("name", "field", "before"),
    [
        ("deployment", "spec.replicas", 3),
        ("service", "spec.selector", {"app": "web"}),
        ("service", "spec.selector[app]", "web"),
        ("service", "spec.ipFamilies[0]", "IPv4"),
        ("box", "spec.a", 1),
    ],
)
def test_a_removed_field_is_not_there_any_more(name: str, field: str, before: object) -> None:
    found = corrupt(golden(name), "field-remove", {}, field)
    assert (found.field_before, found.field_after) == (before, None)
    with pytest.raises(FaultError):
        corrupt(found.after, "field-remove", {}, field)


def test_a_truncated_message_has_lost_its_end() -> None:
    value = golden("pod")
    assert corrupt(value, "truncate", {}, None).after == value[: len(value) // 2]
    found = corrupt(value, "truncate", {"lose": 7}, None)
    assert (found.after, found.span) == (value[:-7], (len(value) - 7, len(value)))
    assert corrupt(value, "truncate", {"keep": 0}, None).after == b""


def test_a_stale_message_is_the_version_before() -> None:
    before = golden("box")
    found = corrupt(golden("pod"), "stale", {}, None, around=Cluster(before))
    assert (found.after, found.key, found.delivery) == (before, None, IN_TURN)
    with pytest.raises(FaultError, match="the same bytes; stale changes nothing"):
        corrupt(golden("pod"), "stale", {}, None, around=Cluster(golden("pod")))


def test_a_value_under_a_wrong_key_is_the_same_value() -> None:
    found = corrupt(golden("service"), "wrong-key", {"identity": DEPLOYMENT}, None, around=Cluster())
    assert (found.after, found.key) == (golden("service"), b"/registry/deployments/default/web")


def test_bytes_that_are_no_object_can_t_be_corrupted() -> None:
    with pytest.raises(CodecError):
        corrupt(b"rubbish", "bit-flip", {}, "spec.replicas")


@pytest.mark.parametrize(
    ("model", "parameters", "problems"),
    [
        ("bit-flip", {"bit": 3, "character": "middle"}, []),
        ("bit-flip", {"character": 4}, []),
        (
            "bit-flip",
            {"bit": -1, "character": "last", "bits": 2},
            [
                "c.yaml: f[0].p.bit: expected a whole number from 0 to 63, got -1",
                "c.yaml: f[0].p.character: expected first, middle or a whole number >= 0, got 'last'",
                "c.yaml: f[0].p.bits: unknown parameter 'bits'; did you mean 'bit'?",
            ],
        ),
        ("bit-flip", {"bit": True}, ["c.yaml: f[0].p.bit: expected a whole number from 0 to 63, got True"]),
        ("value-set", {"value": 0}, []),
        ("value-set", {}, ["c.yaml: f[0].p: expected `value`, `extreme` or `object`"]),
        (
            "value-set",
            {"value": [1], "extreme": "huge"},
            [
                "c.yaml: f[0].p.value: expected a text, number, true or false, got [1]",
                "c.yaml: f[0].p.extreme: expected one of zero, minus-one, max, empty, got 'huge'",
                "c.yaml: f[0].p: value and extreme can't be given together",
            ],
        ),
        ("boolean-invert", {}, []),
        ("boolean-invert", {"bit": 1}, ["c.yaml: f[0].p.bit: unknown parameter 'bit'; this model takes none"]),
        ("byte-flip", {"offset": -3, "xor": 255, "part": "envelope"}, []),
        (
            "byte-flip",
            {"offset": "1", "xor": 0, "bit": 8, "part": "tail"},
            [
                "c.yaml: f[0].p.offset: expected a whole number, got '1'",
                "c.yaml: f[0].p.xor: expected a whole number from 1 to 255, got 0",
                "c.yaml: f[0].p.bit: expected a whole number from 0 to 7, got 8",
                "c.yaml: f[0].p.part: expected one of raw, envelope, got 'tail'",
                "c.yaml: f[0].p: bit and xor can't be given together",
            ],
        ),
        (
            "value-set",
            {"value": 1, "object_field": "", "force": 1},
            [
                "c.yaml: f[0].p.object_field: expected a text, got ''",
                "c.yaml: f[0].p.force: expected true or false, got 1",
                "c.yaml: f[0].p: `object_field` needs `object`, the one that has the field",
            ],
        ),
        ("truncate", {"keep": 0}, []),
        ("truncate", {"keep": 1, "lose": 1}, ["c.yaml: f[0].p: keep and lose can't be given together"]),
        ("delay", {"seconds": 0}, ["c.yaml: f[0].p.seconds: expected a number from 0.001 to 600, got 0"]),
        ("duplicate", {"copies": 1}, ["c.yaml: f[0].p.copies: expected a whole number from 2 to 100, got 1"]),
        ("reorder", {"behind": 0}, ["c.yaml: f[0].p.behind: expected a whole number from 1 to 1000, got 0"]),
        ("stale", {"versions": 2}, ["c.yaml: f[0].p.versions: unknown parameter 'versions'; this model takes none"]),
        ("wrong-key", {}, ["c.yaml: f[0].p: expected `identity`, the object whose key is used"]),
        ("drop", {"told": "success"}, []),
        ("drop", {"told": ["x"]}, ["c.yaml: f[0].p.told: expected one of error, timeout, success, got ['x']"]),
    ],
)
def test_all_problems_of_the_parameters_are_told_at_once(
    model: str, parameters: dict[str, Any], problems: list[str]
) -> None:
    found = MODELS[model].check_parameters(parameters, where="f[0].p", file="c.yaml")
    assert [str(problem) for problem in found] == problems
