"""Image `registry.k8s.io/pause`: does nothing until it is told to end."""

import signal
import threading

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    done.wait()
