"""The forwarder's side of the control socket: requests in, answers out (the protocol: injector.channels.control)."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Generic, Protocol, TypeVar

from injector.channels.control import SCHEMA, Stats
from injector.channels.listening import Heard
from injector.channels.recording import Notes, Recorded, recorded_to_json, recording_rule
from injector.errors import FaultError, InjectionError
from injector.rules import Firing, JSONValue, NearMiss, Rule
from injector.rules_json import firing_to_json, near_miss_to_json, rule_from_json
from injector.targets import Channel
from injector.wire.exchange import ExchangeInspector
from injector.wire.inspection import Inspector

__all__ = ["ArmedChannel", "ArmedExchanges", "ArmedRule", "Armory", "Controlled", "Traffic", "answer_line"]


class ArmedRule(Protocol):
    """A rule in its channel."""

    rule: Rule

    @property
    def done(self) -> bool:
        """Whether nothing needs to be looked at any more."""
        ...

    def firings(self) -> tuple[Firing, ...]: ...

    def near_misses(self) -> tuple[NearMiss, ...]: ...

    def disarmed(self) -> None:
        """The rule was disarmed: what waits for other messages goes now."""
        ...


class ArmedChannel(ArmedRule, Inspector, Protocol):
    """One that looks at gRPC calls."""


class ArmedExchanges(ArmedRule, ExchangeInspector, Protocol):
    """One that looks at HTTP requests and their answers."""


Pairs = Iterable[tuple[bytes, bytes]]

Carried = TypeVar("Carried", bound=ArmedRule, covariant=True)


class Armory(Generic[Carried]):
    """The one rule that is armed, and the channel that carries it out. The last channel stays for `collect`.
    `carry_out` makes it of a rule and the baseline's (key, value) pairs, and raises FaultError for a rule that no
    channel there can carry out. `record` makes one that hits nothing (injector.channels.recording), with its notes."""

    def __init__(
        self,
        carry_out: Callable[[Rule, Pairs], Carried],
        record: Callable[[Rule, Pairs], tuple[Carried, Notes]] | None = None,
    ) -> None:
        self.last: Carried | None = None
        self.notes: Notes | None = None
        self.armed = False
        self._carry_out, self._record = carry_out, record

    def arm(self, rule: Rule, baseline: Pairs) -> None:
        """FaultError for a rule that no channel here can carry out."""
        self.last = self._carry_out(rule, baseline)
        self.armed = True

    def record(self, channel: Channel, baseline: Pairs) -> None:
        """Note what passes in that channel until `disarm`. FaultError where there is no such channel here."""
        if self._record is None:
            raise FaultError(f"{channel}: nothing here can record it")
        self.last, self.notes = self._record(recording_rule(channel), baseline)
        self.armed = True

    def disarm(self) -> None:
        if self.armed and self.last is not None:
            self.last.disarmed()
        self.armed = False

    def inspector(self) -> Carried | None:
        """Asked at every request that passes: who looks at it, if anyone."""
        return self.last if self.armed and self.last is not None and not self.last.done else None


class Counted(Protocol):
    """A client's connection."""

    @property
    def requests(self) -> int:
        """How many have come on it."""
        ...


Connection = TypeVar("Connection", bound=Counted)


