"""A recorder: notes what passes in a channel in flight, and hits nothing.

It is the channel of that name itself, with an `Evidence` that notes every message it is asked about and never matches:
the same code recognises and numbers objects, so that the n-th message here is the n-th that a rule would count.

    channel = EtcdChannel(recording_rule(Channel.APISERVER_TO_ETCD), baseline=pairs, evidence=Notes)
    notes_of(channel).recorded()

Of rules about one kind the component channels follow that kind and those that name it; a recorder follows all.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from injector.channels.channel import RuleChannel
from injector.channels.evidence import Evidence
from injector.channels.roster import EVERY
from injector.faults import Registry
from injector.identity import Identified
from injector.rules import JSONValue, Rule
from injector.targets import Channel, Target

__all__ = ["Message", "Notes", "Recorded", "notes_of", "recorded_from_json", "recorded_to_json", "recording_rule"]

_MOST_BYTES = 64 << 20
"""Of different values that are kept; arbitrary, it only bounds memory. A deployment's traffic has 2 MiB of them."""


class Message(NamedTuple):
    """One message about an object. `value` is an index into the values, None where it carries none; `at_s` the clock's;
    `component`: whose it is, "" between kube-apiserver and etcd."""

    kind: str
    group: str
    identity: str
    namespace: str
    operation: str
    component: str
    value: int | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """What passed, in its order, and the values, each once. `complete`: nothing was left out for want of memory."""

    messages: tuple[Message, ...] = ()
    values: tuple[bytes, ...] = ()
    complete: bool = True


@dataclass(slots=True)
class _Kept:
    messages: list[Message] = field(default_factory=list)
    values: dict[bytes, int] = field(default_factory=dict)
    size: int = 0
    complete: bool = True


class Notes(Evidence):
    """Evidence that notes all and matches nothing."""

    def __init__(self, rule: Rule, clock: Callable[[], float], models: Registry) -> None:
        super().__init__(rule, clock, models)
        self._kept = _Kept()

    def matches(
        self,
        identified: Identified,
        operation: str,
        value: bytes | None,
        earlier: Callable[[], bytes | None] = lambda: None,
        *,
        known: bytes | None = None,
        component: str = "",
    ) -> bool:
        """Notes the message; never fires on it."""
        kept, number = self._kept, None
        if value is not None:
            number = kept.values.get(value)
            if number is None:
                if kept.size + len(value) > _MOST_BYTES:
                    kept.complete = False
                    return False
                number = kept.values[value] = len(kept.values)
                kept.size += len(value)
        who, at_s = identified, self.clock()
        kept.messages.append(
            Message(who.kind, who.group, who.identity, who.namespace, operation, component, number, at_s)
        )
        return False

    def recorded(self) -> Recorded:
        """All of it so far."""
        return Recorded(tuple(self._kept.messages), tuple(self._kept.values), self._kept.complete)


def recording_rule(channel: Channel) -> Rule:
    """The rule that a recorder is made with: about any kind, and of a model that asks for nothing."""
    return Rule(id="recording", channel=channel, model="drop", target=Target(kind=EVERY))


def notes_of(channel: RuleChannel) -> Notes:
    """What a recorder has noted."""
    assert isinstance(channel.evidence, Notes)
    return channel.evidence


def recorded_to_json(recorded: Recorded) -> dict[str, JSONValue]:
    """Messages as rows in the order of Message's fields, values in base64."""
    messages: list[JSONValue] = [list(message) for message in recorded.messages]
    values: list[JSONValue] = [base64.b64encode(value).decode("ascii") for value in recorded.values]
    return {"messages": messages, "values": values, "complete": recorded.complete}


def recorded_from_json(document: Mapping[str, JSONValue]) -> Recorded:
    """That again. ValueError if the document is none."""
    messages, values, complete = (document.get(name) for name in ("messages", "values", "complete"))
    if not isinstance(messages, list) or not isinstance(values, list) or not isinstance(complete, bool):
        raise ValueError(f"expected messages, values and complete, got {sorted(document)}")
    contents = tuple(base64.b64decode(str(value), validate=True) for value in values)
    return Recorded(tuple(_message(row, len(contents)) for row in messages), contents, complete)


def _message(row: JSONValue, values: int) -> Message:
    match row:
        case [
            str(kind), str(group), str(identity), str(namespace), str(operation), str(component),
            (None | int()) as value, int() | float() as at_s,
        ] if value is None or 0 <= value < values:  # fmt: skip
            return Message(kind, group, identity, namespace, operation, component, value, at_s)
    raise ValueError(f"expected a message, got {row!r:.80}")
