"""A rule is a fault armed in a channel; a firing is the proof of what it did. Plain values, JSON in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from injector.targets import Channel, Target

__all__ = ["IN_TURN", "Delivery", "Firing", "JSONValue", "NearMiss", "Rule", "Told"]

JSONValue = None | bool | int | float | str | list["JSONValue"] | dict[str, "JSONValue"]


class Told(StrEnum):
    """What the sender of a dropped message is told."""

    ERROR = "error"
    TIMEOUT = "timeout"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a message is delivered instead of once, at once and in its turn.

    told      not at all: what its sender is told
    delay_s   so many seconds later
    copies    so often, one right behind the other
    behind    after the next so many messages that go the same way
    """

    told: Told | None = None
    delay_s: float = 0.0
    copies: int = 1
    behind: int = 0


IN_TURN = Delivery()
"""Once, at once and in its turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One fault on one target in one channel. `model` names an entry of the fault-model registry
    (injector.faults); `parameters` are that model's own, already checked.

    times   how often it fires, from the target's n-th occurrence on; None: until it is disarmed
    reread  at-rest-silent: kube-apiserver is restarted around the edit, so that it and its clients read anew what is
            stored; without it nearly nobody does (docs/consumed.md). etcd-to-apiserver: the rule is armed once all is
            at rest, and kube-apiserver is restarted, which then lists everything
    """

    id: str
    channel: Channel
    model: str
    target: Target
    parameters: Mapping[str, JSONValue] = field(default_factory=dict)
    times: int | None = 1
    reread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What one rule did to one message.

    at_s          time.monotonic() of the machine when the bytes were changed (comparable between processes)
    key           etcd key
    operation     put, delete or drop; range, watch or txn-range for what etcd said; compact or lease-grant; what a
                  component asks or is told as a target's operations name it (injector.targets: OPERATIONS), with its
                  subresource; silent: bytes in a stopped member's file, without a write that etcd knows of; preview: of
                  a fault that was not done
    before/after  the whole stored value before and after (after is b"" where nothing was written)
    span          [start, end) of the changed bytes in `before`
    field_before/field_after  the field's value as JSON, None for message faults
    accepted      True once etcd answered that the transaction succeeded, False if refused or never sent,
                  None while unknown
    revision      etcd revision that the write got, if accepted (a silent edit makes none), or that what was told had
    told          for a drop, what the sender was told, or whoever had asked; None for a watch's event
    note          in words, what else became of it ("" if nothing): copies that were refused, how long it was late
    field         the path of the field that it was done to, where the target names a role; else the target says it
    stream        where the message went, e.g. "connection 4, stream 17"; "" at rest
    actor         who wrote what the message carries: the field manager, "" where that can't be known
    consumed      who read what was changed, and when, in words, as far as it was seen
    """

    rule_id: str
    at_s: float
    key: str
    identity: str
    operation: str
    before: bytes
    after: bytes
    span: tuple[int, int] | None = None
    field_before: JSONValue = None
    field_after: JSONValue = None
    accepted: bool | None = None
    revision: int | None = None
    told: Told | None = None
    note: str = ""
    field: str | None = None
    stream: str = ""
    actor: str = ""
    consumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """A message that almost matched a rule that never fired: which, and why not."""

    identity: str
    why: str
    times: int
