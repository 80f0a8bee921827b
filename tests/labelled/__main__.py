"""python -m tests.labelled [--repetitions N] [--runs FOLDER]: how the judge does on the labelled injections.

Runs each workload's campaign N times (default 3), and goes on where it was left. Prints what was missed, and recall and
precision of each class over all repetitions. Exit code 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from campaigns.store import open_run
from classifiers.verdict import OrchestratorFailure
from tests.labelled.labels import campaign_texts, labels
from tests.labelled.scoring import LEAST_KAPPA, kappa, scores, shortfalls
from tests.whole_run import whole_run

RUNS = Path(__file__).parents[2] / "runs" / "labelled"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.labelled", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the campaigns are run (default: %(default)s)")
    options = parser.parse_args()
    repetitions = [dict(_repetition(options.runs / str(number + 1))) for number in range(options.repetitions)]
    known = labels()
    for number, given in enumerate(repetitions, 1):
        for each in known:
            found = given.get(each.id)
            if found is not each.expected:
                words = found.value if found is not None else "not judged"
                print(f"{number} {each.id} {each.workload}: expected {each.expected.value}, got {words}: {each.why}")
    pairs = ((each.expected, given.get(each.id)) for given in repetitions for each in known)
    found = scores(pairs)
    for failure, score in found.items():
        print(f"{failure.value:15} recall {score.right} of {score.labelled}, precision {score.right} of {score.given}")
    missed = shortfalls(found)
    if len(repetitions) > 1:
        agree = kappa([{each.id: str(given.get(each.id)) for each in known} for given in repetitions])
        print(f"kappa over {len(repetitions)} repetitions: {agree:.3f}")
        missed += [f"kappa {agree:.3f}"] if agree < LEAST_KAPPA else []
    print("; ".join(f"missed: {words}" for words in missed) or "every goal is met")
    return 1 if missed else 0


def _repetition(folder: Path) -> Iterator[tuple[str, OrchestratorFailure | None]]:
    """Each experiment's class; None where it was not judged."""
    for workload, text in campaign_texts().items():
        run, _ = whole_run(text, folder, workload)
        with open_run(run) as opened:
            for record in opened.records(observations=False):
                if not record.planned.golden:
                    yield record.planned.id, record.verdict.orchestrator


if __name__ == "__main__":
    sys.exit(main())
