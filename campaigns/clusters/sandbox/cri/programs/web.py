"""Image `mutineer/web:1`: an HTTP server that answers every GET with its pod's name.

    web [--port 8080]

One thread and one select loop on plain sockets: a run starts hundreds. HTTP/1.1, one request a connection. Ends at
SIGTERM with exit code 0.
"""

import os
import selectors
import signal
import socket

__all__ = ["answer", "main"]


def answer(name: str) -> bytes:
    body = name.encode() + b"\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _serve(port: int, name: str) -> None:
    listener = socket.create_server(("0.0.0.0", port), backlog=128)  # noqa: S104 - of the pod's own network
    listener.setblocking(False)
    poll = selectors.DefaultSelector()
    poll.register(listener, selectors.EVENT_READ)
    reply = answer(name)
    print(f"serving as {name} on port {port}", flush=True)
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                connection.setblocking(False)
                poll.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj  # type: ignore[assignment]
            try:
                if connection.recv(65536):
                    connection.send(reply)
            except OSError:
                pass
            poll.unregister(connection)
            connection.close()


def main(arguments: list[str]) -> None:
    port = int(arguments[arguments.index("--port") + 1]) if "--port" in arguments else 8080
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _serve(port, os.environ.get("HOSTNAME", socket.gethostname()))
