"""Exchanges of components with kube-apiserver 1.36.3 in a sandbox, as they went by (exchanges.json): read, and played
to a channel."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from injector.wire.exchange import (
    AnswerHead,
    Cut,
    Deny,
    Exchange,
    ExchangeInspector,
    MessageDecision,
    RequestDecision,
    RequestHead,
    cut_of,
)

__all__ = ["NAMES", "Captured", "Played", "captured", "played"]

_ALL = json.loads((Path(__file__).parent / "exchanges.json").read_text())["exchanges"]
NAMES = tuple(each["name"] for each in _ALL)


@dataclass(frozen=True)
class Captured:
    """One exchange. `messages`: its answer, cut."""

    head: RequestHead
    body: bytes
    answer: AnswerHead
    messages: tuple[bytes, ...]

    @property
    def content_type(self) -> str:
        return dict(self.answer.headers)["content-type"]


def captured(name: str, **changes: Any) -> Captured:
    """`changes`: of its head."""
    found = next(each for each in _ALL if each["name"] == name)
    head = RequestHead(
        component=found["component"],
        connection=1,
        stream=1,
        method=found["method"],
        target=found["target"],
        headers=tuple(found["headers"].items()),
    )
    answer = AnswerHead(status=found["status"], headers=(("content-type", found["content-type"]),))
    return Captured(
        replace(head, **changes), _bytes(found["body"]), answer, _cut(_bytes(found["answer"]), cut_of(head, answer))
    )


def _bytes(body: dict[str, str]) -> bytes:
    return body["text"].encode() if "text" in body else base64.b64decode(body["base64"])


def _cut(body: bytes, how: Cut) -> tuple[bytes, ...]:
    if how is Cut.LINES:
        return tuple(body.splitlines())
    if how is Cut.WHOLE:
        return (body,)
    found, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        found.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return tuple(found)


@dataclass
class Played:
    """What a channel made of an exchange; `looked`: whether it wanted to see the answer."""

    exchange: Exchange | None
    request: RequestDecision = None
    looked: bool = False
    messages: tuple[MessageDecision, ...] = ()


def played(inspector: ExchangeInspector, one: Captured, *, end: bool = True) -> Played:
    """Plays the exchange as a forwarder does; what is held or put aside goes on at once."""
    exchange = inspector.exchange(one.head)
    if exchange is None:
        return Played(None)
    found = Played(exchange, exchange.request(one.body))
    if isinstance(found.request, Deny):
        exchange.ended(None)
        return found
    found.looked = exchange.answered(one.answer)
    if found.looked:
        found.messages = tuple(exchange.message(message) for message in one.messages)
    if end:
        exchange.ended(one.answer.status)
    return found
