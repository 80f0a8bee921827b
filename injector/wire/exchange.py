"""What a component's forwarder asks of whoever knows what HTTP requests mean, and what it is told to do.

The counterpart of injector.wire.inspection for HTTP: a request is one message, its body; an answer is one, or, where it
is a watch, one for each event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol
from urllib.parse import parse_qsl

from injector.wire.inspection import Aside, Gate, Replace, Several

__all__ = [
    "AnswerHead",
    "Answered",
    "Cut",
    "Deny",
    "Exchange",
    "ExchangeInspector",
    "Forward",
    "Held",
    "HttpAnswer",
    "HttpSender",
    "MessageDecision",
    "RequestDecision",
    "RequestHead",
    "cut_of",
    "header",
    "watches",
]

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, in the order sent; without HTTP/2's pseudo headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """One request's head.

    component   whose forwarder it came to, e.g. `kube-scheduler`, `kubelet-node-1`
    connection  1-based, in the order in which clients connected to this process
    stream      HTTP/2's stream; in HTTP/1.1 the n-th request of its connection, 1-based
    target      path and query as they were sent
    """

    component: str
    connection: int
    stream: int
    method: str
    target: str
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """The head of what upstream answers."""

    status: int
    headers: Headers


class Cut(Enum):
    """How a body is cut into messages."""

    WHOLE = auto()
    """One message."""
    LINES = auto()
    """A message a line (a watch in JSON); the line's end is no part of it."""
    PREFIXED = auto()
    """Four bytes of length, big-endian, before each message (a watch in protobuf); they are no part of it."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A made-up answer."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the request on with another target, another body, or both."""

    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Deny:
    """The exchange ends here: upstream never gets the request, or (on the way back) its side is reset. The client is
    told `answer`; None: nothing at all, it then waits for its own deadline. Once an answer's head went out a made-up
    one can't be told any more: the client's stream is reset."""

    answer: HttpAnswer | None


@dataclass(frozen=True, slots=True)
class Held:
    """The message, and what follows it in its body, waits for `gate`; then it goes on as `then` says, which is one that
    may be said of it at once. Other exchanges pass. (injector.wire.inspection.Hold is that of gRPC calls.)"""

    gate: Gate
    then: Replace | Forward | Several | Deny | None = None


RequestDecision = Replace | Forward | Deny | Held | None
"""None: as it came."""

MessageDecision = Replace | Several | Deny | Held | Aside | None
"""As injector.wire.inspection.Decision. Where a whole body changes its size its content-length changes too."""


class Exchange(Protocol):
    """One request and its answer, looked at."""

    def request(self, body: bytes) -> RequestDecision:
        """The whole body (b"" if there is none). Not asked of an exchange that was under way before."""
        ...

    def answered(self, head: AnswerHead) -> bool:
        """The answer's head; whether its messages are to be looked at."""
        ...

    def message(self, content: bytes) -> MessageDecision:
        """One whole message of the answer."""
        ...

    def unread(self, why: str) -> None:
        """A body or message went through that could not be looked at (compressed, too long)."""
        ...

    def ended(self, status: int | None) -> None:
        """It is over, with upstream's HTTP status; None: without an answer, or it broke off."""
        ...


class ExchangeInspector(Protocol):
    def exchange(self, head: RequestHead) -> Exchange | None:
        """Asked for every request while a rule is armed; None: let it pass uninspected. For a watch that was under way
        before it is asked at its next message, and then told `answered` and that message."""
        ...


Answered = Callable[[int | None, bytes], None]
HttpSender = Callable[[RequestHead, bytes, Answered], None]
"""(head, body, answered): makes a request of our own as that component, and tells its answer's HTTP status and body;
(None, b"") where there was none."""


def header(headers: Headers, name: str) -> str | None:
    """The first header of that name (in lower case)."""
    return next((value for key, value in headers if key == name), None)


def watches(target: str) -> bool:
    """Whether it asks for a watch: `?watch=true` (anything but false and 0: k8s.io/apimachinery v0.36.3, pkg/runtime/
    conversion.go), or the old way with `/watch/` in its path."""
    path, _, query = target.partition("?")
    if "/watch/" in path or "watch" not in query:
        return "/watch/" in path
    said = next((value for name, value in parse_qsl(query, keep_blank_values=True) if name == "watch"), "false")
    return said.lower() not in ("false", "0")


def cut_of(request: RequestHead, answer: AnswerHead) -> Cut:
    """How the answer to that request is cut (k8s.io/apiserver, endpoints/handlers/watch.go: a watch's content type says
    `;stream=watch` where it is not JSON; JSON values stand on a line each)."""
    kind = header(answer.headers, "content-type") or ""
    if "stream=watch" in kind:
        return Cut.LINES if kind.startswith("application/json") else Cut.PREFIXED
    lines = watches(request.target) and answer.status == 200 and kind.startswith("application/json")
    return Cut.LINES if lines else Cut.WHOLE
