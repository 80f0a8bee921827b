from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.channels.txn import Outcome, made_up_success, outcome_of, with_value, writes_of
from injector.errors import WireError
from tests.injector.conftest import delete_request, etcdrpc, put_request

VALUES = st.one_of(st.binary(min_size=1, max_size=400), st.integers(100, 40_000).map(lambda size: b"v" * size))


@given(st.lists(st.tuples(VALUES, st.integers(0, 1 << 60)), min_size=1, max_size=3), VALUES, st.integers(0, 2))
def test_a_changed_value_changes_nothing_else_of_the_request(
    puts: list[tuple[bytes, int]], new: bytes, which: int
) -> None:
    request = put_request("/registry/a", b"old", mod_revision=7)
    del request.success[:]
    for number, (value, lease) in enumerate(puts):
        put = etcdrpc.PutRequest(key=b"/registry/%d" % number, value=value, lease=lease)
        request.success.append(etcdrpc.RequestOp(request_put=put))
    message = request.SerializeToString()
    writes = writes_of(message)
    assert [(w.operation, w.key, w.value) for w in writes] == [
        ("put", b"/registry/%d" % number, value) for number, (value, _) in enumerate(puts)
    ]
    which %= len(puts)
    request.success[which].request_put.value = new
    assert with_value(message, writes[which], new) == request.SerializeToString()


def test_fields_that_etcd_does_not_have_yet_and_lengths_in_a_longer_form_stay_as_they_are() -> None:
    put = b"\x0a\x81\x00k" + b"\x12\x83\x00abc" + b"\xfa\x3f\x02??" + b"\x38\x01"
    message = b"\x12" + bytes((len(put) + 2,)) + b"\x12" + bytes((len(put),)) + put + b"\x1a\x00"
    (write,) = writes_of(message)
    assert (write.key, write.value) == (b"k", b"abc")
    assert with_value(message, write, b"xyz") == message.replace(b"abc", b"xyz")


def test_deletes_of_one_key_are_writes_and_ranges_are_none() -> None:
    assert [w[:3] for w in writes_of(delete_request("/registry/a").SerializeToString())] == [
        ("delete", b"/registry/a", b"")
    ]
    request = delete_request("/registry/a")
    request.success[0].request_delete_range.range_end = b"/registry/b"
    assert writes_of(request.SerializeToString()) == []


@pytest.mark.parametrize("message", [b"\x12\x05abc", b"\x12", b"\xff" * 12, b"\x12\x02\x12\x09", b"\x07\x00"])
def test_bytes_that_are_no_request_are_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        writes_of(message)


@given(st.booleans(), st.integers(1, 1 << 62))
def test_the_outcome_is_read_from_the_answer(succeeded: bool, revision: int) -> None:
    header = etcdrpc.ResponseHeader(cluster_id=1 << 63, member_id=5, revision=revision, raft_term=9)
    answer = etcdrpc.TxnResponse(header=header, succeeded=succeeded)
    outcome = outcome_of(answer.SerializeToString())
    assert outcome == Outcome(succeeded, revision, header.SerializeToString())


def test_a_made_up_success_reads_like_etcds_own_with_the_next_revision() -> None:
    header = etcdrpc.ResponseHeader(cluster_id=1 << 63, member_id=5, revision=300, raft_term=9)
    request = put_request("/registry/a", b"v")
    request.success.append(delete_request("/registry/b").success[0])
    message = request.SerializeToString()
    made_up = made_up_success(message, writes_of(message), Outcome(True, 300, header.SerializeToString()))
    inner = etcdrpc.ResponseHeader(revision=301)
    header.revision = 301
    assert etcdrpc.TxnResponse.FromString(made_up) == etcdrpc.TxnResponse(
        header=header,
        succeeded=True,
        responses=[
            etcdrpc.ResponseOp(response_put=etcdrpc.PutResponse(header=inner)),
            etcdrpc.ResponseOp(response_delete_range=etcdrpc.DeleteRangeResponse(header=inner, deleted=1)),
        ],
    )


def test_where_no_answer_was_seen_the_guard_gives_the_revision() -> None:
    message = put_request("/registry/a", b"v", mod_revision=41).SerializeToString()
    made_up = etcdrpc.TxnResponse.FromString(made_up_success(message, writes_of(message), None))
    assert made_up.header.revision == 42
