"""Which stored object a rule at rest is about: its identity among all that is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from injector.codec import read_meta
from injector.errors import CodecError, FaultError
from injector.faults import MODELS
from injector.identity import Identified, IdentityTracker
from injector.rules import Rule
from injector.targets import Channel, Target

__all__ = ["REGISTRY", "AtRestSurroundings", "Census", "Stored", "check_at_rest", "key_text"]

REGISTRY = b"/registry/"
"""Where kube-apiserver keeps objects (its --etcd-prefix)."""

_SHOWN = 8
"""Objects that an error names; arbitrary: a line or two."""


class Stored(NamedTuple):
    """A key of etcd and what it holds."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


def check_at_rest(rule: Rule, channel: Channel) -> None:
    """FaultError for a rule that can't be carried out at rest in this channel."""
    if rule.channel is not channel:
        raise FaultError(f"rule {rule.id!r}: expected channel {channel}, got {rule.channel}")
    if MODELS[rule.model].in_flight:
        raise FaultError(f"there is no message at rest; {rule.model} is done to one on its way")
    if rule.target.occurrence != 1:
        raise FaultError(f"a stored value has no occurrence {rule.target.occurrence}; leave it out at rest")


class Census:
    """Everything that is stored, by identity.

    r0   the etcd revision at which the experiment began. Objects older than that are numbered as the baseline is (by
         key), younger ones by their creation; without it all are numbered by their creation
    """

    def __init__(self, everything: Sequence[Stored], r0: int | None) -> None:
        tracker = IdentityTracker()
        old = [stored for stored in everything if r0 is not None and stored.create_revision <= r0]
        tracker.seed((key_text(stored.key), stored.value) for stored in old)
        for stored in sorted(everything, key=lambda stored: (stored.create_revision, stored.key)):
            tracker.seen(key_text(stored.key), stored.value)
        known = ((stored, tracker.get(key_text(stored.key))) for stored in everything)
        self._known = [(stored, identified) for stored, identified in known if identified is not None]

    def find(self, target: Target) -> tuple[Stored, Identified]:
        """The object that has the target's identity, or that has it as its own name (`Pod/default/web-6f7f9-abcde`).
        FaultError, naming near ones, if none has."""
        kin = [each for each in self._known if (each[1].kind, each[1].group) == (target.kind, target.group)]
        for stored, found in kin:
            if found.identity == target.identity:
                return stored, found
        for stored, found in kin:
            if _own_name(found.kind, stored.value) == target.identity:
                return stored, found
        raise FaultError(
            f"no stored {target.group or 'core'} object is {target.identity}{_there(target.identity, kin)}"
        )

    def other(self, identity: str) -> Stored | None:
        """The object of that identity, of whichever group; None if there is none."""
        return next((stored for stored, found in self._known if found.identity == identity), None)


def _own_name(kind: str, value: bytes) -> str:
    """KIND/NAMESPACE/NAME as the object itself says it; "" where it can't be read."""
    try:
        meta = read_meta(value)
    except CodecError:
        return ""
    return "/".join(part for part in (kind, meta.namespace, meta.name) if part)


def _there(identity: str, kin: Sequence[tuple[Stored, Identified]]) -> str:
    """In words, what else there is: those of the same stem, or some of the kind."""
    others = sorted(found.identity for _, found in kin)
    stem = identity.partition("#")[0]
    others = [each for each in others if each.partition("#")[0] == stem] or others
    shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    return f"; there {'is' if len(others) == 1 else 'are'} {shown}" if others else ""


@dataclass(frozen=True, slots=True)
class AtRestSurroundings:
    """What a fault model may ask (injector.faults.Surroundings). `earlier` gives the version before the one at hand."""

    census: Census
    earlier: Callable[[], bytes | None]

    def previous(self) -> bytes | None:
        return self.earlier()

    def other(self, identity: str) -> tuple[bytes, bytes] | None:
        found = self.census.other(identity)
        return (found.key, found.value) if found is not None else None


def key_text(key: bytes) -> str:
    """An etcd key as text."""
    return key.decode(errors="backslashreplace")
