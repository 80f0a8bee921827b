"""The trace of an experiment from its history: every value that was written since r0, and what was there before.

Values of Secrets are withheld (campaigns.redaction), as is what comes after the room that a trace has is used up.
"""

from __future__ import annotations

import hashlib
import os

from campaigns.redaction import is_secret
from classifiers.trace import Value, Withheld

__all__ = ["MOST_BYTES", "Keeper"]

MOST_BYTES = 64 << 20
"""Of all values of one trace. Arbitrary: 300 golden runs of `deploy` (0.2 MB); a runaway controller writes more."""
_DIGEST_BYTES = 16
"""128 bits: two values of a trace don't agree by chance."""


class Keeper:
    """Decides, value by value as they come, what is kept: `room_bytes` in all, and no Secret's. Its digests have a key
    of their own."""

    def __init__(self, room_bytes: int = MOST_BYTES) -> None:
        self._room, self._secret = room_bytes, os.urandom(_DIGEST_BYTES)
        self.left_out = 0

    def keep(self, key: str, value: bytes | None) -> Value:
        """What a trace shows of a value at `key`."""
        if value is None:
            return None
        if is_secret(key, value):
            return self._withheld(value, "a Secret's")
        if len(value) > self._room:
            self.left_out += 1
            return self._withheld(value, "no room left in the trace")
        self._room -= len(value)
        return value

    def _withheld(self, value: bytes, why: str) -> Withheld:
        digest = hashlib.blake2b(value, digest_size=_DIGEST_BYTES, key=self._secret).hexdigest()
        return Withheld(len(value), digest, why)