class Traffic(Generic[Connection]):
    """What goes through a forwarder, and is told as its `Stats`."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.connections_total = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._closed_requests = 0

    def opened(self, connection: Connection) -> int:
        """A client has come; returns its number, from 1."""
        self.open.add(connection)
        self.connections_total += 1
        return self.connections_total

    def closed(self, connection: Connection) -> None:
        """It is gone. Fine if it never was opened, or is closed already."""
        if connection in self.open:
            self.open.remove(connection)
            self._closed_requests += connection.requests

    def counted(self, armory: Armory[ArmedRule]) -> Stats:
        return Stats(
            connections=len(self.open),
            connections_total=self.connections_total,
            messages=self._closed_requests + sum(connection.requests for connection in self.open),
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            armed=armory.last.rule.id if armory.last is not None and armory.armed else None,
        )


class Controlled(Protocol):
    """What a forwarder shows to its control socket."""

    @property
    def armory(self) -> Armory[ArmedRule]: ...

    def stats(self) -> Stats: ...

    def listen(self, key: bytes) -> None:
        """For who reads that key, for a while; while a rule is armed nothing is heard."""
        ...

    def heard(self) -> tuple[Heard, ...]:
        """Of the key that was listened for last."""
        ...


_Answer = dict[str, JSONValue]


def answer_line(forwarder: Controlled, line: bytes) -> bytes:
    """The answer to one request line. Never raises: whatever is wrong with the request is the answer."""
    try:
        request: JSONValue = json.loads(line)
        if not isinstance(request, dict) or request.get("schema") != SCHEMA:
            raise ValueError(f"expected an object with schema {SCHEMA}, got {line[:80]!r}")
        do = _DOING.get(str(request.get("do")))
        if do is None:
            raise ValueError(f"do: expected one of {', '.join(_DOING)}, got {request.get('do')!r}")
        answer: _Answer = {"schema": SCHEMA, "ok": True, **do(forwarder, request)}
    except (ValueError, InjectionError) as error:
        answer = {"schema": SCHEMA, "ok": False, "error": str(error)}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _ping(_forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    return {"pid": os.getpid()}


def _arm(forwarder: Controlled, request: Mapping[str, JSONValue]) -> _Answer:
    armory = forwarder.armory
    if armory.armed and armory.last is not None:
        raise ValueError(f"rule {armory.last.rule.id!r} is armed; disarm it first")
    rule = request.get("rule")
    if not isinstance(rule, dict):
        raise ValueError(f"rule: expected an object, got {rule!r:.80}")
    armory.arm(rule_from_json(rule), _pairs(request.get("baseline")))
    return {}


def _record(forwarder: Controlled, request: Mapping[str, JSONValue]) -> _Answer:
    armory = forwarder.armory
    if armory.armed and armory.last is not None:
        raise ValueError(f"rule {armory.last.rule.id!r} is armed; disarm it first")
    channel = request.get("channel")
    if channel not in set(Channel) or Channel(str(channel)).at_rest:
        raise ValueError(f"channel: expected one in flight, got {channel!r:.80}")
    armory.record(Channel(str(channel)), _pairs(request.get("baseline")))
    return {}


def _recorded(forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    notes = forwarder.armory.notes
    return recorded_to_json(notes.recorded() if notes is not None else Recorded())


def _disarm(forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    forwarder.armory.disarm()
    return {}


def _collect(forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    channel = forwarder.armory.last
    if channel is None:
        return {"firings": [], "near_misses": []}
    firings: list[JSONValue] = [firing_to_json(firing) for firing in channel.firings()]
    near_misses: list[JSONValue] = [near_miss_to_json(near_miss) for near_miss in channel.near_misses()]
    return {"firings": firings, "near_misses": near_misses}


def _stats(forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    return asdict(forwarder.stats())


def _listen(forwarder: Controlled, request: Mapping[str, JSONValue]) -> _Answer:
    key = request.get("key")
    if not isinstance(key, str):
        raise ValueError(f"key: expected base64, got {key!r:.80}")
    forwarder.listen(base64.b64decode(key, validate=True))
    return {}


def _heard(forwarder: Controlled, _request: Mapping[str, JSONValue]) -> _Answer:
    return {"heard": [list(each) for each in forwarder.heard()]}


_DOING: dict[str, Callable[[Controlled, Mapping[str, JSONValue]], _Answer]] = {
    "ping": _ping,
    "arm": _arm,
    "record": _record,
    "recorded": _recorded,
    "disarm": _disarm,
    "collect": _collect,
    "stats": _stats,
    "listen": _listen,
    "heard": _heard,
}


def _pairs(value: JSONValue) -> list[tuple[bytes, bytes]]:
    if not isinstance(value, list):
        raise ValueError(f"baseline: expected a list of pairs, got {value!r:.80}")
    pairs: list[tuple[bytes, bytes]] = []
    for item in value:
        match item:
            case [str(key), str(content)]:
                pairs.append((base64.b64decode(key, validate=True), base64.b64decode(content, validate=True)))
            case _:
                raise ValueError(f"baseline[{len(pairs)}]: expected a key and a value in base64, got {item!r:.80}")
    return pairs
