"""A stand-in for campaigns.running.worker: speaks its JSON lines without a cluster. What an experiment does is in its
workload: `ok`, `recreate`, `error`, `die`, `hang`, `dirty` (dies between done and the next), `gibberish`, `traced`,
`waits` (until the file STAND_IN_GO is there), `once-…` (that, but only the first time: it leaves a file beside
STAND_IN_OBSERVATION). Any other is `ok`. Fails its start while the
environment says so: STAND_IN_BOOTS names a file with one word (`ok`, `fail`, `hang`) a start, taken from its front.
STAND_IN_HOLD: while that file is there, those with a fault wait. STAND_IN_DIES: under that target it dies.
What it saw is the JSON in the file STAND_IN_OBSERVATION. Imports nothing of the project: it has to start quickly."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(said: str, **values: Any) -> None:
    print(json.dumps({"said": said, **values}), flush=True)


def starts() -> str:
    """What this start is to do."""
    if (path := os.environ.get("STAND_IN_BOOTS")) is None:
        return "ok"
    with Path(path).open("r+") as file:  # two may start at once
        fcntl.flock(file, fcntl.LOCK_EX)
        first, *rest = file.read().split() or ["ok"]
        file.seek(0)
        file.truncate()
        file.write(" ".join(rest))
    return first


def run(task: dict[str, Any]) -> bool:
    """False where the worker ends after it."""
    name, what = task["id"], task["workload"]
    if what.startswith("once-"):
        before = Path(os.environ["STAND_IN_OBSERVATION"]).with_name(f"before-{name}")
        what = "ok" if before.exists() else what.removeprefix("once-")
        before.touch()  # before anything is said: who hears it may stop this process
    say("phase", id=name, phase="driving", at=time.monotonic())
    while task["rule"] and (hold := os.environ.get("STAND_IN_HOLD")) and Path(hold).exists():
        time.sleep(0.01)
    if what == "gibberish":
        print("Killed", flush=True)
    if what == "waits":
        while not Path(os.environ["STAND_IN_GO"]).exists():
            time.sleep(0.01)
    if what == "die" or (task["rule"] or {}).get("target", {}).get("identity") == os.environ.get("STAND_IN_DIES", ""):
        print("the last words", file=sys.stderr, flush=True)
        os._exit(9)
    if what == "hang":
        time.sleep(600)
    if what == "error":
        say("error", id=name, error="Traceback: it went wrong")
        return False
    reset = None if what == "recreate" else {"rung": "rollback", "seconds": 0.1, "proof": "7 keys equal"}
    why = "etcd had ended" if reset is None else None
    seen = json.loads(Path(os.environ["STAND_IN_OBSERVATION"]).read_text())
    seen["observation"] |= {"workload": task["workload"], "wanted_pods": len(task["limits"])}
    trace = {"trace": "dHJhY2U="} if what == "traced" else {}
    say("done", id=name, observation=seen, reset=reset, why=why, **trace)
    if what == "dirty":
        os._exit(9)
    return reset is not None


def main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # a namespace's first process has no default for it
    say("booting", line="starting nothing")
    start = starts()
    if start == "fail":
        print("no cluster today", file=sys.stderr, flush=True)
        return 3
    if start == "hang":
        time.sleep(600)
    say("ready", seconds=0.0)
    return next((0 for line in sys.stdin if not run(json.loads(line))), 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
