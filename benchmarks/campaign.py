"""What a campaign gets done in an hour, and what the harness needs for itself.

A real campaign for some minutes, as a person starts it, and a runner with thousands of experiments of a stand-in worker
(tests/campaigns/stand_in_worker.py), where only its memory matters. Overhead is what the records say of where the
sandboxes' time went (campaigns.running.timing); the start of the first sandboxes, which an hour shares, is told apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import Figure
from campaigns.running.timing import BESIDE, overhead_s, whole_s
from campaigns.spec.campaign_spec import load_preset, load_spec, presets
from campaigns.store import open_run
from classifiers.record import observation_to_json

__all__ = ["measure"]

LEAST_PER_HOUR = 1000.0
MOST_OVERHEAD = 0.20
MOST_CPU = 0.15
"""Issue 6, "Figures"."""
MOST_GROWTH_BYTES = 16 << 20
"""Between the first and the last quarter: a flat line with some noise. Arbitrary beyond that."""
_LOOK_S = 0.5
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_ROOT = Path(__file__).parents[1]


@dataclass(slots=True)
class _Watched:
    """A process, looked at until it ends. Its own CPU, not its children's; its resident memory."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    resident: list[int] = field(default_factory=list)
    exit_code: int = 0

    @property
    def growth_bytes(self) -> float:
        """Of the median of the last quarter over that of the second: in the first it still loads and learns."""
        quarter = max(len(self.resident) // 4, 1)
        return median(self.resident[-quarter:]) - median(self.resident[quarter : 2 * quarter] or self.resident)


def _watch(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> _Watched:
    seen, began = _Watched(), time.monotonic()
    with (cwd / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=output)
    try:
        while process.poll() is None:
            try:
                words = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
                seen.resident.append(int(words[21]) * _PAGE)
                seen.cpu_s = sum(map(int, words[11:13])) / _TICKS
            except (FileNotFoundError, ProcessLookupError, IndexError):
                break
            time.sleep(_LOOK_S)
        seen.exit_code = process.wait(120)
    finally:
        process.kill()
        process.wait(10)
    seen.seconds = time.monotonic() - began
    return seen


def measure(
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    *,
    minutes: float,
    spec: str,
    sandboxes: int | None,
    experiments: int,
) -> list[Figure]:
    """One campaign of each kind, whatever `rounds` and `seconds` say."""
    figures = []
    if minutes > 0:
        figures += _real(minutes, spec, sandboxes, say)
    if experiments > 0:
        figures += _stand_in(experiments, say)
    return figures


def _real(minutes: float, spec: str, sandboxes: int | None, say: Callable[[str], None]) -> list[Figure]:
    _, text = load_preset(spec) if spec in presets() else load_spec(Path(spec))
    with tempfile.TemporaryDirectory(prefix="mutineer-bench-") as name:
        folder = Path(name)
        (folder / "bench.yaml").write_text(f"{text}\nstop: {{after: {minutes * 60:g}}}\n")
        more = ["--parallelism", str(sandboxes)] if sandboxes else []
        command = [sys.executable, "-m", "mutineer", "run", "bench.yaml", "--name", "bench", *more]
        seen = _watch(command, folder, dict(os.environ))
        with open_run(folder / "runs/bench") as run:
            records = list(run.records(observations=False))
            (session,) = run.sessions()
    whole = Counter[str]()
    for record in records:
        whole.update({part: value for part, value in record.times.items() if part not in BESIDE})
    boots, harness, total = whole["boot"], overhead_s(whole), whole_s(whole)
    goldens = sorted(r.seconds for r in records if r.planned.golden)
    host = session.document.get("host")
    number = host["sandboxes"] if isinstance(host, dict) else "?"
    say(f"campaign of {spec}: {len(records)} records on {number} sandboxes in {seen.seconds:.0f} s: {session.why}")
    profile = tuple(f"{value / len(records):7.3f} s  {part}" for part, value in whole.most_common())
    return [
        Figure(
            name=f"{spec} on {number} sandboxes, starts and report among it", unit="/h",
            value=len(records) * 3600 / seen.seconds, goal=LEAST_PER_HOUR, at_least=True, profile=profile,
        ),
        Figure(
            name="… harness, of the sandboxes' time after their first start", unit="",
            value=(harness - boots) / (total - boots), goal=MOST_OVERHEAD, profile=profile,
        ),
        Figure(name="… the same with the first starts", unit="", value=harness / total),
        Figure(
            name="… runner's CPU, of the machine", unit="", goal=MOST_CPU,
            value=seen.cpu_s / seen.seconds / len(os.sched_getaffinity(0)),
        ),
        Figure(name="… a golden run with its reset, median", unit="s", value=median(goldens)),
        Figure(name="… runner's memory, growth", unit="MB", value=seen.growth_bytes / 1e6),
        *(Figure(name=f"… of a record: {part}, mean", unit="s", value=value / len(records))
          for part, value in sorted(whole.items(), key=lambda each: -each[1])),
    ]  # fmt: skip


def _stand_in(experiments: int, say: Callable[[str], None]) -> list[Figure]:
    from tests.builders import observation
    from tests.campaigns.campaign_child import spec

    with tempfile.TemporaryDirectory(prefix="mb-", dir="/tmp") as name:  # short: sockets in it
        folder = Path(name)
        (folder / "spec.yaml").write_text(spec(experiments))
        (folder / "observation.json").write_text(json.dumps(observation_to_json(observation())))
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "XDG_STATE_HOME": str(folder),
            "STAND_IN_OBSERVATION": str(folder / "observation.json"),
            "CHILD_SPEC": str(folder / "spec.yaml"),
        }
        command = [sys.executable, "-m", "tests.campaigns.campaign_child", "run", str(folder / "run")]
        seen = _watch(command, folder, environment)
        with open_run(folder / "run") as run:
            done = len(run.finished_ids())
    say(f"stand-in: {done} of {experiments} experiments in {seen.seconds:.0f} s, exit code {seen.exit_code}")
    return [
        Figure(
            name=f"runner's memory, growth over {done:,} experiments of a stand-in", unit="MB",
            value=seen.growth_bytes / 1e6, goal=MOST_GROWTH_BYTES / 1e6,
        ),
        Figure(name="… CPU an experiment", unit="ms", value=seen.cpu_s * 1000 / max(done, 1)),
    ]  # fmt: skip
