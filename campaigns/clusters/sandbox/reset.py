"""The rollback rung of the reset: the key space back to the baseline, in place, and the proof that it is.

Everything that differs from the baseline's dump is put back or deleted, past the forwarder, straight in etcd, while the
components that decide by what they remember (`LEADERS`) do not run: they would fight it, and keep what they know of
objects that never were. What runs on sees it as ordinary watch events. Then they start anew, with nothing but what is
stored. Clean is a cluster in which, for a while, a dump equals the baseline, they lead again, and no node has a pod's
network namespace, a container, a route or a rule of kube-proxy that it had not.

Compared are all keys but the volatile ones (campaigns.observers.volatile), and of these the Leases, but for those of
LEADERS; what is written all the time is left out of the comparison, a Node's status and when a Lease was renewed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.observers.volatile import is_volatile
from injector.codec import to_tree
from injector.errors import ClusterError, CodecError
from injector.rules import JSONValue

__all__ = ["LEADERS", "Baseline", "NodeState", "differences", "node_state", "rollback"]

_STILL_S = 0.4
"""The key space must stay equal for so long: controllers react to a rollback within some ten milliseconds, and
kubelets, which stop containers first, with their next event (PLEG relists once a second at most)."""
_LOOK_S, _NODES_LOOK_S = 0.05, 0.15
"""How often the key space is looked at, and the nodes, each of which costs two processes a look."""
_STUCK_S = 5.0
"""Nodes that were dirty in the same way for so long, with every key in place, are not getting clean by themselves:
kubelets that stop pods have something to show each second or two. Arbitrary; too short costs a fresh sandbox."""
_EMPTY_CHAIN = re.compile(r"^\s*chain \S+ \{\s*\}\n", re.MULTILINE)
_NODE_PREFIX, _LEASES = "/registry/minions/", "/registry/leases/"
LEADERS: Mapping[str, str] = {
    name: f"{_LEASES}kube-system/{name}" for name in ("kube-controller-manager", "kube-scheduler")
}
"""Components that start anew in each reset → the key of the Lease by which they lead; who finds none leads at once."""
_OF_LEADERS = frozenset(LEADERS.values())


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a node holds besides objects: routes and kube-proxy's rules, as text without counters, and the files that
    pods can have written to its disk (hostPath)."""

    routes: str
    rules: str
    files: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the cluster was when it was proven clean."""

    keys: Mapping[str, Stored]
    nodes: Mapping[str, NodeState]


_DISKS = ("etc", "home", "mnt", "opt", "root", "srv", "var/lib/kubelet/volumeplugins")
"""Where hostPath volumes of a node are usually, its CNI configuration among them. Not compared: /var/log, /run and the
kubelet's own folder, which go on changing by themselves."""


def _files(root: Path) -> str:
    """Path and size of each file below `_DISKS`, links as they are."""
    found = []
    for disk in _DISKS:
        for folder, _, names in os.walk(root / disk):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # it was removed just now
                    found.append(f"{folder}/{name} {Path(folder, name).lstat().st_size}")
    return "\n".join(sorted(found))


def node_state(network: Path, root: Path) -> NodeState:
    """Read from inside the node's network namespace, and below its root. ClusterError where that can't be done."""

    def inside(*argv: str) -> str:
        command = ["nsenter", f"--net={network}", "--", *argv]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = f": {error.stderr.strip()}" if isinstance(error, subprocess.CalledProcessError) else ""
            raise ClusterError(f"{' '.join(argv)} on {network.name}: {error}{said}") from error
        return done.stdout

    routes = "\n".join(sorted(inside("ip", "-o", "route").splitlines()))
    # kube-proxy empties the chains of a Service that is gone and deletes them at its next sync but one
    listed = _EMPTY_CHAIN.sub("", inside("nft", "-s", "list", "ruleset"))
    # elements of sets and maps have no stable order
    rules = "\n".join(sorted(line.strip() for line in listed.splitlines() if line.strip()))
    return NodeState(routes, rules, _files(root))


