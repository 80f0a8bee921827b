"""Asks an HTTP server from a node of the sandbox and prints the outcome. Run inside the sandbox:

python -m tests.sandbox.ask WORK NODE ADDRESS PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

from campaigns.clusters.sandbox.isolation import in_network
from campaigns.observers.asking import ask


def main(work: str, node: str, address: str, port: str) -> None:
    print(in_network(Path(work) / "run/nodes" / node, lambda: ask((address, int(port)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
