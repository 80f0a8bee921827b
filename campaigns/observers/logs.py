"""What is written into files while an experiment runs: error lines of the components' logs, and the audit log. Read
once, at the end, from where each file ended at the start."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from campaigns.clusters.protocol import Cluster
from classifiers.observation import AuditEvent, AuditRecord, LogErrors, Observation

__all__ = ["MOST_AUDIT_EVENTS", "AuditReader", "LogReader"]

_ERROR = re.compile(
    rb'^(?:[EF]\d{4} \d\d:\d\d:\d\d|\{"level":"(?:error|fatal|panic|dpanic)"|panic:|fatal error:|Traceback \().*$',
    re.MULTILINE,
)
"""klog's E and F lines, etcd's JSON of those levels, what Go writes when it dies, and what Python does."""
_FIRST = 5
_MOST_CHARACTERS = 300
"""Of a line that is kept."""
MOST_AUDIT_EVENTS = 2000
"""The first so many are kept. Arbitrary: a golden run of `deploy` makes some 250 that change something."""
_READS = frozenset({"get", "list", "watch"})


class LogReader:
    """An Observer. `texts`: whether lines may be kept (not where a fault is aimed at a Secret), or just counted."""

    def __init__(self, cluster: Cluster, *, texts: bool) -> None:
        self._cluster, self._texts = cluster, texts
        self._tails: dict[str, _Tail] = {}
        self._read: dict[str, bytes | str] = {}

    def start(self) -> None:
        self._tails = {name: _Tail(path) for name, path in self._cluster.logs.items()}

    def stop(self) -> None:
        self._read = {name: tail.read() for name, tail in self._tails.items()}

    def add_to(self, observation: Observation) -> Observation:
        errors = [_errors(name, text, self._texts) for name, text in self._read.items() if isinstance(text, bytes)]
        missing = [f"log of {name}: {text}" for name, text in self._read.items() if isinstance(text, str)]
        found = tuple(error for error in errors if error.count)
        return replace(observation, log_errors=found, missing=(*observation.missing, *missing))


class AuditReader:
    """An Observer. Nothing, and nothing missing, where the cluster writes no audit log."""

    def __init__(self, cluster: Cluster, *, began: float, wall: Callable[[], float] = time.time) -> None:
        self._path, self._began, self._wall = cluster.audit_log, began, wall
        self._tail: _Tail | None = None
        self._read: bytes | str = b""
        self._zero = 0.0

    def start(self) -> None:
        self._zero = self._wall() - (time.monotonic() - self._began)
        self._tail = _Tail(self._path) if self._path is not None else None

    def stop(self) -> None:
        if self._tail is not None:
            self._read = self._tail.read()

    def add_to(self, observation: Observation) -> Observation:
        if self._tail is None:
            return observation
        if isinstance(self._read, str):
            return replace(observation, missing=(*observation.missing, f"audit log: {self._read}"))
        return replace(observation, audit=_audit(self._read, self._zero))


class _Tail:
    """A file from its end now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = path.stat().st_size if path.exists() else 0

    def read(self) -> bytes | str:
        """What has been added; in words why that can't be told."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._from:
                    return "it was begun anew meanwhile"
                file.seek(self._from)
                return file.read()
        except FileNotFoundError:
            return b"" if self._from == 0 else "it is gone"
        except OSError as error:
            return str(error)


def _errors(name: str, text: bytes, texts: bool) -> LogErrors:
    lines = [match[0] for match in _ERROR.finditer(text)]
    first = tuple(line[:_MOST_CHARACTERS].decode(errors="replace") for line in lines[:_FIRST]) if texts else ()
    return LogErrors(component=name, count=len(lines), first=first)


def _audit(text: bytes, zero_s: float) -> AuditRecord:
    """`zero_s`: the experiment's start by the clock that the log's times are from."""
    events: list[AuditEvent] = []
    others = left_out = 0
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # the last line may be half written
            continue
        code = int((event.get("responseStatus") or {}).get("code") or 0)
        if event.get("verb") in _READS and code < 400:
            others += 1
        elif len(events) == MOST_AUDIT_EVENTS:
            left_out += 1
        else:
            events.append(_event(event, code, zero_s))
    return AuditRecord(events=tuple(events), others=others, left_out=left_out)


def _event(event: Mapping[str, Any], code: int, zero_s: float) -> AuditEvent:
    about = event.get("objectRef") or {}
    named = "/".join(str(about[key]) for key in ("namespace", "name") if about.get(key))
    what = "/".join(str(about[key]) for key in ("resource", "subresource") if about.get(key))
    received = event.get("requestReceivedTimestamp")
    asked = datetime.fromisoformat(str(received)).timestamp() if received else zero_s
    return AuditEvent(
        at_s=round(asked - zero_s, 4),
        user=str((event.get("user") or {}).get("username", "")),
        verb=str(event.get("verb", "")),
        what=f"{what or event.get('requestURI', '')}{f' {named}' if named else ''}",
        code=code,
    )
