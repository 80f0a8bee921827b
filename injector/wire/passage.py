"""One exchange on its way: a request and its answer between a client's side and upstream's, whatever HTTP they speak.

Where nobody looks, everything goes straight on. Where an exchange looks, the request is held until its end and then
decided; so is an answer that is one message, with its head. The answer to a watch goes on message by message, and who
looks at it may change in its middle: its messages are followed from its beginning (injector.wire.deciding).

A body that is compressed passes as it came. kube-apiserver compresses large answers for clients that take it, so
`accept-encoding` is left out of a request whose answer is, or may come to be, looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from injector.wire.deciding import Body, Onlooker
from injector.wire.exchange import (
    AnswerHead,
    Cut,
    Deny,
    ExchangeInspector,
    Headers,
    RequestHead,
    cut_of,
    header,
    watches,
)
from injector.wire.frames import ErrorCode
from injector.wire.inspection import Gate

__all__ = ["MAX_ANSWER_BYTES", "MAX_REQUEST_BYTES", "ClientSide", "Passage", "Side", "UpstreamSide"]

MAX_REQUEST_BYTES = 16 << 20
"""Longer requests pass unread. kube-apiserver refuses them at 3 MiB (--max-resource-write-bytes)."""

MAX_ANSWER_BYTES = 256 << 20
"""Longer answers, or messages of a watch, pass unread. As injector.wire.relay's: it only bounds memory."""


class Side(Protocol):
    """Where one direction of an exchange goes. Nothing is sent after the end or a reset, whatever is asked."""

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        """More of the body. `paid`: so much of the sender's flow-control window is given back once it went on."""
        ...

    def trailers(self, trailers: Headers) -> None:
        """The end, with trailers."""
        ...

    def reset(self, code: int) -> None:
        """The stream breaks off with an HTTP/2 error code: upstream's at once, a client's after what was sent to it."""
        ...


class UpstreamSide(Side, Protocol):
    def request(self, head: RequestHead, *, ends: bool) -> None: ...


class ClientSide(Side, Protocol):
    def inform(self, head: AnswerHead) -> None:
        """An interim answer, 1xx."""
        ...

    def answer(self, head: AnswerHead, *, ends: bool) -> None: ...


