"""`pytest --mutineer` on a real cluster: one sandbox, four tests, and a pytest that is killed in the last of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

TESTS = """
import time
from pathlib import Path
import pytest
from injector.errors import NotFired

TOLD = {"field": "data[a]", "value": "z"}

def test_1_at_rest(cluster, inject):
    cluster.kubectl("create", "configmap", "told", "--from-literal=a=b")
    def stored():
        return cluster.kubectl("get", "configmap", "told", "-o", "jsonpath={.data.a}")
    with inject("value-set", "ConfigMap/default/told", **TOLD) as fault:
        assert (fault.firing.field_before, stored()) == ("b", "z")
    assert stored() == "b"

def test_2_rolled_back_and_in_flight(cluster, inject):
    assert "told" not in cluster.kubectl("get", "configmaps", "-o", "name")
    with inject("value-set", "ConfigMap/default/told", channel="apiserver-to-etcd", **TOLD):
        cluster.kubectl("create", "configmap", "told", "--from-literal=a=b")
    assert cluster.kubectl("get", "configmap", "told", "-o", "jsonpath={.data.a}") == "z"

def test_3_near_misses(cluster, inject):
    with pytest.raises(NotFired, match=r"ConfigMap/default/told: does not carry data\\[a\\]"):
        with inject("value-set", "ConfigMap/default/told", channel="apiserver-to-etcd", within_s=1.0, **TOLD):
            cluster.kubectl("create", "configmap", "told", "--from-literal=b=c")

def test_4_waits(cluster):
    Path("waiting").write_text(cluster.name)
    time.sleep(600)
"""


def test_a_session_has_one_sandbox_and_leaves_nothing_behind_when_it_is_killed(
    binaries: Assets, state_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "cluster.yaml").write_text("nodes: 1\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmutineer_config = cluster.yaml\n")
    command = [sys.executable, "-m", "pytest", "--mutineer", "-v", "-p", "no:cacheprovider"]
    output = tmp_path / "output"
    with output.open("wb") as file, subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file) as session:
        try:
            waiting = tmp_path / "waiting"
            wait_until(lambda: waiting.exists() or session.poll() is not None, within_s=180, what="the last test")
            assert session.poll() is None, output.read_text()
            wait_until(lambda: bool(waiting.read_text()), within_s=5, what="its words")
            assert waiting.read_text() == f"pytest-{session.pid}"
            assert outside.running() == [f"pytest-{session.pid}"]
            results = [line.split()[1] for line in output.read_text().splitlines() if "::test_" in line and "%" in line]
            assert results == ["PASSED"] * 3, output.read_text()
        finally:
            session.kill()
    wait_until(lambda: not outside.running(), within_s=20, what="the sandbox to end with its owner")
    assert outside.reap() == [f"pytest-{session.pid}"]
    assert list(outside.root().iterdir()) == []
    assert not any(f"pytest-{session.pid}" in _command(pid) for pid in os.listdir("/proc") if pid.isdecimal())


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it ended just now
        return ""
