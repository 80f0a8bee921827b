"""Runs the benchmarks and prints their figures beside their goals, with the machine they were measured on.

    python -m benchmarks [NAME …] [--json] [--rounds N] [--seconds S] [--messages N]
    python -m benchmarks campaign [--minutes M] [--spec SPEC] [--sandboxes N] [--experiments N]

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

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import Figure, forwarder

BENCHMARKS = ("codec", "planning", "forwarder", "store", "sandbox", "experiment", "campaign", "quickstart")
"""Modules of this package with `measure(rounds: int, seconds: float, say) -> list[Figure]`."""
MORE = {"forwarder": ("messages",), "campaign": ("minutes", "spec", "sandboxes", "experiments")}
"""Options that only one of them takes, by keyword."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that alternate between the things compared")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement in a round")
    parser.add_argument(
        "--messages", type=int, default=forwarder.MESSAGES, help="how many pass while the forwarder's memory is watched"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of the campaign that is measured")
    parser.add_argument("--spec", default="quickstart", help="of that campaign: a preset or a file")
    parser.add_argument("--sandboxes", type=int, help="of that campaign (default: as the machine bears)")
    parser.add_argument(
        "--experiments", type=int, default=1000, help="how many a runner does whose memory is watched, without clusters"
    )
    options = parser.parse_args(argv)
    measured: dict[str, list[Figure]] = {}
    for name in options.names or BENCHMARKS:
        module = importlib.import_module(f"benchmarks.{name}")
        more = {option: getattr(options, option) for option in MORE.get(name, ())}
        measured[name] = module.measure(
            options.rounds, options.seconds, lambda text: print(text, file=sys.stderr), **more
        )
    host = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "machine": platform.platform()}
    if options.json:
        figures = {name: [asdict(f) | {"met": f.met} for f in found] for name, found in measured.items()}
        print(json.dumps({"schema": 1, "host": host, "benchmarks": figures}, indent=1))
    else:
        _show(host, measured)
    return 0


def _show(host: dict[str, object], measured: dict[str, list[Figure]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"{host['cores']} cores, load {host['load']:.1f}, {host['machine']}")
    for name, found in measured.items():
        table = Table("", "measured", "goal", "", title=name, title_justify="left", box=box.SIMPLE)
        table.columns[1].justify = "right"
        for figure in found:
            table.add_row(escape(figure.name), escape(f"{figure.value:,.3f} {figure.unit:<5}"), *_goal(figure))
            for line in figure.profile if figure.met is False else ():
                table.add_row("    " + escape(line), "", "", "")
        console.print(table)


def _goal(figure: Figure) -> tuple[str, str]:
    if figure.goal is None:
        return "", ""
    return f"{'>=' if figure.at_least else '<='} {figure.goal:g}", "met" if figure.met else "[bold]MISSED[/bold]"


if __name__ == "__main__":
    raise SystemExit(main())
