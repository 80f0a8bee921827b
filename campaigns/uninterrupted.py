"""Steps that Ctrl-C must not cut in two: a process started but not yet noted, a message taken but not yet handled.

Python's handlers are swapped instead of blocking the signals: children inherit a mask, never a handler.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP wait; at its end they are delivered in the order they came, as they would have
    been, until one of them raises (for most a KeyboardInterrupt). Only the main thread gets signals: elsewhere it does
    nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def later(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup's SIGHUP, say
            signal.signal(each, later)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)
