"""A campaign with the stand-in worker, in a process of its own, to be killed, starved and confused:

    python -m tests.campaigns.campaign_child run|resume FOLDER     a campaign
    python -m tests.campaigns.campaign_child serve                 several, one after another

The spec is in the file CHILD_SPEC. CHILD_CLOCK=jumps: the wall clock goes to and fro by years. CHILD_FILE_LIMIT: bytes
that a file may have, from when the run is there. CHILD_READ_ONLY: the record is, from the start. Prints a line an
experiment, and its exit code is that of the command (3 for a failure of the harness).

`serve` has loaded everything and forks for each line {"argv", "environment", "output"} on its stdin; it says the
child's process id, and, once that has ended, its exit code (negative: the signal).
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.config import BINARIES
from campaigns.judging import rejudging
from campaigns.record import ExperimentRecord, Purpose
from campaigns.running import campaign
from campaigns.running.campaign import resume_campaign, run_campaign
from campaigns.running.runner import LocalExecutor
from campaigns.running.slots import Patience
from campaigns.running.stopping import Stop
from campaigns.spec.campaign_spec import parse_spec
from injector.errors import InputError, MutineerError
from mutineer.interrupts import interruptible

SPEC = """\
name: child
golden: {golden}
parallelism: {parallel}
cluster: {{nodes: 1}}
time_limits: {{experiment_s: 120}}
faults:
"""
FAULT = """\
  - why: number {number}
    channel: apiserver-to-etcd
    model: drop
    target: {{kind: Pod, identity: "Pod/default/web#{number}"}}
"""


def spec(experiments: int, *, parallel: int = 2) -> str:
    """So many golden runs and experiments, a tenth of them golden."""
    golden = max(4, experiments // 10)
    faults = (FAULT.format(number=number) for number in range(1, experiments - golden + 1))
    return SPEC.format(golden=golden, parallel=parallel) + "".join(faults)


class View:
    """Prints a line an experiment."""

    def planned(self, **_: Any) -> None:
        if "CHILD_FILE_LIMIT" in os.environ:
            _limit_files()

    def more(self, repeats: int, why: str) -> None:
        self.note(f"{repeats} more")

    def sandbox(self, name: str, state: str) -> None:
        pass

    def finished(self, record: ExperimentRecord, purpose: Purpose) -> None:
        print("done", record.planned.id, purpose.value, flush=True)

    def note(self, words: str) -> None:
        print("note", words, flush=True)


def _limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the call fails instead, as it does on a full disk
    most = int(os.environ["CHILD_FILE_LIMIT"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _make_read_only(folder: Path) -> None:
    """The record of a file system that went read-only. In a mount namespace of this process's."""
    record = str(folder / "record.sqlite")
    subprocess.run(["mount", "--bind", record, record], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", record], check=True)


def _confuse_the_clock() -> None:
    """Every look at the wall clock is off by up to two years, to and fro, and none by as much as the one before."""
    true, days = time.time, itertools.cycle(range(-700, 700, 23))
    time.time = lambda: true() + next(days) * 86400.0  # type: ignore[assignment]

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    from campaigns.running import host

    host.datetime = SimpleNamespace(datetime=Jumping, UTC=datetime.UTC)  # type: ignore[attr-defined]


def main(what: str, folder: Path) -> int:
    if os.environ.get("CHILD_CLOCK") == "jumps":
        _confuse_the_clock()
    if "CHILD_READ_ONLY" in os.environ:
        _make_read_only(folder)
    campaign.load = rejudging.load = lambda: ()  # type: ignore[assignment] # the incidents take a while to read, and are not needed
    assets: Any = _Assets({name: Path("/nowhere") for name in BINARIES})
    patience = Patience(again_s=0.2, apart_s=0.0)
    engine: Any = functools.partial(LocalExecutor, worker="tests.campaigns.stand_in_worker", patience=patience)
    stop = Stop()
    try:
        with interruptible(lambda: stop.ask("Ctrl-C", interrupted=True)):
            outside.reap()
            if what == "run":
                text = Path(os.environ["CHILD_SPEC"]).read_text()
                made = parse_spec(text, file="child.yaml")
                run = run_campaign(made, text, folder, assets, View(), stop=stop, engine=engine)
            else:
                run = resume_campaign(folder, assets, View(), stop=stop, engine=engine)
            run.close()
    except KeyboardInterrupt:
        return 130
    except InputError as error:
        print("input", error, flush=True)
        return 2
    except MutineerError as error:
        print("error", error, flush=True)
        return 3
    return 130 if stop.interrupted else 0


class _Assets(dict[str, Path]):
    """Binaries that nobody runs."""

    @property
    def entries(self) -> dict[str, SimpleNamespace]:
        return {name: SimpleNamespace(version=os.environ.get("CHILD_VERSION", "1")) for name in self}

    @property
    def origins(self) -> dict[str, str]:
        return {}


def serve() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if (pid := os.fork()) == 0:
            code = 70
            try:
                os.setsid()
                output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                for descriptor in (1, 2):
                    os.dup2(output, descriptor)
                os.environ.update(asked["environment"])
                code = main(asked["argv"][0], Path(asked["argv"][1]))
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
        sys.exit(0)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
