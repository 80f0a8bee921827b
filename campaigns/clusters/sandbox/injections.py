"""Faults by hand in a sandbox that runs in the background: one now at rest, or one armed for the next message.

What `mutineer inject` asks for over the control channel (campaigns.clusters.sandbox.control); runs inside:

    {"do": "inject", "rule": rule, "dry_run": bool}   → {"rule", "firing": firing or null, "armed": bool}
    {"do": "injected"}                                → {"armed": rule id or null, "firings": […], "near_misses": […]}
    {"do": "disarm"}                                  → null
    {"do": "undo"}                                    → [{"record", "outcome"}, …]

Rules, firings and near misses as injector.rules_json has them. A target is a stable identity, or an object's own name
(`Pod/default/web-6f7f9-abcde`), which the answer's rule has the identity of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.clusters.protocol import Cluster
from campaigns.clusters.silent import edit_silently, undo_silently
from injector.at_rest import AtRest
from injector.channels.control import Collected, Stats
from injector.codec import read_meta
from injector.corrupt import corrupt
from injector.errors import ClusterError, CodecError, FaultError
from injector.identity import Identified, IdentityTracker
from injector.rules import Firing, JSONValue, Rule
from injector.rules_json import firing_to_json, near_miss_to_json, rule_from_json, rule_to_json
from injector.targets import Channel
from injector.undo import newest_first

__all__ = ["Forwarder", "Injections"]

_SHOWN = 8
"""Objects of a kind that an error names; arbitrary: a line or two."""


class Forwarder(Protocol):
    """injector.channels.control.ForwarderClient."""

    def arm(self, rule: Rule, baseline: list[tuple[bytes, bytes]]) -> None: ...

    def disarm(self) -> None: ...

    def collect(self) -> Collected: ...

    def stats(self) -> Stats: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    key: str
    stored: Stored
    identified: Identified


class Injections:
    """Of one cluster. `undo`: the folder of the undo records."""

    def __init__(self, cluster: Cluster, forwarder: Forwarder, undo: Path) -> None:
        self._cluster, self._forwarder, self._undo = cluster, forwarder, undo

    def answer(self, request: Mapping[str, JSONValue]) -> JSONValue:
        """To a request as in the module's docstring. ClusterError or FaultError in words."""
        match request:
            case {"do": "inject", "rule": dict(rule), "dry_run": bool(dry_run)}:
                return self._inject(_rule(rule), dry_run=dry_run)
            case {"do": "injected"}:
                return self._injected()
            case {"do": "disarm"}:
                self._forwarder.disarm()
                return None
            case {"do": "undo"}:
                at_rest = self._at_rest()
                done = [(path, at_rest.undo(path)) for path in newest_first(at_rest.pending())]
                done += undo_silently(self._cluster, self._undo)
                return [{"record": str(path), "outcome": outcome.value} for path, outcome in done]
        raise ClusterError(f"no such request: {dict(request)!r:.200}")

    def _at_rest(self) -> AtRest:
        return AtRest(self._cluster.etcd_address, self._undo, self._cluster.etcd_tls)

    def _inject(self, rule: Rule, *, dry_run: bool) -> JSONValue:
        with contextlib.closing(KeySpace(self._cluster.etcd_address, self._cluster.etcd_tls)) as keyspace:
            revision, everything = keyspace.revision(), keyspace.dump()
        at_rest = rule.channel.at_rest
        found = _find(rule, everything, must=at_rest or dry_run)
        if found is not None:
            target = dataclasses.replace(rule.target, identity=found.identified.identity)
            rule = dataclasses.replace(rule, target=target)
        firing: Firing | None = None
        if dry_run and found is not None:
            firing = _previewed(rule, found)
        elif rule.channel is Channel.AT_REST_SILENT:
            firing = edit_silently(self._cluster, rule, self._undo, r0=revision)
        elif at_rest:
            firing = self._at_rest().inject(rule, r0=revision)
        else:
            self._forwarder.arm(rule, [(_bytes(key), stored.value) for key, stored in sorted(everything.items())])
        return {
            "rule": rule_to_json(rule),
            "firing": firing_to_json(firing) if firing is not None else None,
            "armed": not at_rest and not dry_run,
        }

    def _injected(self) -> JSONValue:
        armed, collected = self._forwarder.stats().armed, self._forwarder.collect()
        firings: list[JSONValue] = [firing_to_json(each) for each in collected.firings]
        misses: list[JSONValue] = [near_miss_to_json(each) for each in collected.near_misses]
        return {"armed": armed, "firings": firings, "near_misses": misses}


def _rule(document: Mapping[str, JSONValue]) -> Rule:
    try:
        return rule_from_json(document)
    except ValueError as error:
        raise ClusterError(f"not a rule: {error}") from error


def _previewed(rule: Rule, found: _Found) -> Firing:
    """What the rule would do to the object as it is stored now; nothing is done."""
    made = corrupt(found.stored.value, rule.model, rule.parameters, rule.target.field)
    return Firing(
        rule_id=rule.id,
        at_s=time.monotonic(),
        key=found.key,
        identity=found.identified.identity,
        operation="preview",
        before=found.stored.value,
        after=made.after,
        span=made.span,
        field_before=made.field_before,
        field_after=made.field_after,
        told=made.delivery.told,
    )


def _find(rule: Rule, everything: Mapping[str, Stored], *, must: bool) -> _Found | None:
    """The stored object that the rule's target means. FaultError, naming others, if there is none and there must be."""
    target, tracker = rule.target, IdentityTracker()
    tracker.seed((key, stored.value) for key, stored in everything.items())
    others = []
    for key, stored in everything.items():
        identified = tracker.get(key)
        if identified is None or (identified.kind, identified.group) != (target.kind, target.group):
            continue
        name = _name(identified.kind, stored.value)
        if target.identity in (identified.identity, name):
            return _Found(key, stored, identified)
        others.append(name or identified.identity)
    if not must:
        return None
    there = ", ".join(sorted(others)[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    raise FaultError(f"no {target.identity} is stored; there {'is' if len(others) == 1 else 'are'} {there or 'none'}")


def _name(kind: str, value: bytes) -> str:
    """KIND/NAMESPACE/NAME as the object itself says it; "" where it can't be read."""
    try:
        meta = read_meta(value)
    except CodecError:
        return ""
    return "/".join(part for part in (kind, meta.namespace, meta.name) if part)


def _bytes(key: str) -> bytes:
    return key.encode(errors="surrogateescape")
