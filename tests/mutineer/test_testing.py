"""Faults in tests, against a control channel that answers as a sandbox would (a real socket, no cluster behind it)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.control import SOCKET, ControlServer
from injector.errors import ClusterError, InputError, NotFired
from injector.rules import JSONValue
from injector.rules_json import firing_to_json
from mutineer import pytest_plugin
from mutineer.testing import Cluster
from tests.builders import firing

FLIGHT = {"field": "spec.selector[app]", "value": "wax", "channel": "apiserver-to-etcd"}
AT_REST = {"field": "spec.selector[app]", "value": "wax"}


class Answering:
    """What a sandbox says: `fires_after` so many looks, or never; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rules: list[Mapping[str, JSONValue]] = []
        self.fires_after: int | None = 0
        self.fired = False

    def __call__(self, request: Mapping[str, JSONValue]) -> JSONValue:
        self.asked.append(" ".join(str(request[key]) for key in ("do", "rule") if isinstance(request.get(key), str)))
        match request:
            case {"do": "inject", "rule": dict(rule)}:
                self.rules.append(rule)
                if rule["parameters"] == {"value": "refused"}:
                    raise ClusterError("no stored object is Service/default/web")
                at_rest = str(rule["channel"]).startswith("at-rest")
                return {"rule": rule, "firing": self._firing() if at_rest else None, "armed": not at_rest}
            case {"do": "injected"}:
                if self.fires_after is not None:
                    self.fired = self.fired or self.asked.count("injected") > self.fires_after
                near: JSONValue = [{"identity": "Service/default/api", "why": "another object", "times": 3}]
                return {"armed": "test-1", "firings": [self._firing()] if self.fired else [], "near_misses": near}
        return None if request["do"] == "disarm" else []

    def _firing(self) -> JSONValue:
        made: Any = firing_to_json(firing())
        return made


@pytest.fixture
def sandbox() -> Answering:
    return Answering()


@pytest.fixture
def cluster(sandbox: Answering, tmp_path: Path) -> Iterator[Cluster]:
    server = ControlServer(tmp_path / SOCKET, sandbox)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\n[ "$1" = bad ] && { echo "no such thing" >&2; exit 3; }\necho "$KUBECONFIG $*"; cat\n'
    )
    kubectl.chmod(0o755)
    yield Cluster("mine", tmp_path, tmp_path / "kubeconfig", kubectl, 2)
    server.close()


def test_a_fault_at_rest_is_done_at_once_and_undone_by_itself(cluster: Cluster, sandbox: Answering) -> None:
    with cluster.inject("value-set", "Service/default/web", **AT_REST) as fault:
        assert (fault.firing.field_before, fault.firing.field_after) == ("web", "wax")
        with cluster.inject("value-set", "Service/default/web", **AT_REST):
            pass
        assert sandbox.asked == ["inject", "inject", "undo test-2"]
    fault.close()
    assert sandbox.asked == ["inject", "inject", "undo test-2", "undo test-1"]


def test_the_arguments_are_a_rules(cluster: Cluster, sandbox: Answering) -> None:
    with cluster.inject(
        "delay", "Pod", namespace="default", labels="app=web", by="kubelet", after="Deployment/default/web Available",
        operation="put", occurrence=2, times=None, channel="apiserver-to-etcd", within_s=0.1, seconds=0.1,
    ):  # fmt: skip
        pass
    (rule,) = sandbox.rules
    target = rule["target"]
    assert isinstance(target, dict)
    assert {key: value for key, value in target.items() if value} == {
        "kind": "Pod", "namespace": "default", "labels": "app=web", "by": "kubelet", "operation": "put",
        "after": "Deployment/default/web Available", "occurrence": 2,
    }  # fmt: skip
    assert (rule["id"], rule["model"], rule["parameters"], rule["times"]) == ("test-1", "delay", {"seconds": 0.1}, None)


