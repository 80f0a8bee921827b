"""Traces of a real etcd's history."""

from __future__ import annotations

import time

from campaigns.clusters.keyspace import KeySpace
from campaigns.observers.history import History
from campaigns.observers.trace import Keeper
from classifiers.trace import Withheld, trace_from_bytes, trace_to_bytes
from tests.injector.stored import KEYS, golden

POD, SECRET = KEYS["pod"], KEYS["secret"]


def test_every_value_is_kept_with_what_was_there_before_and_secrets_are_not(keyspace: KeySpace) -> None:
    pod, secret = golden("pod"), golden("secret")
    keyspace.write({POD: b"before", "/registry/minions/idle": b"never written", SECRET: b"sesame"}, [])
    baseline = keyspace.dump()
    with History(keyspace, baseline, r0=keyspace.revision(), began=time.monotonic()) as history:
        keyspace.write({POD: pod}, [])
        keyspace.write({SECRET: secret, "/registry/configmaps/default/lost": secret}, [])
        keyspace.write({}, [POD])
        keyspace.write({POD: b"again", SECRET: b"sesame"}, [])
        assert history.caught_up()
        trace = history.trace(baseline)
        again = trace_from_bytes(trace_to_bytes(trace))
    assert again == trace
    assert set(trace.before) == {POD, SECRET, "/registry/configmaps/default/lost"}
    assert trace.before[POD] == b"before" and trace.before["/registry/configmaps/default/lost"] is None
    assert [step.value for step in trace.by_key[POD]] == [pod, None, b"again"]
    assert [(step.revision - trace.r0, step.key) for step in trace.steps] == [
        (write.revision - history.r0, write.key) for write in history.writes
    ]
    assert [step.at_s for step in trace.steps] == [write.at_s for write in history.writes]
    first, last = (step.value for step in trace.by_key[SECRET])
    (lost,) = (step.value for step in trace.by_key["/registry/configmaps/default/lost"])
    assert isinstance(first, Withheld) and first.size_bytes == len(secret) and "Secret" in first.why
    assert lost == first, "equal values are told to be equal, under whatever key"
    assert last == trace.before[SECRET] != first, "put right again"
    assert b"sesame" not in repr(trace).encode()


def test_digests_of_two_traces_can_not_be_compared() -> None:
    one, other = (Keeper().keep(SECRET, b"sesame") for _ in range(2))
    assert isinstance(one, Withheld) and isinstance(other, Withheld) and one.digest != other.digest


def test_what_has_no_room_is_withheld_in_words() -> None:
    keeper = Keeper(room_bytes=5)
    assert keeper.keep(POD, b"four") == b"four" and keeper.keep(POD, None) is None
    second = keeper.keep(POD, b"five5")
    assert isinstance(second, Withheld) and (second.size_bytes, second.why) == (5, "no room left in the trace")
