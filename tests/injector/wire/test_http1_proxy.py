"""Requests through the HTTP/1.1 proxy: bytes as they stand on the wire, and h11's own client and server."""

from __future__ import annotations

import gzip
import random

import h11
import pytest

from injector.wire.exchange import Deny, Held, HttpAnswer
from injector.wire.http1_proxy import WAITING_BYTES, Http1Proxy
from injector.wire.inspection import Aside, Gate, Replace, Several
from injector.wire.proxying import Output
from tests.injector.wire.http_peers import WATCH, Inspecting

GET = b"GET /api HTTP/1.1\r\nhost: k\r\n\r\n"
POST = b"POST /api HTTP/1.1\r\nhost: k\r\ncontent-length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsaid"
WATCHED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
REFUSED = Deny(HttpAnswer(503, "text/plain", b"no"))


class World:
    """A proxy, and what it said to either side since it was last asked."""

    def __init__(self) -> None:
        self.inspector: Inspecting | None = None
        self.proxy = Http1Proxy("kubelet-node-1", 3, lambda: self.inspector)
        self.to_client = self.to_upstream = b""
        self.last = self.proxy.begin()
        self.gates: list[Gate] = []

    def inspect(self, **how: object) -> Inspecting:
        self.inspector = Inspecting(**how)  # type: ignore[arg-type]
        return self.inspector

    def _take(self, output: Output) -> None:
        self.last = output
        self.to_client += output.to_client
        self.to_upstream += output.to_upstream
        self.gates += output.gates

    def client(self, data: bytes) -> bytes:
        """What upstream gets of it."""
        self._take(self.proxy.from_client(data))
        said, self.to_upstream = self.to_upstream, b""
        return said

    def upstream(self, data: bytes) -> bytes:
        """What the client gets of it."""
        self._take(self.proxy.from_upstream(data))
        return self.heard()

    def heard(self) -> bytes:
        said, self.to_client = self.to_client, b""
        return said

    def release(self, gate: Gate) -> None:
        gate.open()
        self._take(self.proxy.released())


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_requests_follow_each_other_and_their_fields_pass_in_order() -> None:
    world = World()
    request = (
        b"PUT /x?y=%2F HTTP/1.1\r\nHost: k\r\nB: 2\r\nAccept-Encoding: gzip\r\nA: 1\r\nContent-Length: 4\r\n\r\nbody"
    )
    expected = (
        b"PUT /x?y=%2F HTTP/1.1\r\nhost: k\r\nb: 2\r\naccept-encoding: gzip\r\na: 1\r\ncontent-length: 4\r\n\r\nbody"
    )
    for _ in range(3):
        assert world.client(request).lower() == expected.lower()
        assert world.upstream(OK) == OK
    assert world.proxy.requests == 3 and not world.last.over


def test_pipelined_requests_are_taken_in_one_after_the_other() -> None:
    world = World()
    assert world.client(GET + POST + GET) == GET
    assert not world.last.read_client
    world.inspect()
    assert world.upstream(OK) == OK
    assert world.to_upstream == POST
    world.to_upstream = b""
    world.upstream(OK)
    assert world.to_upstream == GET
    world.upstream(OK)
    assert world.last.read_client


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunked_bodies_and_trailers_pass_in_any_pieces(size: int) -> None:
    world = World()
    request = b"POST / HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"one") + chunk(b"two")
    request += b"0\r\nchecksum: 1\r\n\r\n"
    came = b"".join(world.client(request[at : at + size]) for at in range(0, len(request), size))
    server = h11.Connection(h11.SERVER)
    server.receive_data(came)
    events = [server.next_event() for _ in range(4 if size == 1000 else 8)]
    assert b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)) == b"onetwo"
    assert any(isinstance(event, h11.EndOfMessage) and list(event.headers) == [(b"checksum", b"1")] for event in events)
    answer = WATCHED + chunk(b"a") + chunk(b"bc") + b"0\r\n\r\n"
    heard = b"".join(world.upstream(answer[at : at + size]) for at in range(0, len(answer), size))
    assert heard.lower().startswith(WATCHED.lower()) and heard.endswith(b"0\r\n\r\n") and not world.last.over


