"""Which stored object a rule at rest is about: its identity among all that is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from injector.errors import FaultError
from injector.identity import Identified, IdentityTracker
from injector.rules import Rule
from injector.targets import Channel, Target

__all__ = ["REGISTRY", "Stored", "check_at_rest", "find", "key_text"]

REGISTRY = b"/registry/"
"""Where kube-apiserver keeps objects (its --etcd-prefix)."""


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
    if rule.model == "drop":
        raise FaultError("there is no message to drop at rest; drop is for apiserver-to-etcd")
    if rule.target.occurrence != 1:
        raise FaultError(f"a stored value has no occurrence {rule.target.occurrence}; leave it out at rest")


def find(everything: Sequence[Stored], target: Target, r0: int | None) -> tuple[Stored, Identified]:
    """The stored object that has the target's identity. FaultError, naming near ones, if none has.

    r0   the etcd revision at which the experiment began. Objects older than that are numbered as the baseline is (by
         key), younger ones by their creation; without it all are numbered by their creation
    """
    tracker = IdentityTracker()
    old = [stored for stored in everything if r0 is not None and stored.create_revision <= r0]
    tracker.seed((key_text(stored.key), stored.value) for stored in old)
    names = {key_text(stored.key): stored for stored in everything}
    stem, near = target.identity.partition("#")[0], []
    for stored in sorted(everything, key=lambda stored: (stored.create_revision, stored.key)):
        tracker.seen(key_text(stored.key), stored.value)
    for key, stored in names.items():
        found = tracker.get(key)
        if found is None or (found.kind, found.group) != (target.kind, target.group):
            continue
        if found.identity == target.identity:
            return stored, found
        if found.identity.partition("#")[0] == stem:
            near.append(found.identity)
    hint = f"; there is {', '.join(sorted(near))}" if near else ""
    raise FaultError(f"no stored {target.group or 'core'} object is {target.identity}{hint}")


def key_text(key: bytes) -> str:
    """An etcd key as text."""
    return key.decode(errors="backslashreplace")
