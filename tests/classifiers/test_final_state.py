"""What golden runs agree in, and what a run left otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from classifiers.decoded import Decoded
from classifiers.final_state import Difference, GoldenState, What, differences
from classifiers.observation import Write
from classifiers.trace import Step, Trace, Value, Withheld
from injector.rules import JSONValue
from tests.builders import observation

DEPLOYMENT, SET, POD, NODE = "/deployments/web", "/replicasets/web-1", "/pods/web-1-a", "/minions/node-1"
LEASE = "/masterleases/1"
IDENTITIES = {
    DEPLOYMENT: "Deployment/default/web",
    SET: "ReplicaSet/default/web#1",
    POD: "Pod/default/web#1",
    NODE: "Node/node-1",
    LEASE: "Endpoints/1",
    "/events/e": "Event/default/e",
}


def thing(**fields: JSONValue) -> bytes:
    """A stored object, as this file's decoder has it: `__` stands for a dot, `_0` for an index."""
    return json.dumps({path.replace("__", ".").replace("_0", "[0]"): value for path, value in fields.items()}).encode()


def fields_of(value: bytes) -> Mapping[str, JSONValue]:
    found: Mapping[str, JSONValue] = json.loads(value) if value.startswith(b"{") else {}
    return found


def run(*steps: tuple[str, Value], before: Mapping[str, bytes] | None = None) -> Decoded:
    known: dict[str, Value] = {key: (before or {}).get(key) for key, _ in steps}
    told = tuple(Step(10 + n, float(n), key, value) for n, (key, value) in enumerate(steps))
    writes = tuple(
        Write(
            revision=step.revision, at_s=step.at_s, key=step.key, kind=IDENTITIES[step.key].partition("/")[0],
            identity=IDENTITIES[step.key], operation="update", size_bytes=0,
        )
        for step in told
    )  # fmt: skip
    trace = Trace(r0=9, before=known, steps=told)
    return Decoded(observation(writes=writes), trace, fields_of, volatile=lambda key: key == LEASE)


def golden(ip: str = "10.0.0.1", **more: Any) -> Decoded:
    """A Deployment of one pod, whose address differs from run to run."""
    return run(
        (DEPLOYMENT, thing(metadata__uid="d", spec__replicas=1)),
        (SET, thing(metadata__uid="r", spec__replicas=1, **{"metadata.ownerReferences[0].uid": "d"})),
        (POD, thing(metadata__uid=f"p{ip}", status__ips_0=ip, metadata__managedFields_0="x", **more)),
        (DEPLOYMENT, thing(metadata__uid="d", spec__replicas=1, status__ready=1)),
        (LEASE, thing(at=ip)),
        ("/events/e", thing(message=ip)),
    )


STEPS = [(step.key, step.value) for step in golden().trace.steps]
LEARNT = GoldenState.of([golden(), golden("10.0.0.2"), golden("10.0.0.3")])


def told(seen: Decoded, *wrong: tuple[str, str | None], learnt: GoldenState = LEARNT) -> list[Difference]:
    return list(differences(seen, learnt, wrong, writers=lambda value, before: ("somebody",)))


def test_what_golden_runs_do_not_agree_in_is_learnt_and_left_out() -> None:
    assert LEARNT.runs == 3 and not LEARNT.sometimes
    assert LEARNT.varies == {("Pod", "status.ips[]"), ("Pod", "metadata.uid")}
    assert told(golden("10.0.0.99")) == []
    assert set(LEARNT.expected) == {"Deployment/default/web", "ReplicaSet/default/web#1", "Pod/default/web#1"}


