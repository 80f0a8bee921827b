"""Whatever the bytes are, the codec answers or says CodecError."""

from __future__ import annotations

import contextlib
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from injector.codec import list_fields, locate, read, read_meta, to_tree
from injector.errors import CodecError, FaultError
from injector.identity import IdentityTracker
from tests.injector.stored import KEYS, KINDS, envelope, golden


def _ask_everything(value: bytes) -> None:
    for reader in (read, read_meta, to_tree):
        with contextlib.suppress(CodecError):
            reader(value)
    with contextlib.suppress(CodecError, FaultError):
        for item in list_fields(value):
            with contextlib.suppress(FaultError):  # a key may hold a bracket
                locate(value, item.path)
    IdentityTracker().seen("/registry/pods/default/x", value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(KINDS), st.integers(0, 3))
@example(b"\x0b" * 100_000, KINDS[0], 2)
@example(b"[" * 100_000, KINDS[0], 3)
def test_random_bytes_raise_nothing_but_codec_errors(data: bytes, kind: tuple[str, str], where: int) -> None:
    value = (data, b"k8s\x00" + data, envelope(*kind, data), b'{"apiVersion": "v1", "kind": "X", "metadata":' + data)
    _ask_everything(value[where])


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=True))
def test_damaged_objects_raise_nothing_but_codec_errors(random: Random) -> None:
    value = bytearray(golden(random.choice(sorted(KEYS))))
    for _ in range(random.randint(1, 4)):
        value[random.randrange(len(value))] = random.randrange(256)
    _ask_everything(bytes(value[: random.choice((len(value), random.randrange(len(value)))) + 1]))
