"""Who wrote a stored value.

histories.json holds what a sandbox's etcd (Kubernetes 1.36.3) was given of four objects, in order, each with who did it
as the tester knows it (null: not known; "": nobody who has an entry for it, as the scheduler that binds a pod, or who
deletes one): kubectl create deployment, label and scale; kubectl annotate node; heartbeats.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from injector.codec import rewrite, to_tree
from injector.writers import writer_of, writers_of
from tests.injector.stored import golden

HISTORIES = json.loads((Path(__file__).parent / "histories.json").read_text())


def versions(key: str) -> list[tuple[str | None, bytes]]:
    return [(each["by"], base64.b64decode(each["value"])) for each in HISTORIES if each["key"] == key]


def edited(value: bytes, **changes: Any) -> bytes:
    """With other managedFields, or another status."""
    tree: Any = to_tree(value)
    tree["metadata"]["managedFields"] = changes.pop("managed", tree["metadata"]["managedFields"])
    return rewrite(value, {**tree, **changes})


@pytest.mark.parametrize("key", sorted({each["key"] for each in HISTORIES}))
def test_every_write_of_a_real_object_has_the_author_that_it_had(key: str) -> None:
    found, expected, before = [], [], None
    for by, value in versions(key):
        if by is not None:
            found.append(writer_of(value, before))
            expected.append(by)
        before = value
    assert found == expected


def test_without_the_version_before_it_is_the_newest_entry_or_nobody_can_tell() -> None:
    assert writers_of(golden("deployment"), None) == ("kube-controller-manager",)
    assert writers_of(golden("resourcequota"), None) == ("kube-apiserver", "kube-controller-manager")
    assert writer_of(golden("resourcequota"), None) == ""
    scaled = versions("/registry/deployments/default/web")[4][1]
    assert writers_of(scaled, None) == ("kubectl", "kubectl-label"), "a scale's entry has no time"


def test_a_heartbeat_changes_no_entry_and_is_by_who_owns_the_field() -> None:
    node = versions("/registry/minions/node-1")[1][1]
    status: Any = to_tree(node)["status"]
    status["conditions"][0]["lastHeartbeatTime"] = "2030-01-01T00:00:00Z"
    assert writer_of(edited(node, status=status), node) == "kubelet"
    status["nobodys"] = "x"
    assert writers_of(node, node) == ()


def test_who_only_lost_a_field_is_the_author_if_nobody_else_is() -> None:
    value = golden("deployment")
    entries: Any = to_tree(value)["metadata"]["managedFields"]
    del entries[0]["fieldsV1"]["f:spec"]
    lost = edited(value, managed=entries)
    assert writer_of(lost, value) == "kubectl-client-side-apply"
    assert writer_of(value, lost) == "kubectl-client-side-apply"


def test_who_writes_the_same_fields_at_another_time_is_the_author() -> None:
    value = golden("deployment")
    entries: Any = to_tree(value)["metadata"]["managedFields"]
    entries[0]["time"] = "2030-01-01T00:00:00Z"
    assert writer_of(edited(value, managed=entries), value) == "kubectl-client-side-apply"


@pytest.mark.parametrize("value", [b"", b"k8s\0\xff", golden("portrange"), golden("masterlease")])
def test_nobody_is_known_of_what_has_no_entries_or_cannot_be_read(value: bytes) -> None:
    assert writers_of(value, None) == writers_of(value, value) == ()
