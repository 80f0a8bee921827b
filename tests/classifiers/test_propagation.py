"""Who took a wrong value over, how far, and who healed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from classifiers.decoded import Decoded
from classifiers.observation import Write
from classifiers.propagation import Propagation, propagation
from classifiers.trace import Step, Trace
from injector.rules import Firing, JSONValue
from tests.builders import faulty, firing

DEPLOYMENT, SET, POD, SERVICE, SLICE = (
    "/registry/deployments/default/web", "/registry/replicasets/default/web-1", "/registry/pods/default/web-1-a",
    "/registry/services/specs/default/web", "/registry/endpointslices/default/web-x",
)  # fmt: skip
IDENTITIES = {
    DEPLOYMENT: "Deployment/default/web",
    SET: "ReplicaSet/default/web#1",
    POD: "Pod/default/web#1",
    SERVICE: "Service/default/web",
    SLICE: "EndpointSlice/default/web#1",
}
OWNER = "metadata.ownerReferences[0].uid"


def thing(uid: str, by: str = "", **fields: JSONValue) -> bytes:
    """A stored object, as this file's decoder has it; `__` stands for a dot."""
    paths = {path.replace("__", "."): value for path, value in fields.items()}
    return json.dumps({"metadata.uid": uid, "by": by, **paths}).encode()


def fields_of(value: bytes) -> Mapping[str, JSONValue]:
    found: Mapping[str, JSONValue] = json.loads(value)
    return found


Steps = list[tuple[str, bytes | None]]


def found(steps: Steps, fault: Firing, before: Mapping[str, bytes] | None = None) -> Propagation:
    known = {key: (before or {}).get(key) for key, _ in steps}
    trace = Trace(
        r0=9, before=known, steps=tuple(Step(10 + n, float(n), key, value) for n, (key, value) in enumerate(steps))
    )
    writes = tuple(
        Write(
            revision=step.revision, at_s=step.at_s, key=step.key, kind=IDENTITIES[step.key].partition("/")[0],
            identity=IDENTITIES[step.key], operation="update", size_bytes=0,
        )
        for step in trace.steps
    )  # fmt: skip
    history = Decoded(faulty(writes=writes), trace, fields_of)
    told = propagation(history, fault, fault.field, writers=lambda value, _: (str(fields_of(value)["by"]),))
    assert told is not None
    return told


def wrong(key: str, field: str, before: JSONValue, after: JSONValue) -> Firing:
    return replace(firing(), key=key, field=field, field_before=before, field_after=after, revision=10, accepted=True)


def test_a_number_is_followed_by_the_name_of_its_field_and_the_way_is_counted() -> None:
    owned = {OWNER.replace(".", "__"): "d"}
    told = found(
        [
            (DEPLOYMENT, thing("d", spec__replicas=14)),
            (SET, thing("r", "deployment-controller", spec__replicas=14, **owned)),
            (POD, thing("p", "kubelet", spec__priority=14, **{OWNER.replace(".", "__"): "r"})),
            (DEPLOYMENT, thing("d", "deployment-controller", spec__replicas=14, status__replicas=14)),
        ],
        wrong(DEPLOYMENT, "spec.replicas", 6, 14),
    )
    (taken,) = told.taken
    assert (taken.identity, taken.field, taken.at_s) == ("ReplicaSet/default/web#1", "spec.replicas", 1.0)
    assert (taken.by, taken.steps, told.healed) == ("deployment-controller", 1, None)


def test_a_text_of_its_own_is_followed_anywhere_and_one_that_was_there_only_by_name() -> None:
    service = thing("s", **{"spec__selector[app]": "wax"})
    pod, labelled = thing("p", spec__note="wax"), thing("p", **{"metadata__labels[app]": "wax"})
    fault = wrong(SERVICE, "spec.selector[app]", "web", "wax")
    assert [each.field for each in found([(SERVICE, service), (POD, pod)], fault).taken] == ["spec.note"]
    known = {POD: thing("p", spec__other="wax")}
    assert found([(SERVICE, service), (POD, pod)], fault, known).taken == ()
    (taken,) = found([(SERVICE, service), (POD, labelled)], fault, known).taken
    assert (taken.field, taken.steps) == ("metadata.labels[app]", 1), "the Service selects it now"


@pytest.mark.parametrize("value", ["", 0, False])
def test_what_is_empty_is_everywhere_and_taken_by_nobody(value: JSONValue) -> None:
    steps = [(SERVICE, thing("s", spec__x=value)), (POD, thing("p", spec__x=value))]
    assert found(steps, wrong(SERVICE, "spec.x", "web", value)).taken == ()


def test_it_is_healed_by_who_writes_another_value_or_deletes_the_object() -> None:
    slice_ = thing("e", **{"ports[0]__port": 8081})
    fault = wrong(SLICE, "ports[0].port", 8080, 8081)
    right = thing("e", "endpointslice-controller", **{"ports[0]__port": 8080})
    healed = found([(SLICE, slice_), (SLICE, slice_), (SLICE, right)], fault).healed
    assert healed is not None
    assert (healed.by, healed.after_s, healed.gone) == ("endpointslice-controller", 2.0, False)
    gone = found([(SLICE, slice_), (SLICE, None)], fault).healed
    assert gone is not None and (gone.gone, gone.by) == (True, "")


def test_of_what_put_no_wrong_value_into_the_store_there_is_nothing_to_follow() -> None:
    trace = Trace(r0=9, before={}, steps=())
    for other in ({"field": None}, {"revision": None}, {"accepted": False}, {"field_after": "web"}):
        fault = replace(wrong(SERVICE, "spec.selector[app]", "web", "wax"), **other)  # type: ignore[arg-type]
        assert propagation(Decoded(faulty(), trace, fields_of), fault, fault.field, writers=lambda *_: ()) is None