def _is_compared(key: str) -> bool:
    return not is_volatile(key) or (key.startswith(_LEASES) and key not in _OF_LEADERS)


def _comparable(key: str, value: bytes) -> bytes:
    if not key.startswith((_NODE_PREFIX, _LEASES)):
        return value
    try:
        tree = to_tree(value)
    except CodecError:
        return value
    kept = {
        **tree,
        "status": None,
        "metadata": _without(tree.get("metadata"), "managedFields"),
        "spec": _without(tree.get("spec"), "renewTime"),
    }
    return json.dumps(kept, sort_keys=True).encode()


def _without(part: JSONValue, name: str) -> JSONValue:
    return {key: value for key, value in part.items() if key != name} if isinstance(part, dict) else part


def differences(baseline: Mapping[str, Stored], now: Mapping[str, Stored]) -> tuple[dict[str, bytes], list[str]]:
    """What must be put and what deleted to get from `now` to `baseline`. Leases that were but renewed are left alone;
    events are deleted, so that none of them outlives its experiment."""
    puts = {
        key: stored.value
        for key, stored in baseline.items()
        if _is_compared(key)
        and (key not in now or (now[key].mod_revision != stored.mod_revision and _differs(key, stored, now[key])))
    }
    deletes = [key for key in now if key not in baseline and (_is_compared(key) or key.startswith("/registry/events/"))]
    return puts, deletes


def _differs(key: str, before: Stored, now: Stored) -> bool:
    return before.value != now.value and _comparable(key, before.value) != _comparable(key, now.value)


def rollback(
    keyspace: KeySpace,
    baseline: Baseline,
    not_clean: Callable[[], Mapping[str, str]],
    *,
    start: Callable[[], None] = lambda: None,
    within_s: float,
) -> str:
    """Rolls back and proves it; returns the proof in words. `start` is called once, when every key is in place: it
    starts what was stopped for the rollback. `not_clean` tells what is not as it was besides keys (where → in words;
    empty when all is). ClusterError with what differed last if the deadline comes first, or before that if nothing
    moves any more."""
    deadline = time.monotonic() + within_s
    rounds, seen, clean_since = 0, -1, None
    last: list[str] = []  # what differed when last something did: it may be gone just when the deadline comes
    stuck: list[str] = []
    moved = began = time.monotonic()
    started = False
    while time.monotonic() < min(deadline, moved + _STUCK_S):
        revision = keyspace.revision()
        if revision != seen:  # the whole is read only if something was written
            puts, deletes = differences(baseline.keys, keyspace.dump())
            seen = revision
            if left := [*puts, *deletes]:
                keyspace.write(puts, deletes)
                rounds, last = rounds + 1, left
            if any(map(_is_compared, left)):
                clean_since, moved = None, time.monotonic()
                time.sleep(_LOOK_S)
                continue
        if not started:
            start()
            started = True
        still = clean_since is not None and time.monotonic() - clean_since >= _STILL_S
        if clean_since is None or still:  # asking nodes costs most: when keys are clean, and at the end
            if dirty := not_clean():
                clean_since = None
                last = [f"{where}: {what}" for where, what in dirty.items()]
                if last != stuck:
                    stuck, moved = last, time.monotonic()
            elif still:
                compared = sum(map(_is_compared, baseline.keys))
                return f"{compared} keys equal to the baseline after {rounds} rounds; {len(baseline.nodes)} nodes clean"
            else:
                clean_since = time.monotonic()
        time.sleep(_LOOK_S if clean_since else _NODES_LOOK_S)
    shown = ", ".join(last[:5]) + (f" and {len(last) - 5} more" if len(last) > 5 else "")
    took = time.monotonic() - began
    raise ClusterError(f"the baseline did not come back to stay within {took:.1f} s; differed last: {shown or '-'}")
