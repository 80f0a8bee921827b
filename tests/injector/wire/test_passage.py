"""What an exchange gives back of the senders' windows."""

from __future__ import annotations

from injector.wire.exchange import AnswerHead, Headers, Held, RequestHead
from injector.wire.inspection import Gate
from injector.wire.passage import Passage
from tests.injector.wire.http_peers import LINES, WATCH, Inspecting


class Side:
    """Either side, which remembers what was paid and sent."""

    def __init__(self) -> None:
        self.paid, self.sent = 0, b""

    def data(self, content: bytes, *, paid: int, ends: bool) -> None:
        self.paid += paid
        self.sent += content

    def request(self, head: RequestHead, *, ends: bool) -> None: ...

    def inform(self, head: AnswerHead) -> None: ...

    def answer(self, head: AnswerHead, *, ends: bool) -> None: ...

    def trailers(self, trailers: Headers) -> None: ...

    def reset(self, code: int) -> None: ...


def watch(inspecting: Inspecting) -> tuple[Passage, Side]:
    client = Side()
    head = RequestHead(component="kube-proxy", connection=1, stream=1, method="GET", target=WATCH, headers=())
    passage = Passage(head, client, Side(), lambda: inspecting, list[Gate]())
    passage.begin(ends=True)
    passage.answer(AnswerHead(status=200, headers=LINES), ends=False)
    return passage, client


def test_what_waits_behind_a_gate_is_paid_once_it_went_on() -> None:
    gate = Gate()
    passage, client = watch(Inspecting(answers=lambda content: Held(gate) if content == b"1" else None))
    passage.answer_data(b"0\n", paid=2, ends=False)
    passage.answer_data(b"1\n", paid=3, ends=False)
    passage.answer_data(b"2\n", paid=4, ends=False)
    assert (client.sent, client.paid) == (b"0\n", 2)
    gate.open()
    passage.released()
    assert (client.sent, client.paid) == (b"0\n1\n2\n", 9)


def test_what_waits_behind_a_gate_is_paid_though_its_client_gave_up() -> None:
    passage, client = watch(Inspecting(answers=lambda _: Held(Gate())))
    passage.answer_data(b"1\n", paid=3, ends=False)
    passage.answer_data(b"2\n", paid=4, ends=False)
    assert client.paid == 0
    passage.request_reset(8)
    passage.answer_data(b"3\n", paid=5, ends=False)
    assert (client.sent, client.paid) == (b"", 12)
