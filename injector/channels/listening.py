"""Who reads what was written: etcd's messages to kube-apiserver about some keys, looked at for a short time.

A watch's event, which fills kube-apiserver's watch cache, and an answer to a range. Nothing is changed. Lasting watches
have to be listened to before the write, since the event may come before its answer does; until there is a key that
costs no more than finding where messages end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from injector.channels import responses
from injector.channels.responses import Pair
from injector.errors import WireError
from injector.wire.inspection import Call, Decision, Place

__all__ = ["LISTEN_S", "RANGE", "WATCH", "Heard", "Listening", "in_words"]

WATCH = b"/etcdserverpb.Watch/Watch"
RANGE = b"/etcdserverpb.KV/Range"

LISTEN_S = 2.0
"""After a write. A watch's event comes within milliseconds; who reads within two seconds has most likely been made to
by it (arbitrary: it bounds how long a rule that fired still costs)."""

_MOST_HEARD = 100
"""Arbitrary: it only bounds memory."""


class Heard(NamedTuple):
    """etcd told kube-apiserver of a key as it was written at `revision`: in a watch's event, or a range's answer.
    `at_s`: time.monotonic()."""

    how: str
    revision: int
    at_s: float


class Listening:
    """What was heard of keys. An `injector.wire.inspection.Inspector`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._until = clock, 0.0
        self._keys: set[bytes] = set()
        self._heard: dict[tuple[bytes, str, int], float] = {}

    def listen(self, key: bytes) -> None:
        """From now on, for a while."""
        self._keys.add(key)
        self._until = self._clock() + LISTEN_S

    @property
    def over(self) -> bool:
        """Whether there is nothing to listen for."""
        if self._keys and self._clock() > self._until:
            self._keys.clear()
        return not self._keys

    def heard(self, key: bytes) -> tuple[Heard, ...]:
        """Of that key, the first time of each kind and revision, in order."""
        return tuple(Heard(how, revision, at_s) for (of, how, revision), at_s in self._heard.items() if of == key)

    def call(self, path: bytes, place: Place = Place(), /) -> Call | None:  # noqa: B008 - an immutable value
        if path == WATCH:
            return _Ear(self, "watch", lambda message: (event.pair for event in responses.events_of(message)))
        return _Ear(self, "range", responses.pairs_of) if path == RANGE and not self.over else None

    def told(self, how: str, message: bytes, pairs_of: Callable[[bytes], Iterable[Pair]]) -> None:
        """One message from etcd."""
        if self.over or not any(key in message for key in self._keys):
            return
        try:
            found = [pair for pair in pairs_of(message) if pair.key in self._keys]
        except WireError:
            return  # not for us to judge; the client will
        for pair in found:
            if len(self._heard) < _MOST_HEARD:
                self._heard.setdefault((pair.key, how, pair.modified), self._clock())


class _Ear:
    """One call that is listened to. An `injector.wire.inspection.Call`."""

    __slots__ = ("how", "of", "pairs_of")

    def __init__(self, of: Listening, how: str, pairs_of: Callable[[bytes], Iterable[Pair]]) -> None:
        self.of, self.how, self.pairs_of = of, how, pairs_of

    @property
    def listening(self) -> bool:
        return not self.of.over

    def request(self, message: bytes) -> Decision:
        return None

    def unread(self, why: str) -> None: ...

    def response(self, message: bytes) -> Decision:
        self.of.told(self.how, message, self.pairs_of)
        return None

    def ended(self, status: int | None) -> None: ...


def in_words(heard: Iterable[Heard], *, revision: int | None, since_s: float) -> tuple[str, ...]:
    """Who read what was written at `revision`, and how long after `since_s` (time.monotonic())."""
    readers = {"watch": "kube-apiserver's watch", "range": "kube-apiserver's read"}
    return tuple(
        f"{readers[each.how]}, {_span(max(0.0, each.at_s - since_s))} later"
        for each in heard
        if each.revision == revision
    )


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
