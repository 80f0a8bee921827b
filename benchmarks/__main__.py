"""Runs the benchmarks and prints their figures beside their goals, with the machine they were measured on.

    python -m benchmarks [NAME …] [--json] [--rounds N] [--seconds S]

Exit code 0 whatever the figures say: a shared machine is no reason to fail a build.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import Figure

BENCHMARKS = ("codec", "forwarder", "sandbox", "experiment", "quickstart")
"""Modules of this package with `measure(rounds: int, seconds: float, say) -> list[Figure]`."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that alternate between the things compared")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement in a round")
    options = parser.parse_args(argv)
    measured: dict[str, list[Figure]] = {}
    for name in options.names or BENCHMARKS:
        module = importlib.import_module(f"benchmarks.{name}")
        measured[name] = module.measure(options.rounds, options.seconds, lambda text: print(text, file=sys.stderr))
    host = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "machine": platform.platform()}
    if options.json:
        figures = {name: [asdict(f) | {"met": f.met} for f in found] for name, found in measured.items()}
        print(json.dumps({"schema": 1, "host": host, "benchmarks": figures}, indent=1))
    else:
        print(f"{host['cores']} cores, load {host['load']:.1f}, {host['machine']}")
        for name, found in measured.items():
            print(f"\n{name}")
            for figure in found:
                print("  " + _line(figure))
                for line in figure.profile if figure.met is False else ():
                    print("      " + line)
    return 0


def _line(figure: Figure) -> str:
    text = f"{figure.name:<52} {figure.value:>9,.3f} {figure.unit:<6}"
    if figure.goal is None:
        return text.rstrip()
    return f"{text} goal {'>=' if figure.at_least else '<='} {figure.goal:g}: {'met' if figure.met else 'MISSED'}"


if __name__ == "__main__":
    raise SystemExit(main())
