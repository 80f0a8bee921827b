"""The trace of one experiment: etcd's full history since r0 with values, as one plain value, and its bytes.

An observation tells which keys were written when; the trace tells what was in them, which is what propagation is read
from. It is stored beside the observation, since it is larger and few ask for it. `Observation.writes` has a line for
each step, in the same order, with the object's identity; keys of one transaction share a revision.

Values are as etcd has them (protobuf envelope, JSON, CBOR): whoever wants fields decodes those that it needs. What a
Secret holds is withheld, and what no room was left for: a `Withheld` has the size, and a digest by which two values of
one trace can be told to be equal. The digest's key is random and kept nowhere, so that no value can be guessed by it.

The form, version 1 (first): a line `mutineer-trace 1`, then an xz stream of
    4 bytes          length of the index, big-endian
    the index        JSON: {"r0", "keys": […], "before": […], "steps": {"revision": […], "at_s": […], "key": […],
                     "value": […]}}. `key` counts in `keys`, the columns are in the order of the history; revisions are
                     differences to the one before (the first to r0). A value is null (deleted; before: not there), its
                     length, or {"size_bytes", "digest", "why"}
    the rest         all values that are kept, in order: `before` first, then the steps
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise

from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["Step", "Trace", "Value", "Withheld", "trace_from_bytes", "trace_to_bytes"]

_MAGIC = b"mutineer-trace 1\n"
_FAMILY = b"mutineer-trace "
_LENGTH_BYTES = 4
_COLUMNS = ("revision", "at_s", "key", "value")
_PRESET = 0
"""Of xz. For a golden run of `deploy` (186 kB in 136 writes): 9.6 kB in 3.4 ms; zlib's level 6 13.0 kB in 1.4 ms, xz's
preset 6 8.4 kB in 30 ms. Differences between the versions of an object, instead of the versions, made it larger."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A value that is not kept. `digest` is "" where there is none; `why` in words."""

    size_bytes: int
    digest: str
    why: str


Value = bytes | Withheld | None
"""None: deleted, or not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One write of one key. `at_s` as in the observation's writes."""

    revision: int
    at_s: float
    key: str
    value: Value


@dataclass(frozen=True)
class Trace:
    """The history since `r0` in its order; `before` has the value at r0 of each key that was written since."""

    r0: int
    before: Mapping[str, Value]
    steps: tuple[Step, ...]

    @cached_property
    def by_key(self) -> Mapping[str, tuple[Step, ...]]:
        """The steps of each key, in order."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.key, []).append(step)
        return {key: tuple(steps) for key, steps in found.items()}

    def value_at(self, key: str, revision: int) -> Value:
        """What etcd held at `revision` (at r0 for one that is older). KeyError for a key that was not written since."""
        value = self.before[key]
        for step in self.by_key[key]:
            if step.revision > revision:
                break
            value = step.value
        return value


def trace_to_bytes(trace: Trace) -> bytes:
    """Compressed."""
    parts: list[bytes] = []

    def pack(value: Value) -> JSONValue:
        if isinstance(value, bytes):
            parts.append(value)
            return len(value)
        return asdict(value) if isinstance(value, Withheld) else None

    keys = sorted(trace.before)
    number = {key: i for i, key in enumerate(keys)}
    revisions = [trace.r0, *(step.revision for step in trace.steps)]
    index = {
        "r0": trace.r0,
        "keys": keys,
        "before": [pack(trace.before[key]) for key in keys],
        "steps": {
            "revision": [later - earlier for earlier, later in pairwise(revisions)],
            "at_s": [step.at_s for step in trace.steps],
            "key": [number[step.key] for step in trace.steps],
            "value": [pack(step.value) for step in trace.steps],
        },
    }
    text = json.dumps(index, separators=(",", ":")).encode()
    return _MAGIC + lzma.compress(b"".join((len(text).to_bytes(_LENGTH_BYTES, "big"), text, *parts)), preset=_PRESET)


def trace_from_bytes(data: bytes) -> Trace:
    """The trace again, equal to the one that was written. StoreError if it is none, a newer one, or broken."""
    if not data.startswith(_MAGIC):
        first = data[:40].splitlines()[0] if data else data
        other = f"a trace of another version, {first!r}: this program reads {_MAGIC.strip()!r}"
        raise StoreError(other if first.startswith(_FAMILY) else f"not a trace: it begins with {first!r}")
    try:
        return _unpacked(lzma.decompress(data[len(_MAGIC) :]))
    except (lzma.LZMAError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"a broken trace: {error!r}") from error


def _unpacked(body: bytes) -> Trace:
    length = int.from_bytes(body[:_LENGTH_BYTES], "big")
    index = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])
    at = _LENGTH_BYTES + length

    def unpack(value: JSONValue) -> Value:
        nonlocal at
        if isinstance(value, dict):
            return Withheld(**value)  # type: ignore[arg-type] # other names are a TypeError: broken
        if value is None:
            return None
        if not isinstance(value, int) or not 0 <= value <= len(body) - at:
            raise ValueError(f"a value of {value!r} bytes, {len(body) - at} are left")
        at += value
        return body[at - value : at]

    keys, columns, revision = index["keys"], index["steps"], index["r0"]
    before = {key: unpack(value) for key, value in zip(keys, index["before"], strict=True)}
    steps = []
    for later, at_s, number, value in zip(*(columns[name] for name in _COLUMNS), strict=True):
        revision += later
        steps.append(Step(revision, at_s, keys[number], unpack(value)))
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes more than the index tells")
    return Trace(r0=index["r0"], before=before, steps=tuple(steps))
