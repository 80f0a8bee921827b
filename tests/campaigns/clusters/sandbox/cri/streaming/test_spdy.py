"""SPDY/3.1 frames."""

from __future__ import annotations

import hashlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.clusters.sandbox.cri.streaming import spdy
from campaigns.clusters.sandbox.cri.streaming.spdy import (
    Data,
    Decoder,
    Encoder,
    GoAway,
    Ping,
    Reset,
    SynReply,
    SynStream,
)
from tests.campaigns.clusters.sandbox.cri.streaming.client import RECORDED

streams = st.integers(1, 2**31 - 1)
numbers = st.integers(0, 2**31 - 1)
headers = st.dictionaries(st.text("abcdefgh-", min_size=1), st.text(max_size=20), max_size=4)
frames = st.one_of(
    st.builds(Data, streams, st.binary(max_size=200), st.booleans()),
    st.builds(SynStream, streams, headers, st.booleans(), st.booleans(), st.integers(0, 7), numbers),
    st.builds(SynReply, streams, headers, st.booleans()),
    st.builds(spdy.Headers, streams, headers, st.booleans()),
    st.builds(Reset, streams, numbers),
    st.builds(Ping, numbers),
    st.builds(GoAway, numbers, numbers),
    st.builds(spdy.WindowUpdate, numbers, numbers),
    st.builds(spdy.Settings, st.dictionaries(st.integers(1, 2**24 - 1), numbers, max_size=4)),
)


@given(st.lists(frames, max_size=8), st.integers(1, 40))
def test_frames_come_back_as_they_were_however_the_bytes_are_cut(sent: list[spdy.Frame], size: int) -> None:
    encoder, decoder = Encoder(), Decoder()
    wire = b"".join(encoder.encode(frame) for frame in sent)
    received = [frame for at in range(0, len(wire), size) for frame in decoder.feed(wire[at : at + size])]
    assert received == sent


def test_the_dictionary_is_the_protocols() -> None:
    digest = "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
    assert hashlib.sha256(spdy.DICTIONARY).hexdigest() == digest
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2  # what zlib streams of SPDY/3 name in their head


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (Data(3, b"hi", fin=True), "00000003 01000002 6869"),
        (Reset(5, spdy.ResetStatus.CANCEL), "80030003 00000008 00000005 00000005"),
        (Ping(1), "80030006 00000004 00000001"),
        (GoAway(7), "80030007 00000008 00000007 00000000"),
        (spdy.WindowUpdate(3, 9), "80030009 00000008 00000003 00000009"),
        (spdy.Settings({4: 100}), "80030004 0000000c 00000001 00000004 00000064"),
    ],
)
def test_bytes_are_laid_out_as_in_the_draft(frame: spdy.Frame, wire: str) -> None:
    assert Encoder().encode(frame) == bytes.fromhex(wire)


def recorded(name: str) -> list[spdy.Frame]:
    return list(Decoder().feed((RECORDED / name).read_bytes().partition(b"\r\n\r\n")[2]))


def test_what_client_go_sends_for_a_command_is_understood() -> None:
    opened = [SynStream(2 * i + 1, {"streamtype": k}) for i, k in enumerate(("error", "stdin", "stdout", "stderr"))]
    assert recorded("exec.bin") == [*opened, Data(3, b"hello"), Data(3, b"", fin=True)]


def test_what_client_go_sends_for_a_terminal_is_understood() -> None:
    kinds = ("error", "stdin", "stdout", "resize")
    assert recorded("terminal.bin") == [
        *(SynStream(2 * i + 1, {"streamtype": kind}) for i, kind in enumerate(kinds)),
        Data(7, b'{"Width":123,"Height":45}\n'),
        Data(3, b"hello\n"),
        Data(3, b"", fin=True),
        Reset(1, 5),
        Reset(5, 5),
        GoAway(0),
    ]


def test_what_client_go_sends_for_a_port_is_understood() -> None:
    def pair(first: int, number: str) -> list[spdy.Frame]:
        common = {"port": "18998", "requestid": number}
        return [
            SynStream(first, common | {"streamtype": "error"}),
            Data(first, b"", fin=True),
            SynStream(first + 2, common | {"streamtype": "data"}),
            Data(first + 2, f"ping {number}".encode()),
            Data(first + 2, b"", fin=True),
        ]

    assert recorded("forward.bin") == [*pair(1, "0"), *pair(5, "1"), GoAway(0)]


def test_header_blocks_of_a_direction_are_one_zlib_stream() -> None:
    encoder = Encoder()
    first, second = (encoder.encode(SynStream(n, {"streamtype": "stdout"})) for n in (1, 3))
    assert len(second) < len(first)
    with pytest.raises(spdy.ProtocolError, match="SYN_STREAM"):
        list(Decoder().feed(second))


def test_a_control_frame_of_an_unknown_kind_is_skipped() -> None:
    assert list(Decoder().feed(bytes.fromhex("8003000b 00000002 0000") + Encoder().encode(Ping(1)))) == [Ping(1)]


def block(plain: bytes) -> bytes:
    compressor = zlib.compressobj(zdict=spdy.DICTIONARY)
    payload = struct.pack(">I", 1) + compressor.compress(plain) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">HHI", 0x8003, 2, len(payload)) + payload


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (bytes.fromhex("80020006 00000004 00000001"), "version 2"),
        (bytes.fromhex("80030006 00000002 0001"), "PING"),
        (bytes.fromhex("80030003 00000008 00000000 00000005"), "stream 0"),
        (bytes.fromhex("00000000 00000001 61"), "stream 0"),
        (bytes.fromhex("80030004 0000000c 00000002 00000004 00000064"), "SETTINGS"),
        (bytes.fromhex("80030001 00ffffff"), "control frame of 16777215 bytes"),
        (block(struct.pack(">II", 1, 2**31)), "inside a header"),
        (block(struct.pack(">II", 1, 3) + b"abc"), "SYN_REPLY"),
        (block(bytes(2 << 20)), "header block of more than"),
        (block(struct.pack(">II", 1, 1) + b"\xff" + struct.pack(">I", 0)), "SYN_REPLY"),
    ],
)
def test_what_the_protocol_forbids_is_refused(wire: bytes, complaint: str) -> None:
    with pytest.raises(spdy.ProtocolError, match=complaint):
        list(Decoder().feed(wire))


@pytest.mark.parametrize("frame", [Data(0, b""), Data(1 << 31, b""), Data(1, bytes(1 << 24))])
def test_a_data_frame_that_does_not_fit_is_not_made(frame: Data) -> None:
    with pytest.raises(ValueError, match="data frame"):
        Encoder().encode(frame)
