"""What the forwarder costs: the same load of etcd transactions directly and through it, unarmed and armed.

The load comes from etcd's own Go client (benchmarks/loadgen): guarded puts of 2 KB values with deadlines, as
kube-apiserver sends them, every client on a connection of its own. Armed means a rule whose target never comes, so that
every Txn is parsed, its object identified and compared. Load, forwarder and etcd share the machine's cores: what the
forwarder takes is missing to the other two, as it is in a sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import Figure
from campaigns.assets import ensure
from campaigns.assets.toolchain import find_go, required_go
from injector.channels.control import ForwarderClient
from injector.errors import EnvironmentFailure, HarnessError
from injector.rules import Rule
from injector.targets import Channel, Target

__all__ = ["measure"]

LOADGEN = Path(__file__).parent / "loadgen"
CLIENTS = 32
ALTERNATIONS = 4
"""Within a round: the shorter the turns, the more alike is what else the machine does meanwhile. Arbitrary."""

LEAST_THROUGHPUT = 0.75
"""Of direct etcd's, at 32 clients (issue 3, "Figures")."""
MOST_ADDED_P50_MS = 0.15
"""At one client (issue 3, "Figures")."""

NEVER = Rule(
    id="never",
    channel=Channel.APISERVER_TO_ETCD,
    model="bit-flip",
    target=Target(kind="ConfigMap", identity="ConfigMap/bench/never", field="data[noise]"),
)

Say = Callable[[str], None]
MODES = ("direct", "unarmed", "armed")


def measure(rounds: int, seconds: float, say: Say) -> list[Figure]:
    """The figures, medians over `rounds` times `ALTERNATIONS` measurements of `seconds` / `ALTERNATIONS` each.
    EnvironmentFailure without Go or etcd."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutineer-bench-")))
        binary = _build(folder / "loadgen")
        etcd, forwarded = f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"
        stack.enter_context(_running(_etcd_command(folder / "data", etcd)))
        control = ForwarderClient(folder / "control.sock")
        module = [sys.executable, "-m", "injector.channels.forwarder"]
        stack.enter_context(
            _running([*module, "--listen", forwarded, "--upstream", etcd, "--control", str(control.path)])
        )
        _wait(lambda: _listens(etcd) and _answers(control), "etcd and the forwarder")
        load = stack.enter_context(subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        found = _rounds(_Load(load, etcd, forwarded, control), rounds, seconds, say)
    return _figures(found)


class _Load:
    """The load generator, with the forwarder armed or disarmed as the mode says."""

    def __init__(self, process: subprocess.Popen[str], etcd: str, forwarded: str, control: ForwarderClient) -> None:
        self._process, self._etcd, self._forwarded, self._control = process, etcd, forwarded, control

    def run(self, mode: str, clients: int, seconds: float) -> dict[str, float]:
        self._control.disarm()
        if mode == "armed":
            self._control.arm(NEVER)
        assert self._process.stdin is not None and self._process.stdout is not None
        endpoint = self._etcd if mode == "direct" else self._forwarded
        self._process.stdin.write(f"{endpoint} {clients} {seconds}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise HarnessError(f"the load generator ended in a round against {endpoint} ({mode})")
        result: dict[str, float] = json.loads(answer)
        return result


_Measured = dict[tuple[str, int], list[dict[str, float]]]


def _rounds(load: _Load, rounds: int, seconds: float, say: Say) -> _Measured:
    found: _Measured = {}
    for clients in (CLIENTS, 1):
        for mode in MODES:
            load.run(mode, clients, 0.5)  # connections and caches warm
    for number in range(rounds * ALTERNATIONS):
        for clients in (CLIENTS, 1):
            order = MODES if number % 2 else tuple(reversed(MODES))
            for mode in order:
                found.setdefault((mode, clients), []).append(load.run(mode, clients, seconds / ALTERNATIONS))
        if number % ALTERNATIONS == ALTERNATIONS - 1:
            say(f"forwarder: round {number // ALTERNATIONS + 1} of {rounds}")
    return found


def _figures(found: _Measured) -> list[Figure]:
    def values(mode: str, clients: int, name: str) -> list[float]:
        return [result[name] for result in found[mode, clients]]

    figures = []
    for mode in MODES:
        throughput, p50 = values(mode, CLIENTS, "per_second"), values(mode, 1, "p50_ms")
        figures.append(Figure(name=f"{mode}: transactions at {CLIENTS} clients", value=median(throughput), unit="/s"))
        figures.append(Figure(name=f"{mode}: p50 at one client", value=median(p50), unit="ms"))
        if mode == "direct":
            continue
        pairs = zip(throughput, values("direct", CLIENTS, "per_second"), strict=True)
        ratio = median(ours / direct for ours, direct in pairs)
        added = median(ours - direct for ours, direct in zip(p50, values("direct", 1, "p50_ms"), strict=True))
        figures.append(
            Figure(
                name=f"{mode}: share of direct throughput", value=ratio, unit="", goal=LEAST_THROUGHPUT, at_least=True
            )
        )
        figures.append(Figure(name=f"{mode}: added p50 at one client", value=added, unit="ms", goal=MOST_ADDED_P50_MS))
    return figures


def _build(output: Path) -> str:
    minimum = required_go(LOADGEN / "go.mod")
    go = find_go(minimum)
    if go is None:
        wanted = ".".join(map(str, minimum))
        raise EnvironmentFailure("no Go to build the load generator with", remedy=f"install Go >= {wanted}")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    command = [str(go), "build", "-mod=readonly", "-trimpath", "-o", str(output), "."]
    subprocess.run(command, cwd=LOADGEN, env=environment, check=True)
    return str(output)


def _etcd_command(data: Path, address: str) -> list[str]:
    binary = os.environ.get("MUTINEER_TEST_ETCD") or shutil.which("etcd") or str(ensure(["etcd"])["etcd"])
    url, peer = f"http://{address}", f"http://127.0.0.1:{_free_port()}"
    return [
        binary, "--data-dir", str(data), "--quota-backend-bytes", str(8 << 30),  # nine rounds write more than 2 GiB
        "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--unsafe-no-fsync", "--log-level", "error",
    ]  # fmt: skip


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _answers(control: ForwarderClient) -> bool:
    try:
        control.ping()
    except HarnessError:
        return False
    return True


def _wait(condition: Callable[[], bool], what: str, within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise HarnessError(f"waited {within_s} s for {what}")
        time.sleep(0.05)
