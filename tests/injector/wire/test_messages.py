from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from injector.wire.messages import Message, joined, split

MESSAGES = st.lists(st.builds(Message, st.booleans(), st.binary(max_size=300)), max_size=6)


@given(MESSAGES, st.integers(0, 2000))
def test_messages_come_out_whole_wherever_the_bytes_are_cut(messages: list[Message], at: int) -> None:
    body = joined(messages)
    found, missing = split(body[:at])
    taken = len(joined(found))
    assert found == messages[: len(found)]
    rest, missing_at_end = split(body[taken:])
    assert [*found, *rest] == messages and missing_at_end == 0
    cut_off = min(at, len(body)) - taken
    if cut_off >= 5:
        assert missing == 5 + len(messages[len(found)].content)
    else:
        assert missing == (5 if cut_off else 0)