def test_every_wrong_argument_is_told_at_once_by_its_name(cluster: Cluster, sandbox: Answering) -> None:
    with pytest.raises(InputError) as wrong:
        cluster.inject(
            "bit-flip", "Servic/default/web", channel="component-to-apiserver", component="kubelet-node-9", bit=99
        )
    told = [str(problem) for problem in wrong.value.problems]
    assert any(line.startswith("inject: target: no kind 'Servic'") for line in told), told
    assert any(line.startswith("inject: bit: expected a whole number") for line in told), told
    assert any(line.startswith("inject: component: ") for line in told), told
    assert sandbox.asked == []


def test_what_the_sandbox_refuses_is_said_in_its_words(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="no stored object is Service/default/web"):
        cluster.inject("value-set", "Service/default/web", field="spec.selector[app]", value="refused")


def test_an_armed_fault_is_waited_for_at_the_end_of_the_with(cluster: Cluster, sandbox: Answering) -> None:
    sandbox.fires_after = 2
    with cluster.inject("value-set", "Service/default/web", **FLIGHT) as fault:
        assert fault.firings == ()
    assert len(fault.firings) == 1
    assert sandbox.asked == ["inject", "injected", "injected", "injected", "disarm", "injected"]


def test_an_armed_fault_that_never_fires_fails_with_what_nearly_matched(cluster: Cluster, sandbox: Answering) -> None:
    sandbox.fires_after = None
    fault = cluster.inject("value-set", "Service/default/web", **FLIGHT, within_s=0.3)
    with pytest.raises(
        NotFired, match=r"value-set on Service/default/web: no message matched within 0\.3 s.*another object"
    ):
        _ = fault.firing
    assert "disarm" in sandbox.asked
    fault.close()  # it was said already
    with pytest.raises(NotFired, match="did not fire before it was disarmed"):
        fault.wait()


def test_one_that_nobody_waited_for_is_told_when_it_is_closed(cluster: Cluster, sandbox: Answering) -> None:
    sandbox.fires_after = None
    fault = cluster.inject("value-set", "Service/default/web", **FLIGHT)
    with pytest.raises(NotFired, match="was armed, and never fired"):
        fault.close()
    fault.close()


def test_what_goes_wrong_in_the_with_is_told_and_not_the_fault_that_did_not_fire(
    cluster: Cluster, sandbox: Answering
) -> None:
    sandbox.fires_after = None
    with pytest.raises(ZeroDivisionError), cluster.inject("value-set", "Service/default/web", **FLIGHT):
        _ = 1 / 0
    assert sandbox.asked == ["inject", "disarm", "injected"]


def test_the_fixture_ends_all_of_them_the_last_one_first_whatever_goes_wrong(
    cluster: Cluster, sandbox: Answering
) -> None:
    sandbox.fires_after = None
    made = [
        cluster.inject("value-set", "Service/default/web", **AT_REST),
        cluster.inject("value-set", "Service/default/web", **FLIGHT),
        cluster.inject("value-set", "Service/default/web", **AT_REST),
    ]
    with pytest.raises(pytest.fail.Exception, match="was armed, and never fired"):
        pytest_plugin._close(made)
    assert sandbox.asked[3:] == ["undo test-3", "disarm", "injected", "undo test-1"]


def test_the_sessions_sandbox_is_rolled_back_from_the_second_test_on() -> None:
    class Reset:
        times = 0

        def reset(self) -> None:
            self.times += 1

    used = Reset()
    session = pytest_plugin._Session(used)  # type: ignore[arg-type]
    counted = []
    for _ in range(3):
        session.fresh()
        counted.append(used.times)
    assert counted == [0, 1, 2]


def test_kubectl_prints_and_its_failure_is_pythons_own_with_its_words(cluster: Cluster) -> None:
    assert cluster.kubectl("get", "pods", stdin="from here") == f"{cluster.kubeconfig} get pods\nfrom here"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        cluster.kubectl("bad")
    assert (failed.value.returncode, failed.value.stderr) == (3, "no such thing\n")
    assert failed.value.__notes__ == ["no such thing"]