def test_an_answer_that_ends_with_the_connection_is_whole() -> None:
    world = World()
    world.client(GET)
    heard = world.upstream(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nsaid")
    heard += world.upstream(b"")
    assert b"said" in heard and world.last.over and world.last.error is None


def test_a_connection_that_is_to_be_closed_is_closed() -> None:
    world = World()
    world.client(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert world.upstream(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")).endswith(b"said")
    assert world.last.over and world.last.error is None


def test_after_the_protocol_was_switched_bytes_pass_both_ways() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: None)
    request = b"POST /exec HTTP/1.1\r\nhost: k\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n"
    assert world.client(request) == request
    switching = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n"
    assert world.upstream(switching + b"\0first") == switching + b"\0first"
    assert world.client(b"\x80\x03any") == b"\x80\x03any" and world.upstream(b"GET / nonsense") == b"GET / nonsense"
    assert inspecting.exchanges[0].ends == [101] and not world.last.over
    world.upstream(b"")
    assert world.last.over


def test_an_upgrade_that_is_refused_leaves_the_connection_usable() -> None:
    world = World()
    world.client(b"GET /exec HTTP/1.1\r\nhost: k\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
    refused = OK.replace(b"200 OK", b"403 Forbidden")
    assert world.upstream(refused) == refused
    assert world.client(GET) == GET


def test_a_changed_request_and_a_changed_answer_have_their_lengths_corrected() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: Replace(b"longer body"), answers=lambda _: Replace(b"x"))
    came = world.client(POST.replace(b"host", b"accept-encoding: gzip\r\nhost"))
    assert came == b"POST /api HTTP/1.1\r\nhost: k\r\ncontent-length: 11\r\n\r\nlonger body"
    assert (
        world.upstream(OK[:-2]) == b"" and world.upstream(OK[-2:]) == b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"
    )
    (looked,) = inspecting.exchanges
    assert (looked.bodies, looked.messages, looked.ends) == ([b"body"], [b"said"], [200])
    assert (looked.head.component, looked.head.connection, looked.head.stream) == ("kubelet-node-1", 3, 1)
    assert world.client(GET).endswith(b"content-length: 11\r\n\r\nlonger body")
    assert inspecting.exchanges[1].head.stream == 2


def test_a_denied_request_never_reaches_upstream_and_the_next_one_does() -> None:
    world = World()
    inspecting = world.inspect(decide=lambda _: REFUSED)
    assert world.client(POST) == b""
    assert world.heard() == (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nno"
    )
    assert inspecting.exchanges[0].ends == [None]
    world.inspector = None
    assert world.client(GET) == GET and world.upstream(OK) == OK


def test_a_request_denied_without_a_word_is_never_answered() -> None:
    world = World()
    world.inspect(decide=lambda _: Deny(None))
    assert (world.client(POST), world.heard(), world.last.over) == (b"", b"", False)


def test_a_held_request_and_a_held_answer_go_on_when_their_gates_open() -> None:
    first, second, world = Gate(), Gate(1.0), World()
    world.inspect(decide=lambda _: Held(first), answers=lambda _: Held(second, Replace(b"late")))
    assert world.client(POST) == b""
    world.release(first)
    assert world.to_upstream == POST
    assert world.upstream(OK) == b"" and world.gates == [first, second]
    world.upstream(b"")
    assert not world.last.over
    world.release(second)
    assert world.heard().endswith(b"\r\n\r\nlate") and world.last.over


def test_a_denied_answer_is_another_one() -> None:
    world = World()
    world.inspect(answers=lambda _: REFUSED)
    world.client(POST)
    assert world.upstream(OK).startswith(b"HTTP/1.1 503 ")
    world.inspector = None
    assert world.client(GET) == GET and world.upstream(OK) == OK


def test_events_of_a_watch_are_looked_at_also_if_a_rule_is_armed_in_the_middle_of_one() -> None:
    world, gate = World(), Gate()
    world.client(GET.replace(b"/api", WATCH.encode()))
    assert world.upstream(WATCHED + chunk(b'{"a"')).endswith(chunk(b'{"a"'))
    inspecting = world.inspect(answers=lambda content: Aside(gate, (b"later",)) if content == b"2" else None)
    assert world.upstream(chunk(b":1}\n1\n2\n") + chunk(b"3")) == chunk(b":1}\n1\n")
    assert world.upstream(chunk(b"\n")) == chunk(b"3\n")
    world.release(gate)
    assert world.heard() == chunk(b"later\n")
    assert world.upstream(b"0\r\n\r\n") == b"0\r\n\r\n"
    assert inspecting.exchanges[0].messages == [b"1", b"2", b"3"] and inspecting.exchanges[0].ends == [200]


@pytest.mark.parametrize(("deny", "over"), [(REFUSED, True), (Deny(None), False)])
def test_a_watch_denied_in_its_middle_is_closed_or_falls_silent(deny: Deny, over: bool) -> None:
    world = World()
    inspecting = world.inspect(answers=lambda content: deny if content == b"2" else None)
    world.client(GET.replace(b"/api", WATCH.encode()))
    assert world.upstream(WATCHED + chunk(b"1\n2\n3\n")).endswith(chunk(b"1\n"))
    assert world.last.over is over and inspecting.exchanges[0].ends == [None]
    if not over:
        assert world.upstream(chunk(b"4\n" * WAITING_BYTES)) == b"" and world.last.read_upstream


def test_nothing_more_is_read_of_a_watch_whose_event_is_held() -> None:
    world, gate = World(), Gate()
    world.inspect(answers=lambda content: Held(gate) if content == b"1" else None)
    world.client(GET.replace(b"/api", WATCH.encode()))
    world.upstream(WATCHED + chunk(b"1\n"))
    assert world.last.read_upstream
    world.upstream(chunk((b"2" * 1023 + b"\n") * (WAITING_BYTES // 1024)))
    assert not world.last.read_upstream
    world.release(gate)
    assert world.last.read_upstream and len(world.heard()) > WAITING_BYTES


def test_compressed_bodies_pass_unread() -> None:
    world, body = World(), gzip.compress(b"said")
    inspecting = world.inspect(answers=lambda _: Replace(b"x"))
    world.client(GET)
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    assert world.upstream(answer) == answer
    assert inspecting.exchanges[0].whys == ["the answer's body is compressed"] and inspecting.exchanges[0].ends == [200]


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told() -> None:
    world = World()
    request = POST[:-4].replace(b"host: k", b"host: k\r\nexpect: 100-continue")
    assert world.client(request) == request
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert world.upstream(interim) == interim and world.client(b"body") == b"body" and world.upstream(OK) == OK
    world.inspect()
    assert (world.client(request), world.heard()) == (b"", interim)
    assert world.client(b"body") == POST


def test_the_answer_to_head_has_no_body_and_the_next_one_does() -> None:
    world = World()
    world.inspect()
    world.client(GET.replace(b"GET", b"HEAD"))
    assert world.upstream(OK[:-4]) == OK[:-4]
    world.client(GET)
    assert world.upstream(OK) == OK


def test_upstream_that_breaks_off_breaks_the_clients_connection() -> None:
    world = World()
    inspecting = world.inspect()
    world.client(GET)
    assert world.upstream(OK[:-1]) == b""
    assert world.upstream(b"") == b"" and world.last.over and world.last.error is None
    assert inspecting.exchanges[0].ends == [None]


def test_what_is_not_http_is_answered_in_words_and_the_connection_closed() -> None:
    world = World()
    world.client(b"\x16\x03\x01\x02\r\n\r\n")
    assert world.heard().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert world.last.over and world.last.error is not None and "the client broke HTTP/1.1" in world.last.error


def test_an_upstream_that_does_not_speak_http_is_said() -> None:
    world = World()
    world.client(GET)
    world.upstream(b"\x15\x03\x01\0\x02\r\n\r\n")
    assert world.last.over and world.last.error is not None and "upstream broke HTTP/1.1" in world.last.error


def test_what_upstream_says_unasked_is_no_answer_to_anything() -> None:
    world = World()
    assert world.upstream(OK) == b"" and world.last.error is not None
    world = World()
    world.client(GET)
    assert world.upstream(OK + OK) == OK and world.last.over


@pytest.mark.parametrize("seed", range(150))
def test_broken_bytes_end_in_words_and_every_exchange_is_told_its_end_once(seed: int) -> None:
    random_ = random.Random(seed)
    world, gates = World(), list[Gate]()

    def decide(_: bytes) -> object:
        gates.append(Gate())
        choices = [None, None, Replace(b"new"), Several(), REFUSED, Held(gates[-1]), Aside(gates[-1], (b"x",))]
        return random_.choice(choices)

    inspecting = world.inspect(decide=lambda body: d if not isinstance(d := decide(body), Several | Aside) else None,
                               answers=decide)  # fmt: skip
    for _ in range(12):
        watch = random_.random() < 0.5
        request = GET.replace(b"/api", WATCH.encode()) if watch else POST
        answer = WATCHED + chunk(b"1\n2\n") + chunk(b"3") + b"0\r\n\r\n" if watch else OK
        for data, take in ((request, world.client), (answer, world.upstream)):
            if random_.random() < 0.15:
                at = random_.randrange(len(data))
                data = data[:at] + bytes([random_.randrange(256)]) + data[at + 1 :]
            take(data)
            if world.last.over:
                break
        if world.last.over:
            break
        for gate in random_.sample(gates, len(gates) // 2):
            world.release(gate)
    world.proxy.closed()
    assert all(len(exchange.ends) == 1 for exchange in inspecting.exchanges)
