"""How many planned faults fire: a sample drawn from the shipped recording, run on a sandbox.

    python -m benchmarks.firing [--workload deploy] [--faults 60] [--seed 1] [--channels NAME …] [--parallel 1]

Prints how many fired beside the goal, and of those that did not what almost matched.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from campaigns import assets
from campaigns.clusters.sandbox.config import BINARIES
from campaigns.planning.plan import plan
from campaigns.planning.recordings_found import find_recordings
from campaigns.record import Result
from campaigns.running.executor import FailedAttempt, Task
from campaigns.running.runner import LocalExecutor
from campaigns.spec.campaign_spec import CampaignSpec
from injector.faults import MODELS

__all__ = ["main"]

GOAL = 0.97
"""Of planned faults in flight (the issue's)."""


class _Quiet:
    def sandbox(self, name: str, state: str) -> None: ...

    def note(self, words: str) -> None:
        print(words, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.firing")
    parser.add_argument("--workload", default="deploy")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--channels", nargs="+", default=["apiserver-to-etcd"])
    parser.add_argument("--models", nargs="+", choices=MODELS.names(), metavar="MODEL")
    parser.add_argument("--parallel", type=int, default=1)
    options = parser.parse_args(argv)
    sample = {"budget": options.faults, "channels": options.channels, "at_least": 0}
    sample |= {"models": options.models} if options.models else {}
    document = {"name": "firing", "workloads": [options.workload], "seed": options.seed, "sample": sample}
    spec = CampaignSpec.model_validate(document)
    made = plan(spec, find_recordings(spec).recordings)
    faults = [each for each in made.experiments if not each.golden]
    with tempfile.TemporaryDirectory(prefix="mutineer-firing-") as logs:
        executor = LocalExecutor(
            binaries=assets.ensure(BINARIES),
            settings=spec.to_sandbox_settings(Path.cwd()),
            limits=spec.time_limits.of_experiment(),
            experiment_s=spec.time_limits.experiment_s,
            parallel=options.parallel,
            progress=_Quiet(),
            logs=Path(logs),
        )
        results: list[Result] = []
        try:
            for result in executor.run([Task(each) for each in faults]):
                if isinstance(result, FailedAttempt):
                    continue
                results.append(result)
                _tell(len(results), len(faults), result)
        finally:
            executor.close()
    _summary(results)
    return 0


def _fired(result: Result) -> bool:
    return result.observation is not None and bool(result.observation.firings)


def _tell(done: int, of: int, result: Result) -> None:
    state = "fired" if _fired(result) else "ERROR" if result.error else "NOT FIRED"
    print(f"{done}/{of} {state} {result.seconds:.0f} s  {result.planned.why}", file=sys.stderr, flush=True)
    for miss in result.observation.near_misses[:4] if result.observation is not None and not _fired(result) else ():
        print(f"      {miss.identity}: {miss.why} ({miss.times}x)", file=sys.stderr, flush=True)
    if result.error:
        print(f"      {result.error[-600:]}", file=sys.stderr, flush=True)


def _summary(results: Sequence[Result]) -> None:
    judged = [result for result in results if result.observation is not None]
    fired = sum(map(_fired, judged))
    share = fired / len(judged) if judged else 0.0
    print(f"fired {fired} of {len(judged)} ({share:.1%}, goal >= {GOAL:.0%}); {len(results) - len(judged)} errors")
    why = Counter(
        miss.why for result in judged if not _fired(result) and result.observation
        for miss in result.observation.near_misses[:1]
    )  # fmt: skip
    for words, times in why.most_common():
        print(f"  {times}x {words}")


if __name__ == "__main__":
    raise SystemExit(main())
