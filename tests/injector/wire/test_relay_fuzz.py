"""Malformed and cut frames, whatever is armed: a connection ends with an HTTP/2 error or goes on; nothing else happens.

Long: `python -m tests.injector.wire.test_relay_fuzz SECONDS`."""

from __future__ import annotations

import random
import sys
import time

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.wire import frames as h2
from injector.wire.inspection import Answer, Aside, Decision, Drop, Gate, Hold, Replace, Several
from injector.wire.relay import Output, Relay
from tests.injector.wire.peers import PATH, Inspecting, grpc_body, request_headers


class Fuzzing:
    """One connection fed with frames that are right, nearly right or noise."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.gates: list[Gate] = []
        inspector = Inspecting(self.decide, answers=self.decide, listening=self.random.random() < 0.7)
        armed = self.random.choice([lambda: inspector, lambda: None, lambda: self.random.choice([inspector, None])])
        self.relay = Relay(armed, lasting=[PATH.encode()] if self.random.random() < 0.5 else [])
        self.encoders = hpack.Encoder(), hpack.Encoder()
        self.relay.from_client(h2.PREFACE)

    def decide(self, message: bytes) -> Decision:
        gate = Gate()
        return self.random.choice(
            [None, None, Replace(message * 2), Several(), Several((message, b"")), Drop(None), Drop(Answer(14, "x")),
             Drop(Answer(0, message=b"y" * 70_000)), Hold(gate), Hold(gate, Drop(Answer(1))), Aside(gate, (message,))]
        )  # fmt: skip

    def frame(self, up: bool) -> bytes:
        pick, stream = self.random, self.random.choice([1, 3, 5, 7])
        kind = pick.random()
        if kind < 0.35:
            body = grpc_body(*[pick.randbytes(pick.choice([0, 3, 40, 9000])) for _ in range(pick.randint(0, 3))])
            body = body[: pick.randint(0, len(body))] if pick.random() < 0.4 else body
            parts = h2.data_frames(stream, body, end_stream=pick.random() < 0.3, max_frame_bytes=16_384)
            made = b"".join(parts)
        elif kind < 0.6 and up:
            made = request_headers(self.encoders[0], stream, pick.choice([PATH, "/other"]))
        elif kind < 0.6:
            flags = h2.END_HEADERS | (h2.END_STREAM if pick.random() < 0.5 else 0)
            fields = [(":status", "200"), ("grpc-status", pick.choice(["0", "9", "x"])), ("n", str(pick.random()))]
            made = h2.frame(h2.HEADERS, flags, stream, self.encoders[1].encode(fields))
        elif kind < 0.75:
            made = h2.window_update(pick.choice([0, stream]), pick.choice([1, 70_000, (1 << 31) - 1]))
        elif kind < 0.8:
            made = h2.rst_stream(stream, 8)
        elif kind < 0.85:
            setting = pick.choice([1, 3, 4, 5]).to_bytes(2, "big") + pick.choice([0, 10, 70_000]).to_bytes(4, "big")
            made = h2.frame(h2.SETTINGS, 0, 0, setting)
        else:
            flags, length = pick.randrange(256), pick.choice([0, 1, 4, 30])
            made = h2.frame(pick.choice([*range(11), 200]), flags, stream, pick.randbytes(length))
        if made and pick.random() < 0.03:
            at = pick.randrange(len(made))
            made = made[:at] + bytes((made[at] ^ 1 << pick.randrange(8),)) + made[at + 1 :]
        return made

    def run(self, frames: int) -> None:
        for _ in range(frames):
            up = self.random.random() < 0.5
            data = self.frame(up)
            cut = self.random.randint(0, len(data))
            for part in (data[:cut], data[cut:]):
                if self.took(self.relay.from_client(part) if up else self.relay.from_upstream(part)):
                    return
            if self.gates and self.random.random() < 0.3:
                self.gates.pop(self.random.randrange(len(self.gates))).open()
                if self.took(self.relay.released()):
                    return
        self.relay.closed()

    def took(self, output: Output) -> bool:
        self.gates += output.gates
        if output.error is None:
            return False
        assert output.to_client and output.to_upstream
        assert self.relay.from_client(b"more").to_upstream == self.relay.from_upstream(b"more").to_client == []
        assert self.relay.released().to_client == []
        return True


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 1 << 32))
def test_nothing_but_an_http2_error_comes_of_malformed_and_cut_frames(seed: int) -> None:
    Fuzzing(seed).run(60)


if __name__ == "__main__":
    began, seed = time.monotonic(), int(time.time())
    while time.monotonic() - began < float(sys.argv[1]):
        seed += 1
        try:
            Fuzzing(seed).run(400)
        except BaseException:
            print(f"seed {seed}")
            raise
    print(f"{seed} was the last seed; nothing found")
