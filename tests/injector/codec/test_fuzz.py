"""Whatever the bytes are, the codec answers or says CodecError. A million of them: see tests/injector/codec/fuzz.py."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.identity import IdentityTracker
from tests.injector.codec.fuzz import ask_everything, damaged, run
from tests.injector.stored import KINDS, envelope


def test_thousands_of_random_and_damaged_values_raise_nothing_but_codec_errors() -> None:
    run(3000, 1, print)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=True), st.binary(max_size=100))
def test_any_value_raises_nothing_but_codec_errors_and_has_an_identity(random: Random, data: bytes) -> None:
    for value in (damaged(random), data, envelope(*random.choice(KINDS), data)):
        ask_everything(value, random)
        IdentityTracker().seen("/registry/pods/default/x", value)


@pytest.mark.parametrize(
    "value",
    [
        envelope(*KINDS[0], b"\x0b" * 100_000),
        b'{"apiVersion": "v1", "kind": "X", "metadata":' + b"[" * 100_000,
        b'{"apiVersion": "v1", "kind": "X", "metadata":' + b'{"a":' * 100_000,
        b"\xd9\xd9\xf7" + b"\xa1\x41a" * 100_000,
        b"\xd9\xd9\xf7" + b"\xc6" * 100_000,
        b"\xd9\xd9\xf7\x5f" + b"\x5f" * 100_000,
        envelope("v1", "Pod", b"\x12\x00" * 20_000),
    ],
    ids=["groups", "lists", "objects", "maps", "tags", "chunks", "pieces"],
)
def test_deep_and_endless_values_end(value: bytes) -> None:
    ask_everything(value, Random(1))
