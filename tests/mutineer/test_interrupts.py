"""Ctrl-C once, and again."""

from __future__ import annotations

import signal

import pytest

from mutineer.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_later_ones_can_not_cut_the_ending_short(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    ended = []
    with interruptible(), pytest.raises(KeyboardInterrupt):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            ended.append("in order")
    assert ended == ["in order"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_first_ctrl_c_may_finish_in_order_and_the_second_interrupts() -> None:
    asked = []

    def finish() -> bool:
        asked.append(1)
        return len(asked) == 1

    with interruptible(finish), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        asked.append(2)
        signal.raise_signal(signal.SIGINT)
    assert asked == [1, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_only_ctrl_c_may_finish_in_order(number: signal.Signals) -> None:
    with interruptible(lambda: True), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_whoever_ignored_the_terminals_end_goes_on_ignoring_it() -> None:
    """nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
