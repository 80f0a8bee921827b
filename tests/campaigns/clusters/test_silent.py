"""A silent edit in a running cluster: what is stopped when, and that its history goes on. etcd is a real one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Action, Cluster
from campaigns.clusters.silent import edit_silently
from campaigns.observers.history import History
from classifiers.observation import ComponentHealth
from injector.errors import FaultError, HarnessError
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.injector.bbolt.conftest import DB
from tests.injector.conftest import Address, Etcd, free_port, start_etcd, stop
from tests.injector.stored import KEYS, golden

WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
TARGET = Target(kind="Deployment", identity="Deployment/default/web", group="apps", field="spec.replicas")
RULE = Rule(
    id="r", channel=Channel.AT_REST_SILENT, model="value-set", target=TARGET, parameters={"value": 67}, reread=True
)


@dataclass
class OneEtcd:
    """As much of a cluster as a silent edit needs; of kube-apiserver only what was asked of it."""

    name: str
    data: Path
    address: Address
    etcd: Etcd | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def etcd_files(self) -> list[Path]:
        return [self.data / DB]

    def component(self, name: str, action: Action) -> None:
        self.asked.append(f"{action} {name}")
        if name != "etcd":
            return
        if action is Action.START:
            self.etcd = start_etcd(self.data, self.address)
        elif self.etcd is not None:
            self.etcd.process.terminate()
            self.etcd.process.wait(10)
            self.etcd = None

    def health(self) -> tuple[ComponentHealth, ...]:
        return tuple(
            ComponentHealth(name=name, alive=True, ready=f"{back} {name}" in self.asked)
            for name, back in (("etcd", "start"), ("kube-apiserver", "kill"))
        )


@pytest.fixture
def one(tmp_path: Path) -> Iterator[OneEtcd]:
    found = OneEtcd("one", tmp_path / "data", ("127.0.0.1", free_port()))
    found.component("etcd", Action.START)
    try:
        with contextlib.closing(KeySpace(found.address)) as keyspace:
            keyspace.write({WEB: DEPLOYMENT}, [])
        found.asked.clear()
        yield found
    finally:
        if found.etcd is not None:
            stop(found.etcd.process)


def edit(one: OneEtcd, rule: Rule, undo: Path) -> Any:
    return edit_silently(cast(Cluster, one), rule, undo, r0=0)


def test_with_reread_kube_apiserver_stands_still_around_it_and_starts_anew_and_without_it_is_left_alone(
    one: OneEtcd, tmp_path: Path
) -> None:
    edit(one, RULE, tmp_path / "undo")
    assert one.asked == ["pause kube-apiserver", "stop etcd", "start etcd", "kill kube-apiserver"]
    one.asked.clear()
    edit(one, replace(RULE, reread=False, parameters={"value": 5}), tmp_path / "undo")
    assert one.asked == ["stop etcd", "start etcd"]


def test_a_fault_that_does_not_fit_starts_everything_again(one: OneEtcd, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="no stored apps object is Deployment/default/x"):
        edit(one, replace(RULE, target=replace(TARGET, identity="Deployment/default/x")), tmp_path / "undo")
    assert one.asked[2:] == ["start etcd", "resume kube-apiserver"] and one.etcd is not None


def test_a_cluster_whose_files_are_out_of_reach_is_refused_before_anything_stops(tmp_path: Path) -> None:
    class Far(OneEtcd):
        etcd_files: Any = ()

    far = Far("far", tmp_path, ("127.0.0.1", 1))
    with pytest.raises(HarnessError, match="cluster far: etcd's files can't be reached"):
        edit(far, RULE, tmp_path)
    assert far.asked == []


def test_the_history_goes_on_after_it_and_tells_of_no_write(one: OneEtcd, tmp_path: Path) -> None:
    with contextlib.closing(KeySpace(one.address)) as keyspace:
        r0 = keyspace.revision()
        with History(keyspace, keyspace.dump(), r0=r0, began=time.monotonic()) as history:
            keyspace.write({"/registry/a": b"before"}, [])
            assert history.caught_up()
            with history.interrupted():
                firing = edit(one, RULE, tmp_path / "undo")
            keyspace.write({"/registry/a": b"after"}, [])
            assert history.caught_up() and history.blind is None
        assert [(w.key, w.revision - r0) for w in history.writes] == [("/registry/a", 1), ("/registry/a", 2)]
        assert keyspace.dump()[WEB].value == firing.after