class Passage:
    """`armed`: who looks at requests now, if anyone. `gates` collects the gates that messages wait for."""

    def __init__(
        self,
        head: RequestHead,
        client: ClientSide,
        upstream: UpstreamSide,
        armed: Callable[[], ExchangeInspector | None],
        gates: list[Gate],
    ) -> None:
        self.head = head
        self._client, self._upstream, self._armed, self._gates = client, upstream, armed, gates
        self._inspector = armed()
        self._exchange = self._inspector.exchange(head) if self._inspector is not None else None
        self._up: Body | None = None
        self._up_trailers: Headers | None = None
        self._continued = False  # we told the client to send its body
        self._requested = False  # the request's head went on
        self._looks = False  # the exchange wants the answer's messages
        self._answer: AnswerHead | None = None
        self._down: Body | None = None
        self._down_trailers: Headers | None = None
        self._answered = False  # the answer's head went on
        self._complete = False  # all of the answer went on
        self._owed = 0  # of upstream's window, for what waits behind a gate
        self._late_reset: int | None = None  # upstream's, after the end of an answer that is held
        self.dropped = False  # nothing goes on any more, either way

    # The request

    def begin(self, *, ends: bool) -> None:
        """The head came."""
        exchange = self._exchange
        if exchange is not None and _compressed(self.head.headers) and not ends:
            exchange.unread("the request's body is compressed")
        elif exchange is not None:
            looking = _Always(Onlooker(exchange.request, exchange.unread))
            self._up = Body(Cut.WHOLE, looking, self._gates, most_bytes=MAX_REQUEST_BYTES)
            if ends:
                self.request_data(b"", paid=0, ends=True)
            elif (header(self.head.headers, "expect") or "").lower() == "100-continue":
                self._continued = True
                self._client.inform(AnswerHead(status=100, headers=()))
            return
        self._requested = True
        self._upstream.request(self._request_head(None, None), ends=ends)

    def request_data(self, content: bytes, *, paid: int, ends: bool) -> None:
        if self.dropped:
            self._upstream.data(b"", paid=paid, ends=False)
        elif self._up is None:
            self._upstream.data(content, paid=paid, ends=ends)
        else:
            self._sent_up(self._up, self._up.data(content, ends=ends), paid)

    def request_trailers(self, trailers: Headers) -> None:
        """The request's end."""
        if self._up is not None:
            self._up_trailers = trailers
            self.request_data(b"", paid=0, ends=True)
        elif not self.dropped:
            self._upstream.trailers(trailers)

    def request_reset(self, code: int) -> None:
        """The client broke it off."""
        self._drop(None)
        self._upstream.reset(code)

    def _sent_up(self, up: Body, out: bytes, paid: int) -> None:
        if up.denied is not None:
            self._upstream.data(b"", paid=paid, ends=False)
            self._drop(None)
            self._upstream.reset(ErrorCode.CANCEL)
            self._tell(up.denied)
            return
        ends = up.over and self._up_trailers is None
        begins = not self._requested and (bool(out) or up.over)
        if begins:
            self._requested = True
            length = len(out) if up.changed else None
            self._upstream.request(self._request_head(up.target, length), ends=ends and not out)
        _send(self._upstream, out, paid=paid, ends=ends, told=begins)
        if up.over and self._up_trailers is not None:
            self._upstream.trailers(self._up_trailers)

    def _request_head(self, target: str | None, length: int | None) -> RequestHead:
        head, left_out = self.head, set[str]()
        if self._exchange is not None or watches(head.target):
            left_out.add("accept-encoding")
        if self._continued:
            left_out.add("expect")
        headers = tuple((name, value) for name, value in head.headers if name not in left_out)
        return replace(head, target=target or head.target, headers=_of_length(headers, length))

    # The answer

    def answer(self, head: AnswerHead, *, ends: bool) -> None:
        """Upstream's head came, or an interim one."""
        if self.dropped:
            return
        if head.status < 200:
            self._client.inform(head)
            if head.status == 101:
                self._drop(101)
            return
        self._answer, cut = head, cut_of(self.head, head)
        exchange = self._exchange
        self._looks = exchange is not None and exchange.answered(head)
        if _compressed(head.headers):
            if exchange is not None and self._looks and not ends:
                exchange.unread("the answer's body is compressed")
        elif cut is not Cut.WHOLE:
            self._down = Body(cut, self, self._gates, most_bytes=MAX_ANSWER_BYTES)
        elif exchange is not None and self._looks and self.head.method != "HEAD":
            looking = _Always(Onlooker(exchange.message, exchange.unread))
            self._down = Body(cut, looking, self._gates, most_bytes=MAX_ANSWER_BYTES)
            if ends:
                self.answer_data(b"", paid=0, ends=True)
            return
        self._answered = True
        self._client.answer(head, ends=ends)
        if ends:
            self._answer_over()

    def answer_data(self, content: bytes, *, paid: int, ends: bool) -> None:
        if self.dropped:
            self._client.data(b"", paid=paid, ends=False)
        elif self._down is not None:
            self._sent_down(self._down, self._down.data(content, ends=ends), paid)
        else:
            self._client.data(content, paid=paid, ends=ends)
            if ends:
                self._answer_over()

    def answer_trailers(self, trailers: Headers) -> None:
        """The answer's end."""
        if self._down is not None:
            self._down_trailers = trailers
            self.answer_data(b"", paid=0, ends=True)
        elif not self.dropped:
            self._client.trailers(trailers)
            self._answer_over()

    def answer_reset(self, code: int) -> None:
        """Upstream broke it off; after a whole answer: it does not want the rest of the request."""
        if self._complete:
            self._client.reset(code)
        elif self._down is not None and self._down.ended and not self.dropped:
            self._late_reset = code
        elif not self.dropped:
            self._drop(None)
            self._client.reset(code)

    def _sent_down(self, down: Body, out: bytes, paid: int) -> None:
        assert self._answer is not None
        paid, self._owed = (0, self._owed + paid) if down.stalled else (self._owed + paid, 0)
        ends = down.over and self._down_trailers is None
        begins = not self._answered and (bool(out) or down.over)
        if begins:
            self._answered = True
            length = len(out) if down.changed else None
            head = replace(self._answer, headers=_of_length(self._answer.headers, length))
            self._client.answer(head, ends=ends and not out)
        _send(self._client, out, paid=paid, ends=ends, told=begins)
        if down.denied is not None:
            self._drop(self._answer.status if down.ended else None)
            self._upstream.reset(ErrorCode.CANCEL)
            self._tell(down.denied)
        elif down.over:
            if self._down_trailers is not None:
                self._client.trailers(self._down_trailers)
            self._answer_over()

    def _answer_over(self) -> None:
        self._complete = True
        if self._answer is not None:
            self._ended(self._answer.status)
        if self._late_reset is not None:
            self._client.reset(self._late_reset)

    # Who looks at the messages of a watch (injector.wire.deciding.Looking)

    def wanted(self) -> bool:
        armed = self._armed()
        return self._looks if armed is self._inspector else armed is not None

    def onlooker(self) -> Onlooker | None:
        armed = self._armed()
        if armed is None or self._answer is None:
            return None
        if armed is not self._inspector:
            self._ended(self._answer.status)
            self._inspector, self._exchange = armed, armed.exchange(self.head)
            self._looks = self._exchange is not None and self._exchange.answered(self._answer)
        if self._exchange is None or not self._looks:
            return None
        return Onlooker(self._exchange.message, self._exchange.unread)

    # Either way

    @property
    def answered_in_full(self) -> bool:
        """Whether upstream has no more to say, though it may not have gone on yet."""
        return not self.dropped and (self._complete or (self._down is not None and self._down.ended))

    def released(self) -> None:
        """Gates have opened: what waited for them goes on."""
        if self._up is not None and self._up.ready and not self.dropped:
            self._sent_up(self._up, self._up.released(), 0)
        if self._down is not None and self._down.ready and not self.dropped:
            self._sent_down(self._down, self._down.released(), 0)

    def closed(self) -> None:
        """The connections are gone."""
        self._drop(None)

    def _drop(self, status: int | None) -> None:
        self.dropped = True
        owed, self._owed = self._owed, 0
        self._client.data(b"", paid=owed, ends=False)
        self._ended(status)

    def _ended(self, status: int | None) -> None:
        """Tell the exchange that it is over, once."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.ended(status)

    def _tell(self, deny: Deny) -> None:
        """The client its made-up end, or nothing."""
        if deny.answer is None:
            return
        if self._answered:
            self._client.reset(ErrorCode.INTERNAL_ERROR)
            return
        answer = deny.answer
        headers = (("content-type", answer.content_type), ("content-length", str(len(answer.body))))
        self._answered = self._complete = True
        body = b"" if self.head.method == "HEAD" else answer.body
        self._client.answer(AnswerHead(status=answer.status, headers=headers), ends=not body)
        if body:
            self._client.data(body, paid=0, ends=True)


class _Always:
    """The same onlooker for all of a body."""

    def __init__(self, onlooker: Onlooker) -> None:
        self._onlooker = onlooker

    def wanted(self) -> bool:
        return True

    def onlooker(self) -> Onlooker | None:
        return self._onlooker


def _send(side: Side, out: bytes, *, paid: int, ends: bool, told: bool) -> None:
    """`told`: the head went out just now, and said the end where nothing follows it."""
    ends = ends and (bool(out) or not told)
    if out or paid or ends:
        side.data(out, paid=paid, ends=ends)


def _compressed(headers: Headers) -> bool:
    return (header(headers, "content-encoding") or "identity") != "identity"


def _of_length(headers: Headers, length: int | None) -> Headers:
    """With another content-length; None: as they are."""
    if length is None:
        return headers
    if header(headers, "content-length") is None:
        told = not length or header(headers, "transfer-encoding") is not None
        return headers if told else (*headers, ("content-length", str(length)))
    return tuple((name, str(length) if name == "content-length" else value) for name, value in headers)
