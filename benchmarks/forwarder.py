"""What the forwarder costs: the same load on etcd directly and through it, side by side in one run.

    direct       etcd itself
    unarmed      through the forwarder, no rule armed
    elsewhere    a rule armed on an object of another kind: every Txn is parsed and its object identified
    inspected    a rule armed on one of the objects that are written, waiting for an occurrence that never comes: every
                 Txn is parsed, its object identified and compared, and that object's field looked up in each put
    grpc.aio     through a pass-through of a page of Python (benchmarks.passthrough): the yardstick

The load comes from etcd's own Go client (benchmarks/loadgen): guarded puts of 2 KB values with deadlines, as
kube-apiserver sends them, every client on a connection of its own; values of 1 MB, written and read; lists of 20 MB in
one answer. No TLS, as between kube-apiserver and etcd in the sandbox. Load, etcd and forwarder share the machine's
cores: what the forwarder takes is missing to the other two, as it is in a sandbox.

A million messages (`--messages 1000000`) take about 3 GB of disk for etcd, and some minutes.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import Figure
from campaigns.assets import ensure
from campaigns.assets.toolchain import find_go, required_go
from injector.channels.control import ForwarderClient
from injector.errors import EnvironmentFailure, HarnessError
from injector.rules import Rule
from injector.targets import Channel, Target

__all__ = ["MESSAGES", "measure"]

LOADGEN = Path(__file__).parent / "loadgen"
CLIENTS = 32
ALTERNATIONS = 4
"""Within a round: the shorter the turns, the more alike is what else the machine does meanwhile. Arbitrary."""

MESSAGES = 50_000
"""For the memory, unless `--messages` says otherwise: arbitrary, some 20 seconds."""
MOST_GROWTH_MB = 2.0
"""What counts as flat. Arbitrary: some hundred pages of an allocator's moods, and 2 bytes a message of a million."""

# Goals: issue 5, "Figures"
LEAST_SHARE = {"unarmed": 0.85, "inspected": 0.75}
LEAST_LARGE_SHARE = 0.70
MOST_ADDED_P50_MS = 0.10
MOST_ADDED_P99_MS = 0.50
LEAST_TIMES_YARDSTICK = 4.0

DIRECT, YARDSTICK = "direct", "grpc.aio"
FORWARDED = ("unarmed", "elsewhere", "inspected")
ARMS = (DIRECT, *FORWARDED, YARDSTICK)
LARGE_ARMS = (DIRECT, "unarmed", "inspected")
LARGE = {"put": "1 MB value written", "get": "1 MB value read", "list": "20 MB list"}


def _rule(kind: str, identity: str, group: str, field: str) -> Rule:
    target = Target(kind=kind, identity=identity, group=group, field=field, occurrence=1 << 40)
    return Rule(id="never", channel=Channel.APISERVER_TO_ETCD, model="bit-flip", target=target)


RULES: Mapping[str, Rule] = {
    "elsewhere": _rule("Deployment", "Deployment/bench/web", "apps", "spec.replicas"),
    "inspected": _rule("ConfigMap", "ConfigMap/bench/0", "", "data[noise]"),
}