def test_what_differs_is_told_with_when_by_whom_and_how_far_and_the_wrong_field_is_not() -> None:
    seen = run(
        (DEPLOYMENT, thing(metadata__uid="d", spec__replicas=4)),
        (SET, thing(metadata__uid="r", spec__replicas=1, **{"metadata.ownerReferences[0].uid": "d"})),
        (SET, thing(metadata__uid="r", spec__replicas=4, status__x=1, **{"metadata.ownerReferences[0].uid": "d"})),
        (POD, thing(metadata__uid="p", status__ips_0="10.0.0.4")),
        (DEPLOYMENT, thing(metadata__uid="d", spec__replicas=4, status__ready=1)),
    )
    (found,) = told(seen, (DEPLOYMENT, "spec.replicas"))
    assert found == Difference(
        identity="ReplicaSet/default/web#1", what=What.OTHERWISE, field="spec.replicas", value=4, golden=1, more=1,
        at_s=2.0, by="somebody", steps=1,
    )  # fmt: skip
    assert [each.identity for each in told(seen)] == ["Deployment/default/web", "ReplicaSet/default/web#1"]


@pytest.mark.parametrize(
    ("end", "what"),
    [(None, What.GONE), (b"broken", What.UNREADABLE), (thing(metadata__uid="r", spec__replicas=2), What.OTHERWISE)],
)
def test_an_object_is_gone_or_unreadable_or_otherwise(end: bytes | None, what: What) -> None:
    seen = run(*STEPS, (SET, end))
    (found,) = told(seen)
    assert (found.identity, found.what) == ("ReplicaSet/default/web#1", what)


def test_what_was_never_made_is_gone_and_what_no_golden_run_had_is_made() -> None:
    extra = run(*(step for step in STEPS if step[0] != SET), (NODE, thing(metadata__uid="n")))
    assert {(each.identity, each.what) for each in told(extra)} == {
        ("ReplicaSet/default/web#1", What.GONE), ("Node/node-1", What.MADE),
    }  # fmt: skip


def test_what_was_there_before_and_no_golden_run_touched_is_compared_with_what_it_was() -> None:
    before = {NODE: thing(metadata__uid="n", spec__taints_0="x", status__lastHeartbeatTime=1)}
    beating = run(
        *STEPS, (NODE, thing(metadata__uid="n", spec__taints_0="x", status__lastHeartbeatTime=2)), before=before
    )
    assert told(beating) == []
    tainted = run(*STEPS, (NODE, thing(metadata__uid="n", spec__taints_0="y")), before=before)
    assert [(each.field, each.value, each.golden) for each in told(tainted)] == [("spec.taints[0]", "y", "x")]


def test_what_only_some_golden_runs_change_tells_nothing_but_the_rest_of_that_object_does() -> None:
    before = {NODE: thing(metadata__uid="n", spec__taints_0="x", status__phase="idle")}
    busy = run(*STEPS, (NODE, thing(metadata__uid="n", spec__taints_0="x", status__phase="busy")), before=before)
    learnt = GoldenState.of([golden(), busy, golden()])
    assert learnt.sometimes == {"Node/node-1"} and ("Node", "status.phase") in learnt.varies
    other = run(*STEPS, (NODE, thing(metadata__uid="n", spec__taints_0="y", status__phase="gone")), before=before)
    assert [each.field for each in told(other, learnt=learnt)] == ["spec.taints[0]"]


def test_a_value_that_was_withheld_is_not_compared() -> None:
    assert told(run(*STEPS, (SET, Withheld(3, "", "of a Secret")))) == []


def test_what_was_there_before_and_is_never_written_is_not_gone_but_as_it_was() -> None:
    before = {NODE: thing(metadata__uid="n", spec__x="a", status__seen=1)}
    scaled = (NODE, thing(metadata__uid="n", spec__x="b", status__seen=1))
    learnt = GoldenState.of([run(*STEPS, scaled, before=before) for _ in range(3)])
    (found,) = told(run(*STEPS), learnt=learnt)
    assert (found.identity, found.what, found.field, found.value, found.golden) == (
        "Node/node-1", What.OTHERWISE, "spec.x", "a", "b",
    )  # fmt: skip
    same = (NODE, before[NODE])
    assert told(run(*STEPS), learnt=GoldenState.of([run(*STEPS, same, before=before) for _ in range(3)])) == []
