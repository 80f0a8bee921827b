"""What later writes made of a wrong value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from campaigns.running.consumption import later_writes
from classifiers.observation import Write
from injector.corrupt import corrupt
from injector.rules import Firing
from tests.injector.test_writers import versions

KEY = "/registry/deployments/default/web"
PATH = "spec.replicas"
VALUES = [value for _, value in versions(KEY)]
"""By kubectl-create, kube-controller-manager (twice), kubectl-label, kubectl, kube-controller-manager (…)."""


def wrong(value: bytes) -> bytes:
    return corrupt(value, "value-set", {"value": 67}, PATH).after


FIRING = Firing(
    rule_id="r", at_s=1.0, key=KEY, identity="Deployment/default/web", operation="put", before=VALUES[0],
    after=wrong(VALUES[0]), field_before=2, field_after=67, accepted=True, revision=10,
)  # fmt: skip


def later(*values: bytes | None, firing: Firing = FIRING, path: str | None = PATH) -> tuple[str, ...]:
    """Of writes at revision 11 and on, at 1.1 s and on; None deletes."""
    stored = {11 + n: value for n, value in enumerate(values)}
    writes = [write(revision, "delete" if value is None else "update") for revision, value in stored.items()]
    before = [write(9), write(10), replace(write(12), key="/other")]
    return later_writes(
        firing, path, [*before, *writes], lambda key, revision: stored[revision] if key == KEY else None
    )


def write(revision: int, operation: str = "update") -> Write:
    at_s = 1.0 + (revision - 10) / 10
    return Write(revision=revision, at_s=at_s, key=KEY, kind="Deployment", identity="Deployment/default/web",
                 operation=operation, size_bytes=1)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), ()),
        (
            (wrong(VALUES[1]), wrong(VALUES[2]), VALUES[3]),
            ("carried on by kube-controller-manager at revision 11", "overwritten by kubectl-label at revision 13"),
        ),
        ((VALUES[1], wrong(VALUES[2])), ("overwritten by kube-controller-manager at revision 11",)),
        (
            (wrong(VALUES[1]), None),
            ("carried on by kube-controller-manager at revision 11", "deleted by somebody at revision 12"),
        ),
        (
            (wrong(VALUES[3]), VALUES[4]),
            ("carried on by kubectl-label at revision 11", "overwritten by kubectl at revision 12"),
        ),
        ((b"k8s\0\xff",), ("overwritten by somebody at revision 11",)),
    ],
)  # fmt: skip
def test_the_first_write_that_carries_it_on_and_the_first_that_does_not(
    values: tuple[bytes | None, ...], said: tuple[str, ...]
) -> None:
    assert later(*values) == said


@pytest.mark.parametrize("operation", ["watch", "txn-range", "list", "get", "answer/status"])
def test_what_was_only_told_is_carried_into_etcd_or_not(operation: str) -> None:
    told = replace(FIRING, operation=operation, revision=10)
    assert later(wrong(VALUES[1]), firing=told) == ("carried into etcd by kube-controller-manager at revision 11",)
    assert later(VALUES[1], firing=told) == ("written without it by kube-controller-manager at revision 11",)


def test_of_a_write_that_was_compacted_away_nothing_is_said() -> None:
    assert later_writes(FIRING, PATH, [write(11), write(12)], lambda _key, _revision: None) == ()


def test_of_a_whole_message_only_that_it_was_written_again_is_known() -> None:
    assert later(VALUES[1], VALUES[2], path=None) == ("written again by kube-controller-manager at revision 11",)


@pytest.mark.parametrize(
    "changes", [{"operation": "drop"}, {"after": b""}, {"operation": "bind"}, {"operation": "patch", "accepted": False}]
)
def test_a_write_that_was_lost_or_refused_or_is_no_object_is_carried_on_by_nobody(changes: dict[str, Any]) -> None:
    assert later(VALUES[1], firing=replace(FIRING, **changes)) == ()


def test_a_silent_edit_has_no_revision_and_its_time_counts() -> None:
    silent = replace(FIRING, operation="silent", revision=None, at_s=1.15)
    assert later(VALUES[1], wrong(VALUES[2]), firing=silent) == (
        "carried on by kube-controller-manager at revision 12",
    )


def test_a_components_request_is_less_than_what_is_stored_by_it() -> None:
    asked = replace(FIRING, operation="update", before=b"", after=b"the request's body", revision=10)
    stored = {10: wrong(VALUES[2]), 11: wrong(VALUES[3]), 12: VALUES[3]}
    said = later_writes(asked, PATH, [write(11), write(12)], lambda key, revision: stored[revision])
    assert said[0] == "carried on by kubectl-label at revision 11"


def test_what_a_component_was_told_is_carried_into_etcd() -> None:
    told = replace(FIRING, operation="answer/status", accepted=None, revision=10)
    assert later(wrong(VALUES[1]), firing=told) == ("carried into etcd by kube-controller-manager at revision 11",)


def test_nothing_is_said_of_a_binding_whose_fields_no_pod_has() -> None:
    assert later(VALUES[1], firing=replace(FIRING, operation="bind", revision=None), path="target.name") == ()
