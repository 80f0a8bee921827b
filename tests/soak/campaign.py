"""One campaign of golden runs, started as a person starts it, with state, temp and run folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak.leftovers import Footprint
from tests.soak.victims import Victim, find

__all__ = ["Campaign", "environment", "started"]

_SPEC = """\
name: soak
golden: {golden}
parallelism: {parallelism}
faults: []
"""
_FINISHED = re.compile(r"^\[\d+/\d+\] (\S+) (\S+): ", re.MULTILINE)
_LOOK_S = 0.05
"""How often the processes are noted; one that lives shorter may be missed, its namespaces are not."""


@dataclass(slots=True)
class Campaign:
    """A running campaign. `root` holds all its folders."""

    root: Path
    process: subprocess.Popen[bytes]
    footprint: Footprint

    @property
    def log(self) -> str:
        return (self.root / "output").read_text(errors="replace")

    def finished(self) -> list[str]:
        """Ids of the experiments that it said it has finished."""
        return [match[1] for match in _FINISHED.finditer(self.log)]

    def shown(self) -> dict[str, Any] | None:
        """What `mutineer show --json` prints; None where there is no run yet."""
        if not (self.root / "runs/soak/record.sqlite").exists():
            return None
        command = [sys.executable, "-m", "mutineer", "show", str(self.root / "runs/soak"), "--json"]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise AssertionError(f"show --json: exit code {done.returncode}: {done.stderr}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def watch(self, condition: Any, *, within_s: float) -> bool:
        """Notes processes until `condition()` holds or the campaign ends; False if the time passes first."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.footprint.look(self.process.pid)
            if condition() or self.process.poll() is not None:
                return True
            time.sleep(_LOOK_S)
        return False

    def find(self, victim: Victim) -> int | None:
        """The process id of a victim; None while it is not there."""
        if victim is Victim.RUNNER:
            return self.process.pid
        return find(victim, self.process.pid)

    def kill(self, victim: Victim, number: signal.Signals = signal.SIGKILL) -> bool:
        """False if it is not there."""
        if self.process.poll() is not None or (pid := self.find(victim)) is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    def left(self, *, within_s: float, folders: bool = True) -> list[str]:
        """What is still there once the time has passed, or nothing is."""
        deadline = time.monotonic() + within_s
        while (found := self.footprint.left(folders=folders)) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return found

    def next_start(self) -> None:
        """What every start does first: reaps."""
        code = "from campaigns.clusters.sandbox import outside; outside.reap()"
        subprocess.run([sys.executable, "-c", code], env=self._environment(), check=True, timeout=60)

    def again(self) -> None:
        """What a person does after a crash: goes on with it; or begins it anew, where it was killed before there was
        a run. Its log begins anew."""
        whole = (self.root / "runs/soak/record.sqlite").exists()
        if not whole:
            shutil.rmtree(self.root / "runs/soak", ignore_errors=True)
        self.process = _begin(self.root, *(("resume", "soak") if whole else ("run", "spec.yaml", "--name", "soak")))

    def planned(self) -> list[str]:
        """Ids of its plan."""
        plan = json.loads((self.root / "runs/soak/plan.json").read_text())
        return [each["id"] for each in plan["experiments"]]

    def _environment(self) -> dict[str, str]:
        return environment(self.root)


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(root / "state"), "TMPDIR": str(root / "tmp")}


def _begin(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mutineer", *arguments]
    with (root / "output").open("wb") as output:
        return subprocess.Popen(
            command, cwd=root, env=environment(root), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


@contextlib.contextmanager
def started(*, golden: int, parallelism: int = 1) -> Iterator[Campaign]:
    """A campaign of golden runs. Ended, and its folders removed, whatever happens."""
    root = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))  # short: sockets in it may have 107 characters
    footprint = Footprint(root)
    for folder in ("state", "tmp"):
        (root / folder).mkdir(mode=0o700)
    (root / "spec.yaml").write_text(_SPEC.format(golden=golden, parallelism=parallelism))
    campaign = Campaign(root, _begin(root, "run", "spec.yaml", "--name", "soak"), footprint)
    try:
        yield campaign
    finally:
        campaign.process.kill()
        campaign.process.wait(20)
        shutil.rmtree(root, ignore_errors=True)
