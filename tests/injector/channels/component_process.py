"""The components' forwarder as a process, with an inspector of the tests' own: what a rule's model is done to every
request that is looked at, or, where the target's operation is `watch`, to the messages of answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from injector.channels.component_forwarder import main
from injector.channels.controlling import ArmedExchanges
from injector.rules import Firing, NearMiss, Rule
from injector.wire.exchange import (
    AnswerHead,
    Deny,
    Exchange,
    Held,
    HttpAnswer,
    HttpSender,
    MessageDecision,
    RequestDecision,
    RequestHead,
)
from injector.wire.inspection import Gate, Replace


class Looking:
    """A rule, and all that it saw, told as near misses."""

    def __init__(self, rule: Rule, _baseline: Iterable[tuple[bytes, bytes]], sender: HttpSender) -> None:
        self.rule, self.sender = rule, sender
        self.done = False
        self.saw: list[tuple[str, str]] = []

    def firings(self) -> tuple[Firing, ...]:
        return ()

    def near_misses(self) -> tuple[NearMiss, ...]:
        return tuple(NearMiss(identity=what, why=why, times=1) for what, why in self.saw)

    def disarmed(self) -> None:
        self.done = True

    def exchange(self, head: RequestHead) -> Exchange | None:
        self.saw.append(("exchange", f"{head.component} {head.connection} {head.stream} {head.method} {head.target}"))
        return _Exchange(self, head)


class _Exchange:
    def __init__(self, looking: Looking, head: RequestHead) -> None:
        self.looking, self.head = looking, head
        self.answers = looking.rule.target.operation == "watch"

    def request(self, body: bytes) -> RequestDecision:
        if self.answers:
            return None
        match self.looking.rule.model:
            case "value-set":
                return Replace(str(self.looking.rule.parameters["value"]).encode())
            case "drop":
                return Deny(HttpAnswer(503, "text/plain", b"dropped"))
            case "delay":
                return Held(Gate(0.2))
            case "duplicate":
                self.looking.sender(self.head, body, self.copied)
        return None

    def copied(self, status: int | None, body: bytes) -> None:
        self.looking.saw.append(("copied", f"{status} {body.decode()}"))

    def answered(self, head: AnswerHead) -> bool:
        return self.answers

    def message(self, content: bytes) -> MessageDecision:
        self.looking.saw.append(("message", content.decode()))
        return Replace(str(self.looking.rule.parameters["value"]).encode())

    def unread(self, why: str) -> None:
        self.looking.saw.append(("unread", why))

    def ended(self, status: int | None) -> None:
        self.looking.saw.append(("ended", str(status)))


def carry_out(rule: Rule, baseline: Iterable[tuple[bytes, bytes]], sender: HttpSender) -> ArmedExchanges:
    return Looking(rule, baseline, sender)


if __name__ == "__main__":
    sys.exit(main(carry_out=carry_out))