Say = Callable[[str], None]
Result = dict[str, float]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One measurement: what is done through which arm by how many clients."""

    what: str
    arm: str
    clients: int


Measured = dict[_Turn, list[Result]]


def measure(rounds: int, seconds: float, say: Say, *, messages: int = MESSAGES) -> list[Figure]:
    """The figures, medians over `rounds` times `ALTERNATIONS` measurements of `seconds` / `ALTERNATIONS` each (of large
    values and lists: over two a round). EnvironmentFailure without Go or etcd."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutineer-bench-")))
        binary = _build(folder / "loadgen")
        etcd, forwarded, yardstick = (f"127.0.0.1:{_free_port()}" for _ in range(3))
        stack.enter_context(_running(_etcd_command(folder / "data", etcd)))
        control = ForwarderClient(folder / "control.sock")
        module = [sys.executable, "-m", "injector.channels.forwarder"]
        forwarder = stack.enter_context(
            _running([*module, "--listen", forwarded, "--upstream", etcd, "--control", str(control.path)])
        )
        stack.enter_context(_running([sys.executable, "-m", "benchmarks.passthrough", yardstick, etcd]))
        _wait(lambda: _listens(etcd) and _listens(yardstick) and _answers(control), "etcd and what is before it")
        load = stack.enter_context(subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        bench = _Bench(load, {DIRECT: etcd, YARDSTICK: yardstick}, forwarded, control, forwarder.pid)
        found = _rounds(bench, rounds, seconds, say)
        memory = _memory(bench, messages, say)
    return [*_transactions(found), *_large(found), *memory]


class _Bench:
    """The load generator, with the forwarder armed or disarmed as the arm says."""

    def __init__(
        self,
        load: subprocess.Popen[str],
        endpoints: Mapping[str, str],
        forwarded: str,
        control: ForwarderClient,
        forwarder: int,
    ) -> None:
        self._load, self._endpoints, self._forwarded = load, endpoints, forwarded
        self.control, self.forwarder = control, forwarder

    def run(self, turn: _Turn, seconds: float) -> Result:
        self.control.disarm()
        if turn.arm in RULES:
            self.control.arm(RULES[turn.arm])
        assert self._load.stdin is not None and self._load.stdout is not None
        used = _cpu_us(self.forwarder)
        endpoint = self._endpoints.get(turn.arm, self._forwarded)
        self._load.stdin.write(f"{turn.what} {endpoint} {turn.clients} {seconds}\n")
        self._load.stdin.flush()
        answer = self._load.stdout.readline()
        if not answer:
            raise HarnessError(f"the load generator ended in a round of {turn.what} against {endpoint} ({turn.arm})")
        result: Result = json.loads(answer)
        result["cpu_us"] = (_cpu_us(self.forwarder) - used) / result["transactions"]
        return result


def _rounds(bench: _Bench, rounds: int, seconds: float, say: Say) -> Measured:
    small = [[_Turn("txn", arm, clients) for arm in ARMS] for clients in (CLIENTS, 1)]
    large = [[_Turn(what, arm, 1) for arm in LARGE_ARMS] for what in LARGE]
    for turn in (turn for side_by_side in (*small, *large) for turn in side_by_side):
        bench.run(turn, 0.5)  # connections and caches warm
    found: Measured = {}
    for number in range(rounds * ALTERNATIONS):
        for side_by_side in small if number % 2 else (*small, *large):
            for turn in side_by_side if number % 4 < 2 else reversed(side_by_side):
                found.setdefault(turn, []).append(bench.run(turn, seconds / ALTERNATIONS))
        if number % ALTERNATIONS == ALTERNATIONS - 1:
            say(f"forwarder: round {number // ALTERNATIONS + 1} of {rounds}")
    return found


def _share(found: Measured, turn: _Turn, other: _Turn) -> float:
    """The median, over the pairs that ran side by side, of one's throughput in the other's."""
    return median(
        ours["per_second"] / theirs["per_second"] for ours, theirs in zip(found[turn], found[other], strict=True)
    )


def _added_ms(found: Measured, arm: str, name: str) -> float:
    ours, direct = found[_Turn("txn", arm, 1)], found[_Turn("txn", DIRECT, 1)]
    return median(one[name] - other[name] for one, other in zip(ours, direct, strict=True))


def _transactions(found: Measured) -> list[Figure]:
    figures = []
    for arm in ARMS:
        many, one = _Turn("txn", arm, CLIENTS), _Turn("txn", arm, 1)
        throughput = median(result["per_second"] for result in found[many])
        figures.append(Figure(name=f"{arm}: transactions at {CLIENTS} clients", value=throughput, unit="/s"))
        for name, percentile in (("p50_ms", "p50"), ("p99_ms", "p99")):
            value = median(result[name] for result in found[one])
            figures.append(Figure(name=f"{arm}: {percentile} at one client", value=value, unit="ms"))
    for arm in FORWARDED:
        cpu = median(result["cpu_us"] for result in found[_Turn("txn", arm, CLIENTS)])
        figures.append(
            Figure(name=f"{arm}: the forwarder's own CPU a transaction, {CLIENTS} clients", value=cpu, unit="µs")
        )
    for arm in (*FORWARDED, YARDSTICK):
        ours = arm in LEAST_SHARE
        share = _share(found, _Turn("txn", arm, CLIENTS), _Turn("txn", DIRECT, CLIENTS))
        figures += [
            Figure(
                name=f"{arm}: share of direct throughput", value=share, unit="",
                goal=LEAST_SHARE.get(arm), at_least=True,
            ),
            Figure(
                name=f"{arm}: added p50 at one client", value=_added_ms(found, arm, "p50_ms"), unit="ms",
                goal=MOST_ADDED_P50_MS if ours else None,
            ),
            Figure(
                name=f"{arm}: added p99 at one client", value=_added_ms(found, arm, "p99_ms"), unit="ms",
                goal=MOST_ADDED_P99_MS if ours else None,
            ),
        ]  # fmt: skip
    times = _share(found, _Turn("txn", "unarmed", CLIENTS), _Turn("txn", YARDSTICK, CLIENTS))
    name = f"unarmed: times the throughput of {YARDSTICK}"
    return [*figures, Figure(name=name, value=times, unit="x", goal=LEAST_TIMES_YARDSTICK, at_least=True)]


def _large(found: Measured) -> list[Figure]:
    figures = []
    for what, words in LARGE.items():
        direct = _Turn(what, DIRECT, 1)
        speed = median(result["per_second"] for result in found[direct])
        figures.append(Figure(name=f"{DIRECT}: {words}", value=speed, unit="/s"))
        for arm in LARGE_ARMS[1:]:
            share = _share(found, _Turn(what, arm, 1), direct)
            name = f"{arm}: {words}, share of direct speed"
            figures.append(Figure(name=name, value=share, unit="", goal=LEAST_LARGE_SHARE, at_least=True))
    return figures


def _memory(bench: _Bench, messages: int, say: Say) -> list[Figure]:
    """What the forwarder's memory grows by while so many messages pass, half of them inspected. All the rounds have
    gone before, so that every buffer there will be is there."""
    begin, before = bench.control.stats().messages, _resident_mb(bench.forwarder)
    for arm, until in (("unarmed", begin + messages // 2), ("inspected", begin + messages)):
        while (passed := bench.control.stats().messages) < until:
            say(f"forwarder: memory, {passed - begin} of {messages} messages")
            bench.run(_Turn("txn", arm, CLIENTS), 5.0)
    grown, passed = _resident_mb(bench.forwarder) - before, bench.control.stats().messages - begin
    return [
        Figure(name="the forwarder's memory, after the rounds", value=before, unit="MB"),
        Figure(name=f"… grown over {passed} more messages", value=grown, unit="MB", goal=MOST_GROWTH_MB),
    ]


def _cpu_us(pid: int) -> float:
    """Of its threads that live: in it and, for it, in the kernel (Documentation/scheduler/sched-stats.rst)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


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
        binary, "--data-dir", str(data), "--quota-backend-bytes", str(16 << 30),  # nine rounds write more than 4 GiB
        "--listen-client-urls", url, "--advertise-client-urls", url,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        "--unsafe-no-fsync", "--log-level", "error",
    ]  # fmt: skip


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
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
