"""Components over time, with real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from campaigns.observers import components
from campaigns.observers.components import ComponentSampler
from tests.builders import observation
from tests.campaigns.observers.looked_at import LookedAt
from tests.conftest import wait_until

BUSY = "import sys\nx = bytearray(30 << 20)\nprint(sum(range(3_000_000)), flush=True)\nsys.stdin.read()"
READYZ = ("kube-apiserver", "/readyz")


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that has used some CPU and 30 MB, and waits."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


def test_each_look_tells_life_restarts_cpu_memory_and_readiness(process: subprocess.Popen[bytes]) -> None:
    seen = LookedAt(pids={"kube-apiserver": process.pid, "etcd": process.pid}, pages={READYZ: (200, b"ok")})
    sampler = ComponentSampler(seen.cluster, began=time.monotonic())
    sampler.look()
    seen.pages[READYZ] = (500, b"not yet")
    sampler.look()
    process.kill()
    process.wait()
    seen.pages[READYZ] = (0, b"refused")
    sampler.look()
    over_time = {series.name: series.samples for series in sampler.add_to(observation()).over_time}
    api, etcd = over_time["kube-apiserver"], over_time["etcd"]
    assert [(s.alive, s.ready) for s in api] == [(True, True), (True, False), (False, False)]
    assert [(s.alive, s.ready) for s in etcd] == [(True, None), (True, None), (False, None)]
    assert api[0].rss_bytes > 30 << 20 and api[0].cpu_s > 0 and (api[2].rss_bytes, api[2].cpu_s) == (0, 0.0)
    assert 0 <= api[0].at_s <= api[1].at_s < api[2].at_s


def test_a_process_that_nobody_has_reaped_does_not_live() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    sampler = ComponentSampler(LookedAt(pids={"etcd": dead.pid}).cluster, began=time.monotonic())

    def ended() -> bool:
        sampler.look()
        return not sampler.add_to(observation()).over_time[0].samples[-1].alive

    wait_until(ended, within_s=10, what="its end")
    dead.wait()


def test_another_process_of_that_name_is_a_restart(process: subprocess.Popen[bytes]) -> None:
    seen = LookedAt(pids={"etcd": 2**22 + 1})
    sampler = ComponentSampler(seen.cluster, began=time.monotonic())
    sampler.look()
    seen.pids["etcd"] = process.pid
    sampler.look()
    samples = sampler.add_to(observation()).over_time[0].samples
    assert [(s.alive, s.restarts, s.ready) for s in samples] == [(False, 0, None), (True, 1, None)]


def test_it_looks_until_it_is_stopped(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_INTERVAL_S", 0.02)
    seen = LookedAt(pids={"etcd": process.pid})
    sampler = ComponentSampler(seen.cluster, began=time.monotonic())
    sampler.start()
    wait_until(lambda: len(seen.asked) >= 4, within_s=10, what="four looks")
    sampler.stop()
    looks = len(seen.asked)
    assert len(sampler.add_to(observation()).over_time[0].samples) == looks
    assert not [t for t in threading.enumerate() if t.name == "components"]
