"""Made-up ends of gRPC calls, as frames towards the client."""

from __future__ import annotations

from urllib.parse import quote

from injector.wire.frames import END_HEADERS, END_STREAM, HEADERS, frame
from injector.wire.headers import literal_block
from injector.wire.inspection import Answer
from injector.wire.lanes import Lane
from injector.wire.messages import Message, joined

__all__ = ["answer_frames"]

_RESPONSE = ((b":status", b"200"), (b"content-type", b"application/grpc"))


def answer_frames(lane: Lane, stream: int, answer: Answer) -> list[bytes]:
    """HEADERS, DATA and trailers for a success; for an error all in one HEADERS frame ("Trailers-Only" in
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Frames that wait for the client's window go out
    with `lane`'s queue."""
    trailers = [(b"grpc-status", b"%d" % answer.status)]
    if answer.details:
        trailers.append((b"grpc-message", quote(answer.details, safe=" !\"#$&'()*+,/:;<=>?@[]^`{|}").encode()))
    if answer.message is None:
        return [frame(HEADERS, END_HEADERS | END_STREAM, stream, literal_block([*_RESPONSE, *trailers]))]
    opening = frame(HEADERS, END_HEADERS, stream, literal_block(_RESPONSE))
    lane.watch(stream)
    content = lane.release(stream, joined([Message(False, answer.message)]), paid=0, end_stream=False)
    closing = lane.after_pending(
        stream, frame(HEADERS, END_HEADERS | END_STREAM, stream, literal_block(trailers)), in_turn=False
    )
    lane.forget(stream)
    return [opening, content, closing]
