"""Signals wait while a step is under way."""

from __future__ import annotations

import signal
import threading

import pytest

from campaigns.uninterrupted import uninterrupted
from mutineer.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_step_is_done_and_is_then_delivered(number: signal.Signals) -> None:
    done = []
    with interruptible():
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            signal.raise_signal(number)
            done.append("all of it")
        with uninterrupted():
            signal.raise_signal(number)  # the first was heard: later ones are ignored
    assert done == ["all of it"]


def test_all_that_came_is_delivered_in_order_until_one_raises() -> None:
    """Ctrl-C twice during a step: the first finishes in order, the second stops."""
    asked = []

    def finish() -> bool:
        asked.append(1)
        return len(asked) == 1

    with interruptible(finish), pytest.raises(KeyboardInterrupt), uninterrupted():
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert asked == [1, 1]


def test_handlers_are_as_before_and_an_error_goes_its_way() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="x"), uninterrupted():
        raise ValueError("x")
    with interruptible(), uninterrupted():
        pass
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_may_use_it_too() -> None:
    done = []

    def step() -> None:
        with uninterrupted():
            done.append(1)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert done == [1]
