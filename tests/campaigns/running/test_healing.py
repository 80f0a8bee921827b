"""How a fault is taken out of what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from campaigns.clusters.protocol import Action
from campaigns.running import healing
from campaigns.running.healing import Mend, mended
from campaigns.workloads import WORKLOADS
from classifiers.observation import ComponentHealth
from injector.codec import encode_value, locate, remove, replace, to_tree
from injector.codec import find as place_of
from tests.builders import firing
from tests.injector.stored import golden

BEFORE = golden("deployment")
PATH = "spec.replicas"
FOUND = locate(BEFORE, PATH)


def with_replicas(replicas: int, value: bytes = BEFORE) -> bytes:
    found = locate(value, PATH)
    return replace(value, found, encode_value(found, replicas))


WRONG = with_replicas(99)


def hit(**changes: Any) -> Any:
    built = {"before": BEFORE, "after": WRONG, "field": PATH, "field_before": FOUND.value, "field_after": 99}
    return firing(**{**built, **changes})


def test_the_field_gets_its_value_back_in_the_object_as_it_is_now() -> None:
    generation = locate(WRONG, "metadata.generation")
    now = replace(WRONG, generation, encode_value(generation, 77))
    mend = mended(hit(), PATH, now)
    assert mend is not None and mend.value is not None
    tree = to_tree(mend.value)
    assert (tree["spec"]["replicas"], tree["metadata"]["generation"]) == (FOUND.value, 77)


@pytest.mark.parametrize("now", [None, BEFORE, with_replicas(5)])
def test_where_nothing_of_it_is_left_nothing_is_done(now: bytes | None) -> None:
    assert mended(hit(), PATH, now) is None


def test_what_was_refused_or_only_told_is_not_in_the_store() -> None:
    assert mended(hit(accepted=False), PATH, WRONG) is None
    assert mended(hit(operation="watch"), PATH, WRONG) is None


def test_the_whole_object_is_put_back_where_its_field_can_not_be() -> None:
    gone = remove(BEFORE, place_of(BEFORE, PATH))
    assert mended(hit(after=gone, field_after=None), PATH, b"\xff broken") == Mend(BEFORE)
    assert mended(hit(field=None, after=b"\xff"), None, b"\xff") == Mend(BEFORE)


def test_a_lost_write_is_made_and_a_lost_delete_done_unless_somebody_has() -> None:
    lost = hit(operation="put", after=b"", field=None)
    assert mended(lost, None, None) == Mend(BEFORE)
    assert mended(lost, None, WRONG) is None
    delete = hit(operation="delete", after=b"", field=None)
    assert mended(delete, None, WRONG) == Mend(None)
    assert mended(delete, None, None) is None


class Restarting:
    """A stand-in for a cluster whose components are all well, and which is told to restart some."""

    def __init__(self) -> None:
        self.restarted: list[str] = []

    def health(self) -> tuple[ComponentHealth, ...]:
        names = ("etcd", "forwarder", "kube-apiserver", "kubelet-node-1", "kubelet-node-2")
        return tuple(ComponentHealth(name=name, alive=name != "kubelet-node-2") for name in names)

    def component(self, name: str, action: Action) -> None:
        assert action is Action.RESTART
        self.restarted.append(name)


@pytest.mark.parametrize(
    ("workload", "restarted"),
    [("failover", ["kube-apiserver", "kubelet-node-1"]),
     ("deploy", ["kube-apiserver", "kubelet-node-1", "kubelet-node-2"])],
)  # fmt: skip
def test_a_node_that_the_workload_switched_off_stays_off(
    workload: str, restarted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "_HEALTHY_WITHIN_S", 0.0)
    cluster: Any = Restarting()
    nothing: Any = None
    one = healing.Healing(
        cluster, nothing, WORKLOADS[workload], nothing, nothing, began=0.0, limits=nothing, phase=lambda words: None
    )
    assert one._restart() == f"{', '.join(restarted)} were restarted"
    assert cluster.restarted == restarted
