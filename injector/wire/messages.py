"""gRPC messages inside DATA frames: a flag, four bytes of length, the message
(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A message may span frames and a frame may hold
several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PREFIX_BYTES", "Message", "joined", "split"]

PREFIX_BYTES = 5


@dataclass(frozen=True, slots=True)
class Message:
    compressed: bool
    content: bytes


def split(body: bytes | bytearray) -> tuple[list[Message], int]:
    """The whole messages at the start of `body`, and the length in bytes that the message after them will have with
    its prefix (0: `body` ends with the last whole one; PREFIX_BYTES: its prefix is not there yet)."""
    messages: list[Message] = []
    at, size = 0, len(body)
    while size - at >= PREFIX_BYTES:
        end = at + PREFIX_BYTES + int.from_bytes(body[at + 1 : at + PREFIX_BYTES], "big")
        if end > size:
            return messages, end - at
        messages.append(Message(body[at] != 0, bytes(body[at + PREFIX_BYTES : end])))
        at = end
    return messages, PREFIX_BYTES if at < size else 0


def joined(messages: Sequence[Message]) -> bytes:
    """The messages with their prefixes, as they go into DATA frames."""
    return b"".join(bytes((m.compressed,)) + len(m.content).to_bytes(4, "big") + m.content for m in messages)
