"""Random and damaged stored values, by the thousand: the codec answers or says CodecError (FaultError for a path).

    python -m tests.injector.codec.fuzz [--inputs 1000000] [--seed N]

An input is a function of seed and number, so that one which fails can be had again: it is printed and ends the run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from random import Random

from injector.codec import find, list_fields, locate, read, read_meta, remove, replace, to_tree
from injector.errors import CodecError, FaultError
from tests.injector.stored import KEYS, KINDS, envelope, golden, golden_cbor

__all__ = ["ask_everything", "damaged", "run"]

_TOKENS = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u", b"1e9", b"-", b"null", b"\xff", b"\x00", b"\x9f", b"\xd6")
_SOURCES = (*(golden(name) for name in sorted(KEYS)), golden_cbor("box"), b"k8s:enc:kms:v2:plug:\x0a\x03abc")
_PATHS = ("metadata.name", "spec.replicas", "spec.a", "data[k]", "spec.containers[name=web].image", "kind", "spec.x[0]")
_REPORT_EVERY = 20_000


def random_value(random: Random) -> bytes:
    """Random bytes behind the beginning of each storage."""
    data = random.randbytes(random.randrange(200))
    return random.choice(
        (
            data,
            b"k8s\x00" + data,
            envelope(*random.choice(KINDS), data),
            b'{"apiVersion":"v1","kind":"X","metadata":' + data,
            b"\xd9\xd9\xf7" + data,
            b"\xd9\xd9\xf7\xa3\x44kind\x41X\x4aapiVersion\x42v1\x44spec" + data,
            b"k8s:enc:" + data,
        )
    )


def damaged(random: Random) -> bytes:
    """A real object with a few bytes changed, put in, taken out, or cut off."""
    value = bytearray(random.choice(_SOURCES))
    for _ in range(random.randint(1, 4)):
        at, how = random.randrange(len(value)), random.randrange(5)
        if how == 0:
            value[at] = random.randrange(256)
        elif how == 1:
            value[at] ^= 1 << random.randrange(8)
        elif how == 2:
            value[at:at] = random.choice(_TOKENS)
        elif how == 3 and len(value) > 20:
            del value[at : at + random.randint(1, 4)]
        elif random.random() < 0.1:
            del value[at + 1 :]
    return bytes(value)


def _asked(question: Callable[[], object], *expected: type[Exception]) -> object:
    try:
        return question()
    except expected:
        return None


def ask_everything(value: bytes, random: Random) -> None:
    """Every reader on one value; raises what is neither CodecError nor, for a path, FaultError."""
    for reader in (read, read_meta, to_tree):
        _asked(lambda reader=reader: reader(value), CodecError)  # type: ignore[misc]
    listed = _asked(lambda: list_fields(value), CodecError)
    paths = [random.choice(_PATHS)]
    if isinstance(listed, list) and listed:
        paths.append(random.choice(listed).path)
    for path in paths:
        _asked(lambda path=path: _edited(value, path), CodecError, FaultError)  # type: ignore[misc]
        _asked(lambda path=path: remove(value, find(value, path)), CodecError, FaultError)  # type: ignore[misc]


def _edited(value: bytes, path: str) -> bytes:
    found = locate(value, path)
    return replace(value, found, found.payload)


def run(inputs: int, seed: int, say: Callable[[str], object]) -> float:
    """Asks everything of that many inputs; inputs a second."""
    began = time.monotonic()
    for number in range(inputs):
        random = Random(f"{seed}/{number}")
        value = damaged(random) if number % 2 else random_value(random)
        try:
            ask_everything(value, random)
        except Exception:
            say(f"input {number} of seed {seed}: {value!r}")
            raise
        if number % _REPORT_EVERY == _REPORT_EVERY - 1:
            say(f"{number + 1} inputs, {(number + 1) / (time.monotonic() - began):.0f} a second")
    return inputs / (time.monotonic() - began)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.injector.codec.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    rate = run(options.inputs, options.seed, lambda text: print(text, file=sys.stderr, flush=True))
    print(f"{options.inputs} inputs of seed {options.seed}: nothing but CodecError and FaultError, {rate:.0f} a second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
