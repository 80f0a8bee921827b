from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injector.wire.frames import ErrorCode, Http2Error
from injector.wire.headers import HeaderFollower, literal_block

NAMES = st.sampled_from([b":path", b":method", b"grpc-timeout", b"te", b"user-agent", b"x-a", b"x-" + b"n" * 200])
VALUES = st.one_of(
    st.sampled_from([b"/etcdserverpb.KV/Txn", b"POST", b"trailers"]), st.binary(max_size=300), st.just(b"v" * 4200)
)
BLOCKS = st.lists(
    st.tuples(st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=8), st.booleans(), st.booleans()), max_size=10
)


@settings(deadline=None, max_examples=40)
@given(BLOCKS)
def test_a_follower_finds_what_a_whole_decoder_finds_block_after_block(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, bool]],
) -> None:
    encoder, decoder, follower = hpack.Encoder(), hpack.Decoder(), HeaderFollower()
    for fields, huffman, only_follow in blocks:
        block = encoder.encode(fields, huffman=huffman)
        expected = list(decoder.decode(block, raw=True))
        if only_follow:
            follower.follow(block)
        else:
            assert follower.find(block, b":path") == next((v for n, v in expected if n == b":path"), None)


@given(st.lists(st.integers(0, 4096), min_size=1, max_size=5))
def test_a_follower_goes_along_when_the_encoder_changes_its_table(sizes: list[int]) -> None:
    encoder, follower = hpack.Encoder(), HeaderFollower()
    for number, size in enumerate(sizes):
        encoder.header_table_size = size
        path = b"/%d" % number
        follower.follow(encoder.encode([(b"x", b"y" * 100)]))
        assert follower.find(encoder.encode([(b":path", path)]), b":path") == path


def test_a_deadline_that_is_new_in_every_request_is_found_wherever_its_name_stands_in_the_table() -> None:
    encoder, follower = hpack.Encoder(), HeaderFollower()
    encoder.header_table_size = 16_384
    follower.allow_table_bytes(16_384)
    for others in range(140):  # the name's index takes one, two and three bytes
        follower.follow(encoder.encode([(b"x-%d-%d" % (others, number), b"v") for number in range(others)]))
        deadline = b"%du" % (29_999_000 + others)
        assert follower.find(encoder.encode([(b"grpc-timeout", deadline)]), b"grpc-timeout") == deadline


def test_a_larger_table_is_followed_only_after_it_was_announced() -> None:
    encoder, follower = hpack.Encoder(), HeaderFollower()
    encoder.header_table_size = 10_000
    block = encoder.encode([(b"a", b"b")])
    with pytest.raises(Http2Error):
        HeaderFollower().follow(block)
    follower.allow_table_bytes(10_000)
    follower.follow(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\x44\x05/ab",  # a value that is cut off
        b"\x7e\x01a",  # a name that the table does not have
        b"\xfe",  # an index beyond the table
        b"\xff\xff\xff\xff\xff\xff\xff",  # an endless integer
        b"\xff\xff",  # an integer cut off
        b"\x40\x05abc",  # a name cut off
        b"\x40\x01a\x85abc",  # a Huffman value cut off
        b"\x3f\xff\xff\x7f",  # a table larger than allowed
        b"\x7f\xff\x7fx\x01",  # a name beyond the table
    ],
)
def test_a_broken_block_is_a_compression_error(block: bytes) -> None:
    with pytest.raises(Http2Error) as caught:
        HeaderFollower().find(block, b":path")
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
def test_literal_blocks_say_what_they_should_and_leave_the_table_as_it_was(fields: list[tuple[bytes, bytes]]) -> None:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    decoder.decode(encoder.encode([(b"x-known", b"1")]))
    assert list(decoder.decode(literal_block(fields), raw=True)) == fields
    assert list(decoder.decode(encoder.encode([(b"x-known", b"1")]), raw=True)) == [(b"x-known", b"1")]
