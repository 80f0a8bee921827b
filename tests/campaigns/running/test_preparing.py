"""What an experiment makes of what its workload prepares, with a real etcd. The user writes straight to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.protocol import Cluster
from campaigns.observers.clients import Clients
from campaigns.observers.history import History
from campaigns.record import Limits
from campaigns.running.experiment import Experiment
from campaigns.workloads import ServiceName, Workload
from campaigns.workloads.goals import Condition
from campaigns.workloads.objects import deployment, service
from campaigns.workloads.steps import Create
from campaigns.workloads.user import User
from classifiers.observation import ProbeKind, ProbeSample, ProbeSeries
from tests.builders import observation
from tests.campaigns.observers.test_probes import Nodes, saying, server
from tests.campaigns.workloads.stored_state import state
from tests.conftest import wait_until
from tests.injector.stored import KEYS, golden

THERE = Condition("Deployment/default/web Available")
PREPARED = Workload(
    name="prepared",
    summary="",
    prepare=(Create(deployment("web", "default", 1)),),
    ready=(THERE,),
    steps=(Create(service("web", "default")),),
    done=(THERE,),
)


class Writer:
    """A user whose requests are written by its test, or refused."""

    def __init__(self, keyspace: KeySpace, *, refuses: bool = False) -> None:
        self._keyspace, self._refuses = keyspace, refuses
        self.learnt: list[str] = []
        self.told: list[str] = ["a warning"]
        self.told_at: dict[str, float] = {}

    def create(self, manifest: Any) -> bool:
        if self._refuses:
            self.told.append("Deployment web: HTTP 403 no")
            return False
        self._keyspace.write({KEYS["deployment"]: golden("deployment")}, [])
        return True

    def learn(self, api_version: str) -> None:
        self.learnt.append(api_version)


def made(keyspace: KeySpace, workload: Workload, *, prepare_s: float = 10) -> Experiment:
    limits = Limits(prepare_s=prepare_s, settle_s=1, quiet_s=0.2, stuck_s=1, steady_s=1, canary_s=1)
    cluster = cast(Cluster, Nodes(["a"]))
    return Experiment(cluster, keyspace, keyspace.dump(), workload, None, limits=limits, undo=Path("/nowhere"))


def test_what_is_prepared_is_the_baseline_from_then_on(keyspace: KeySpace) -> None:
    keyspace.write({KEYS["service"]: golden("service")}, [])
    experiment, user = made(keyspace, PREPARED), Writer(keyspace)
    began = time.monotonic()
    revision = experiment._prepare(cast(User, user))
    assert time.monotonic() - began >= 0.2, "it has to be at rest"
    assert revision == keyspace.revision() and experiment._unclean == ()
    assert set(experiment._baseline) == {KEYS["service"], KEYS["deployment"]}
    assert user.told == [] and user.learnt == ["v1", "apps/v1"], "what prepare was told is no sign of the fault"


def test_a_workload_that_prepares_nothing_starts_from_the_clean_baseline(keyspace: KeySpace) -> None:
    bare = Workload(name="bare", summary="", steps=(), done=())
    experiment = made(keyspace, bare)
    assert experiment._prepare(cast(User, Writer(keyspace))) is None and experiment._baseline == {}


def test_what_does_not_come_right_is_unclean_and_nothing_is_driven_or_judged_by_a_canary(keyspace: KeySpace) -> None:
    experiment, user = made(keyspace, PREPARED, prepare_s=0.3), Writer(keyspace, refuses=True)
    experiment._prepare(cast(User, user))
    assert experiment._unclean == (
        "prepared was not prepared within 0.3 s: Deployment/default/web Available; the user was told: a warning; "
        "Deployment web: HTTP 403 no",
    )
    experiment._drive(cast(History, None), cast(User, user), cast(Clients, None))
    assert experiment._canary(cast(History, None), cast(User, user)).stages == {}


@pytest.fixture
def two_services() -> Workload:
    names = (ServiceName("default", "web"), ServiceName("shop", "front"))
    return Workload(name="two", summary="", steps=(), done=(), services=names)


def stored_service(namespace: str, name: str, address: tuple[str, int]) -> dict[str, Any]:
    made = service(name, namespace)
    made["spec"] |= {"clusterIP": address[0], "ports": [{"port": address[1]}]}
    return made


def test_every_service_is_probed_and_those_that_there_are_count_as_ready(two_services: Workload) -> None:
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as address:
        history = state(stored_service("default", "web", address))
        clients = Clients(cast(Cluster, Nodes(["a", "b"])), two_services, history, began=time.monotonic())
        assert clients.all_ok_s() is None
        clients.start()
        try:
            wait_until(lambda: clients.all_ok_s() is not None, within_s=5, what="answers on both nodes")
            assert clients.first_ok_s() is None, "the other has no address"
            since = clients.all_ok_s()
        finally:
            clients.stop()
        answered = clients.since_ok()
        none = Clients(cast(Cluster, Nodes(["a"])), two_services, state(), began=time.monotonic())
    http = [series for series in answered if series.kind is ProbeKind.HTTP]
    assert [(series.service, series.vantage) for series in http] == [("web", "a"), ("web", "b")]
    assert since is not None and all(s.outcome == "ok" and s.at_s >= since for each in http for s in each.samples)
    assert none.all_ok_s() == 0.0 and none.since_ok() == (), "where there is none, none is waited for"


def test_what_a_client_saw_before_comes_before_what_it_saw_later(two_services: Workload) -> None:
    def series(vantage: str, *times: float) -> ProbeSeries:
        return ProbeSeries(service="web", vantage=vantage, samples=tuple(ProbeSample(t, 0.1, "ok") for t in times))

    class Seen(Clients):
        def series(self) -> tuple[ProbeSeries, ...]:
            return (series("a", 0, 1), series("b", 0))

    before = [series("a", -2, -1), series("c", -1)]
    clients = Seen(cast(Cluster, Nodes(["a"])), two_services, state(), began=0.0, before=before)
    assert clients.add_to(observation()).probes == (series("a", -2, -1, 0, 1), series("b", 0))
    assert not clients.served_from_start(), "front was not"
