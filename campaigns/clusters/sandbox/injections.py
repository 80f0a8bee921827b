"""Faults by hand in a sandbox that runs in the background: one now at rest, or one armed for the next message.

What `mutineer inject` asks for over the control channel (campaigns.clusters.sandbox.control); runs inside:

    {"do": "inject", "rule": rule, "dry_run": bool}   → {"rule", "firing": firing or null, "armed": bool}
    {"do": "injected"}                                → {"armed": rule id or null, "firings": […], "near_misses": […]}
    {"do": "disarm"}                                  → null
    {"do": "undo"}                                    → [{"record", "outcome"}, …]
    {"do": "undo", "rule": rule id}                   → the same, of that rule's edit alone

Rules, firings and near misses as injector.rules_json has them. A target is a stable identity, or an object's own name
(`Pod/default/web-6f7f9-abcde`), which the answer's rule has the identity of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.clusters.protocol import Cluster
from campaigns.clusters.silent import edit_silently, read_anew, undo_silently
from injector import finding
from injector.at_rest import AtRest
from injector.channels.control import Collected, Stats
from injector.channels.listening import Heard, in_words
from injector.errors import ClusterError
from injector.finding import Census
from injector.rules import Firing, JSONValue, Rule
from injector.rules_json import firing_to_json, near_miss_to_json, rule_from_json, rule_to_json
from injector.targets import Channel
from injector.undo import newest_first

__all__ = ["Forwarder", "Injections"]


_HEARD_WITHIN_S = 0.1
"""kube-apiserver's watch is told within a few milliseconds; a person waits for the answer."""
_LOOK_S = 0.01


class Forwarder(Protocol):
    """injector.channels.control.ForwarderClient."""

    def arm(self, rule: Rule, baseline: list[tuple[bytes, bytes]]) -> None: ...

    def disarm(self) -> None: ...

    def collect(self) -> Collected: ...

    def stats(self) -> Stats: ...

    def listen(self, key: bytes) -> None: ...

    def heard(self) -> tuple[Heard, ...]: ...


class Injections:
    """Of one cluster. `forwarders`: what carries out faults in a channel. `undo`: the folder of the undo records."""

    def __init__(self, cluster: Cluster, forwarders: Callable[[Channel], Forwarder], undo: Path) -> None:
        self._cluster, self._forwarders, self._undo = cluster, forwarders, undo
        self._armed = Channel.APISERVER_TO_ETCD

    def answer(self, request: Mapping[str, JSONValue]) -> JSONValue:
        """To a request as in the module's docstring. ClusterError or FaultError in words."""
        match request:
            case {"do": "inject", "rule": dict(rule), "dry_run": bool(dry_run)}:
                return self._inject(_rule(rule), dry_run=dry_run)
            case {"do": "injected"}:
                return self._injected()
            case {"do": "disarm"}:
                self._forwarders(self._armed).disarm()
                return None
            case {"do": "undo", "rule": str(identifier)}:
                return self._undone(lambda record: record.stem == identifier)
            case {"do": "undo"}:
                return self._undone(lambda _: True)
        raise ClusterError(f"no such request: {dict(request)!r:.200}")

    def _undone(self, chosen: Callable[[Path], bool]) -> JSONValue:
        at_rest = self._at_rest()
        done = [(path, at_rest.undo(path)) for path in newest_first(filter(chosen, at_rest.pending()))]
        done += undo_silently(self._cluster, self._undo, chosen)
        return [{"record": str(path), "outcome": outcome.value} for path, outcome in done]

    def _at_rest(self) -> AtRest:
        return AtRest(self._cluster.etcd_address, self._undo, self._cluster.etcd_tls)

    def _inject(self, rule: Rule, *, dry_run: bool) -> JSONValue:
        with contextlib.closing(KeySpace(self._cluster.etcd_address, self._cluster.etcd_tls)) as keyspace:
            revision = keyspace.revision()
            in_flight = not rule.channel.at_rest and not dry_run
            everything = keyspace.dump() if in_flight else {}
        firing: Firing | None = None
        if in_flight:
            rule = dataclasses.replace(rule, target=_census(everything).by_own_name(rule.target))
            self._arm(rule, [(_bytes(key), stored.value) for key, stored in sorted(everything.items())])
        else:
            firing = self._done(rule, revision, dry_run=dry_run)
            if rule.target.identity:
                rule = dataclasses.replace(rule, target=dataclasses.replace(rule.target, identity=firing.identity))
        return {
            "rule": rule_to_json(rule),
            "firing": firing_to_json(firing) if firing is not None else None,
            "armed": in_flight,
        }

    def _arm(self, rule: Rule, baseline: list[tuple[bytes, bytes]]) -> None:
        forwarder, before = self._forwarders(rule.channel), self._forwarders(self._armed)
        if forwarder is not before and (armed := before.stats().armed):  # one forwarder would say so itself
            raise ClusterError(f"rule {armed!r} is armed in {self._armed}; disarm it first")
        forwarder.arm(rule, baseline)
        self._armed = rule.channel
        if rule.reread:
            read_anew(self._cluster)

    def _done(self, rule: Rule, revision: int, *, dry_run: bool) -> Firing:
        if dry_run:
            return self._at_rest().preview(rule, r0=revision)
        if rule.channel is Channel.AT_REST_SILENT:
            return edit_silently(self._cluster, rule, self._undo, r0=revision)
        forwarder = self._forwarders(Channel.APISERVER_TO_ETCD)
        return _heard(self._at_rest().inject(rule, r0=revision, listen=forwarder.listen), forwarder)

    def _injected(self) -> JSONValue:
        forwarder = self._forwarders(self._armed)
        armed, collected = forwarder.stats().armed, forwarder.collect()
        firings: list[JSONValue] = [firing_to_json(each) for each in collected.firings]
        misses: list[JSONValue] = [near_miss_to_json(each) for each in collected.near_misses]
        return {"armed": armed, "firings": firings, "near_misses": misses}


def _rule(document: Mapping[str, JSONValue]) -> Rule:
    try:
        return rule_from_json(document)
    except ValueError as error:
        raise ClusterError(f"not a rule: {error}") from error


def _heard(firing: Firing, forwarder: Forwarder) -> Firing:
    """With who read what was written, as far as that is told at once."""
    deadline = time.monotonic() + _HEARD_WITHIN_S
    while True:
        said = in_words(forwarder.heard(), revision=firing.revision, since_s=firing.at_s)
        if said or time.monotonic() > deadline:
            return dataclasses.replace(firing, consumed=said)
        time.sleep(_LOOK_S)


def _census(everything: Mapping[str, Stored]) -> Census:
    return Census([finding.Stored(_bytes(key), s.value, 0, 0) for key, s in sorted(everything.items())], None)


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")
