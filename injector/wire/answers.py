"""Made-up ends of gRPC calls, as frames towards the client."""

from __future__ import annotations

from urllib.parse import quote

from injector.wire.frames import header_frames
from injector.wire.headers import literal_block
from injector.wire.inspection import Answer
from injector.wire.lanes import Lane
from injector.wire.messages import Message, joined

__all__ = ["answer_frames"]

_RESPONSE = ((b":status", b"200"), (b"content-type", b"application/grpc"))


def answer_frames(lane: Lane, stream: int, answer: Answer, *, opened: bool) -> list[bytes]:
    """HEADERS, DATA and trailers for a success; for an error all in one HEADERS frame ("Trailers-Only" in
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). `opened`: the client has its HEADERS already, so
    that only the rest is sent. What waits for the client's window goes out with `lane`'s queue, which has to know the
    stream, and is forgotten there afterwards."""
    trailers = [(b"grpc-status", b"%d" % answer.status)]
    if answer.details:
        trailers.append((b"grpc-message", quote(answer.details, safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}").encode()))
    opening = [] if opened else [*_RESPONSE]
    if answer.message is None:
        closing = _headers(lane, stream, [*opening, *trailers], end_stream=True)
        sent = [lane.after_pending(stream, closing, in_turn=False)]
    else:
        sent = [_headers(lane, stream, opening, end_stream=False)] if opening else []
        sent.append(lane.made_up(stream, joined([Message(False, answer.message)])))
        sent.append(lane.after_pending(stream, _headers(lane, stream, trailers, end_stream=True), in_turn=False))
    lane.forget(stream)
    return sent


def _headers(lane: Lane, stream: int, fields: list[tuple[bytes, bytes]], *, end_stream: bool) -> bytes:
    return header_frames(stream, literal_block(fields), end_stream=end_stream, max_frame_bytes=lane.max_frame)
