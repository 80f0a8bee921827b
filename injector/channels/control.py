"""Talks to a forwarder over its control socket.

The protocol: a Unix socket (mode 0600), one JSON object a line, one answer a line for every request, in order.

    request   {"schema": 1, "do": NAME, …}
    answer    {"schema": 1, "ok": true, …} or {"schema": 1, "ok": false, "error": "in words"}

    ping      → {"pid": …}
    arm       {"rule": rule (injector.rules_json), "baseline": [[key, value], …], both base64} → {}
    record    {"channel": NAME, "baseline": as of arm} → {}      nothing is hit; what passes is noted, until disarm
    recorded  → injector.channels.recording's JSON, of what was recorded last
    disarm    → {}      nothing is looked at any more; what fired stays to be collected
    collect   → {"firings": […], "near_misses": […]} of the rule armed last (injector.rules_json)
    stats     → {"connections", "connections_total", "messages", "bytes_up", "bytes_down", "armed"}
    listen    {"key": base64} → {}      for who reads that key, for a while (injector.channels.listening)
    heard     → {"heard": [["watch" or "range", revision, at_s], …]} of the key listened for last

History of the schema: 1 (first).
"""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from injector.channels.listening import Heard
from injector.channels.recording import Recorded, recorded_from_json
from injector.errors import HarnessError
from injector.rules import Firing, JSONValue, NearMiss, Rule
from injector.rules_json import firing_from_json, near_miss_from_json, rule_to_json
from injector.targets import Channel

__all__ = ["SCHEMA", "Collected", "ForwarderClient", "Stats"]

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Collected:
    """What the rule armed last did; near misses only if it never fired."""

    firings: tuple[Firing, ...]
    near_misses: tuple[NearMiss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Since the forwarder started. connections: open now; messages: requests begun by clients; bytes as received from
    clients (up) and from upstream (down); armed: the id of the armed rule."""

    connections: int
    connections_total: int
    messages: int
    bytes_up: int
    bytes_down: int
    armed: str | None


class ForwarderClient:
    """One forwarder's control. Every call opens its own connection, so it may be used from any thread and outlive a
    restarted forwarder. Every method raises HarnessError in words if the forwarder does not answer as it should within
    `timeout_s`."""

    def __init__(self, path: Path | str, *, timeout_s: float = 5.0) -> None:
        self.path, self.timeout_s = Path(path), timeout_s

    def ping(self) -> int:
        """The forwarder's process id."""
        return _integer(self._ask("ping"), "pid")

    def arm(self, rule: Rule, baseline: Iterable[tuple[bytes, bytes]] | None = None) -> None:
        """Arm `rule`. Occurrences count from now on. `baseline` are the stored (key, value) pairs of objects that
        exist already: their names are known and owner chains may lead to them. An armed rule must be disarmed first."""
        self._ask("arm", rule=rule_to_json(rule), baseline=_pairs(baseline))

    def record(self, channel: Channel, baseline: Iterable[tuple[bytes, bytes]] | None = None) -> None:
        """Note what passes in `channel`, which is one in flight, as a rule armed now would see it. Nothing may be armed
        meanwhile."""
        self._ask("record", channel=channel.value, baseline=_pairs(baseline))

    def recorded(self) -> Recorded:
        """What was noted so far; it stays there when the recording is disarmed."""
        try:
            return recorded_from_json(self._ask("recorded"))
        except ValueError as error:
            raise HarnessError(f"the forwarder at {self.path} sent a recording that can't be read: {error}") from error

    def disarm(self) -> None:
        """Look at nothing any more. Fine if nothing is armed."""
        self._ask("disarm")

    def collect(self) -> Collected:
        """What the rule armed last has done so far."""
        answer = self._ask("collect")
        try:
            return Collected(
                tuple(firing_from_json(item) for item in _objects(answer, "firings")),
                tuple(near_miss_from_json(item) for item in _objects(answer, "near_misses")),
            )
        except ValueError as error:
            raise HarnessError(f"the forwarder at {self.path} sent a record that can't be read: {error}") from error

    def listen(self, key: bytes) -> None:
        """Listen for who reads that key, for a while from now on (where no rule is armed)."""
        self._ask("listen", key=_base64(key))

    def heard(self) -> tuple[Heard, ...]:
        """What was heard of the key that was listened for last."""
        found = self._ask("heard").get("heard")
        heard: list[Heard] = []
        for each in found if isinstance(found, list) else [None]:
            match each:
                case [str(how), int(revision), int() | float() as at_s]:
                    heard.append(Heard(how, revision, at_s))
                case _:
                    raise HarnessError(f"the forwarder's answer: heard: expected lists, got {found!r:.80}")
        return tuple(heard)

    def stats(self) -> Stats:
        """What went through."""
        answer = self._ask("stats")
        armed = answer.get("armed")
        return Stats(
            connections=_integer(answer, "connections"),
            connections_total=_integer(answer, "connections_total"),
            messages=_integer(answer, "messages"),
            bytes_up=_integer(answer, "bytes_up"),
            bytes_down=_integer(answer, "bytes_down"),
            armed=armed if isinstance(armed, str) else None,
        )

    def _ask(self, do: str, **arguments: JSONValue) -> dict[str, JSONValue]:
        request = json.dumps({"schema": SCHEMA, "do": do, **arguments}, separators=(",", ":")).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                channel.settimeout(self.timeout_s)
                channel.connect(str(self.path))
                channel.sendall(request)
                with channel.makefile("rb") as lines:
                    answer: JSONValue = json.loads(lines.readline() or b"null")
        except TimeoutError as error:
            raise HarnessError(f"the forwarder at {self.path} did not answer {do!r} in {self.timeout_s} s") from error
        except (OSError, ValueError) as error:
            raise HarnessError(f"the forwarder at {self.path} can't be asked to {do}: {error}") from error
        if not isinstance(answer, dict):
            raise HarnessError(f"the forwarder at {self.path} closed the connection instead of answering {do!r}")
        if answer.get("schema") != SCHEMA:
            schema = answer.get("schema")
            raise HarnessError(f"the forwarder at {self.path} speaks schema {schema!r}, this program {SCHEMA}")
        if answer.get("ok") is not True:
            raise HarnessError(f"the forwarder at {self.path} could not {do}: {answer.get('error')}")
        return answer


def _pairs(baseline: Iterable[tuple[bytes, bytes]] | None) -> list[JSONValue]:
    return [[_base64(key), _base64(value)] for key, value in baseline or ()]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _integer(answer: dict[str, JSONValue], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int):
        raise HarnessError(f"the forwarder's answer: {name}: expected an integer, got {value!r}")
    return value


def _objects(answer: dict[str, JSONValue], name: str) -> list[dict[str, JSONValue]]:
    value = answer.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise HarnessError(f"the forwarder's answer: {name}: expected a list of objects, got {value!r:.80}")
    return [item for item in value if isinstance(item, dict)]
