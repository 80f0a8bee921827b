"""Traces: there and back, and what is broken is told."""

from __future__ import annotations

import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.trace import Step, Trace, Value, Withheld, trace_from_bytes, trace_to_bytes
from injector.errors import StoreError

KEYS = ["/registry/pods/default/web-1", "/registry/pods/default/web-\udcff", "/registry/minions/node-1"]
values: st.SearchStrategy[Value] = (
    st.none()
    | st.binary(max_size=40)
    | st.builds(Withheld, st.integers(0, 9), st.text(max_size=3), st.text(max_size=3))
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    r0 = draw(st.integers(0, 1 << 40))
    revision, steps = r0, []
    for key, value in draw(st.lists(st.tuples(st.sampled_from(KEYS), values), max_size=12)):
        revision += draw(st.integers(0, 3))
        steps.append(Step(revision, draw(st.floats(0, 1e4, allow_nan=False)), key, value))
    return Trace(r0=r0, before={step.key: draw(values) for step in steps}, steps=tuple(steps))


@settings(max_examples=100, deadline=None)
@given(traces())
def test_a_trace_comes_back_equal_from_its_bytes(trace: Trace) -> None:
    data = trace_to_bytes(trace)
    assert trace_from_bytes(data) == trace and data.startswith(b"mutineer-trace 1\n")


def web(*values: tuple[int, Value]) -> Trace:
    """One pod, absent at revision 10, and its writes."""
    steps = tuple(Step(revision, revision / 10, KEYS[0], value) for revision, value in values)
    other = Step(13, 1.3, KEYS[2], b"node")
    return Trace(r0=10, before={KEYS[0]: None, KEYS[2]: b"old node"}, steps=(*steps, other))


def test_what_was_stored_at_a_revision_is_told() -> None:
    trace = web((11, b"one"), (14, b"two"), (15, None))
    at = [trace.value_at(KEYS[0], revision) for revision in (0, 10, 11, 13, 14, 15, 99)]
    assert at == [None, None, b"one", b"one", b"two", None, None]
    assert trace.value_at(KEYS[2], 12) == b"old node" and trace.value_at(KEYS[2], 13) == b"node"
    assert [step.revision for step in trace.by_key[KEYS[0]]] == [11, 14, 15]
    with pytest.raises(KeyError):
        trace.value_at("/registry/pods/default/other", 11)


def test_versions_of_objects_take_little_room() -> None:
    versions = [(11 + i, b"".join(b"%d:%d " % (i % 7, j) for j in range(800))) for i in range(100)]
    assert len(trace_to_bytes(web(*versions))) < sum(len(value) for _, value in versions) / 20


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a trace"),
        (b"PNG\n", "not a trace: it begins with b'PNG'"),
        (b"mutineer-trace 2\n...", "another version, b'mutineer-trace 2'"),
        (b"mutineer-trace 1\n...", "a broken trace"),
        (trace_to_bytes(web((11, b"one")))[:-9], "a broken trace"),
        (b"mutineer-trace 1\n" + lzma.compress(b"\0\0\0\x02{}"), "a broken trace"),
    ],
)
def test_what_is_no_trace_or_a_broken_one_is_named(data: bytes, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        trace_from_bytes(data)


@pytest.mark.parametrize("change", [(b'"value":[3', b'"value":[4'), (b'"value":[3', b'"value":[2'), (b"[3", b"[{")])
def test_an_index_that_does_not_fit_its_values_is_broken(change: tuple[bytes, bytes]) -> None:
    magic, packed = trace_to_bytes(web((11, b"one"))).split(b"\n", 1)
    body = lzma.decompress(packed)
    assert change[0] in body
    with pytest.raises(StoreError, match="a broken trace"):
        trace_from_bytes(magic + b"\n" + lzma.compress(body.replace(*change)))
