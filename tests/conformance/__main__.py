"""python -m tests.conformance: upstream's e2e suite against the sandbox, resumable; writes docs/conformance.md.

Without options all 446 cases are run (hours on two cores). Cases that failed beside others are run once more, alone.
State, and the output of what did not pass: runs/conformance/. Exit code 1 if any case that was run is bad.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from campaigns.assets import choose_progress, ensure
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import BINARIES
from campaigns.environment import require_sandbox
from injector.errors import MutineerError
from mutineer.interrupts import interruptible
from tests.conformance import images
from tests.conformance.build import Built, ensure_built
from tests.conformance.cases import Case, cannot_reasons, parse_cannot, parse_cases, select
from tests.conformance.cluster import Cluster, Settings, started
from tests.conformance.run import CaseRunner, Progress, run_cases
from tests.conformance.state import State
from tests.conformance.table import host, page
from tests.soak.state import commit

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"
WORKERS = 4
"""Cases mostly wait (upstream polls every 2 s): four keep two cores busy."""


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--focus", metavar="REGEX", help="only cases whose name it is found in")
    parser.add_argument("--resume", action="store_true", help="leave out the cases that have a result")
    parser.add_argument("--only-failed", action="store_true", help="only the cases whose last result is bad")
    parser.add_argument("--list", action="store_true", help="print the cases that would run, and run nothing")
    parser.add_argument("--page", action="store_true", help="write docs/conformance.md anew, and run nothing")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"cases side by side (default {WORKERS})")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--profile", type=Profile, choices=list(Profile), default=Profile.FAST)
    return parser.parse_args(arguments)


def main() -> int:
    chosen = options()
    try:
        with interruptible():  # `timeout` and impatient people signal twice
            return _run(chosen)
    except (MutineerError, ValueError) as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted; --resume goes on", file=sys.stderr)
        return 130


def _run(chosen: argparse.Namespace) -> int:
    built = ensure_built(choose_progress())
    listed = subprocess.run(
        [built.suite, "--list-conformance-tests"], capture_output=True, text=True, check=True, timeout=60
    )
    cases = parse_cases(listed.stdout)
    entries = parse_cannot((Path(__file__).parent / "cannot.yaml").read_text())
    cannot = cannot_reasons(cases, entries)
    state = State.load(RUNS / "state.json")
    todo = select(
        cases, cannot=cannot, focus=chosen.focus, leave_out=state.results if chosen.resume else (),
        only=state.bad() if chosen.only_failed else None,
    )  # fmt: skip
    if chosen.list:
        for case in todo:
            print(case.name)
        return 0
    try:
        if todo and not chosen.page:
            _run_all(todo, chosen, built, state)
    finally:
        _write_page(cases, cannot, state, built)
    return 1 if state.bad() & {case.name for case in todo} else 0


def _run_all(todo: Sequence[Case], chosen: argparse.Namespace, built: Built, state: State) -> None:
    require_sandbox()
    binaries = ensure(BINARIES, progress=choose_progress())
    catalogue = images.catalogue(built, images.suite_images(built.suite), binaries)
    settings = Settings(binaries=binaries, images=catalogue, profile=chosen.profile, nodes=chosen.nodes)
    at = commit(ROOT)
    with tempfile.TemporaryDirectory(prefix="mc-", dir="/tmp") as scratch:  # short: cases make sockets in it
        runner = CaseRunner(suite=built.suite, scratch=Path(scratch), logs=RUNS / "logs")

        def sandbox(number: int) -> AbstractContextManager[Cluster]:
            return started(settings, _say, keep_logs=RUNS / "sandboxes" / str(number))

        def run(cases: Sequence[Case], workers: int) -> None:
            run_cases(
                cases, state=state, run=runner, sandbox=sandbox, workers=workers, commit=at,
                progress=Progress(len(cases), _say),
            )  # fmt: skip

        run(todo, chosen.workers)
        again = [case for case in todo if state.results[case.name].status.bad and state.results[case.name].beside]
        if again:
            _say(f"{len(again)} failed beside others: once more, alone")
            run(again, 1)


def _write_page(cases: Sequence[Case], cannot: dict[str, str], state: State, built: Built) -> None:
    version = subprocess.run([built.suite, "--version"], capture_output=True, text=True, check=True, timeout=60)
    shown = images.describe(images.suite_images(built.suite))
    text = page(
        cases, results=state.results, cannot=cannot, version=version.stdout.strip(), machine=host(), images=shown
    )
    PAGE.write_text(text)
    _say(f"written: {PAGE.relative_to(ROOT)}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
