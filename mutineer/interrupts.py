"""Ctrl-C once, and again; SIGTERM, and the terminal's end (SIGHUP): everything is ended in order, what is finished is
kept."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["interruptible"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible(finish: Callable[[], bool] | None = None) -> Iterator[None]:
    """Inside, the first SIGINT, SIGTERM or SIGHUP raises KeyboardInterrupt; later ones are ignored, so that they can't
    cut short what the first one started (ending the sandboxes takes about a second).

    finish  is asked first on SIGINT: True if it saw to it that all ends soon by itself, so that this one does not
            count. Called in the signal handler
    """

    def came(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and finish is not None and finish():
            return
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each, handler in before.items():
        if each != signal.SIGHUP or handler is not signal.SIG_IGN:  # nohup: whoever started it wants it to go on
            signal.signal(each, came)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
