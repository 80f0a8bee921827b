"""Objects of kind Event: what components told about other objects, from the history of etcd.

Each write of one is a line, the count of an event that happens again and again being part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from campaigns.observers.history import History
from classifiers.observation import EventRecord
from injector.codec import to_tree
from injector.errors import CodecError

__all__ = ["MOST_EVENTS", "events_of"]

MOST_EVENTS = 2000
"""The first so many are kept. Arbitrary: a golden run of `deploy` has 45; a runaway controller makes some a second for
each of its objects."""
_MOST_CHARACTERS = 300
"""Of a message. Kubernetes itself cuts them at 1024 (core/validation/events.go)."""


def events_of(history: History) -> tuple[tuple[EventRecord, ...], str | None]:
    """Events written since r0, in order, and what is missing, in words."""
    with history.changed:
        written = [
            (write.at_s, value)
            for write, value in zip(history.writes, history.values, strict=True)
            if write.kind == "Event" and isinstance(value, bytes)
        ]
    found, broken = [], 0
    for at_s, value in written[:MOST_EVENTS]:
        try:
            found.append(_record(at_s, to_tree(value), history))
        except CodecError:
            broken += 1
    missing = [f"{broken} could not be decoded"] if broken else []
    if len(written) > MOST_EVENTS:
        missing.append(f"{len(written) - MOST_EVENTS} after the first {MOST_EVENTS} were left out")
    return tuple(found), f"events: {', '.join(missing)}" if missing else None


def _record(at_s: float, event: Mapping[str, Any], history: History) -> EventRecord:
    about = event.get("involvedObject") or event.get("regarding") or {}
    kind, namespace, name = (str(about.get(key) or "") for key in ("kind", "namespace", "name"))
    series = event.get("series") or {}
    source = event.get("source") or {}
    return EventRecord(
        at_s=at_s,
        type=str(event.get("type") or ""),
        reason=str(event.get("reason") or ""),
        about=history.identity_of(kind, namespace, name) or "/".join(part for part in (kind, namespace, name) if part),
        message=str(event.get("message") or event.get("note") or "")[:_MOST_CHARACTERS],
        who=str(event.get("reportingComponent") or source.get("component") or ""),
        count=_count(series.get("count") or event.get("count")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1
