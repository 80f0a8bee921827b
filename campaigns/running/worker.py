"""The executor inside a sandbox: boots it, runs experiments one after another, resets in between.

    python -m campaigns.running.worker FOLDER LOCK_FD      first process of the namespace, started by `runner`

JSON lines. In on stdin: {"do": "run", "id", "workload", "rule" (injector.rules_json) or null, "limits": {…}}; in place
of a rule "record": [channel, …] asks for what passes there.
Out on stdout, `said` one of:
    booting  {"line"}                 what the boot is doing
    ready    {"seconds"}              booted and proven clean
    alive    {}                       once a second, for as long as crashed components are looked for
    phase    {"id", "phase", "at"}    arming, driving, settling, canary, resetting, telling, …; at: monotonic seconds
    done     {"id", "observation", "trace", "reset": {"rung", "seconds", "proof"} or null, "why"}
                                      trace: base64 of classifiers.trace's bytes. reset null: the cluster must be
                                      recreated, `why` tells why; the worker ends;
             "recorded": {"channels": {channel: injector.channels.recording}, "baseline": {key: base64}} if asked for
    error    {"id" or null, "error"}  our own machinery failed; the worker ends

Nothing else is written to stdout. The parent's death is this process's (and so the whole cluster's) death.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, TextIO

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.clusters.sandbox.cluster import Sandbox
from campaigns.clusters.sandbox.config import SandboxConfig
from campaigns.clusters.sandbox.reset import LEADERS
from campaigns.record import Limits
from campaigns.running.experiment import Experiment
from campaigns.workloads import WORKLOADS, Workload
from campaigns.workloads.documents import parse_workload
from campaigns.workloads.steps import ToNode
from classifiers.observation import Observation
from classifiers.record import observation_to_json
from injector.channels.recording import Recorded, recorded_to_json
from injector.errors import ClusterError, MutineerError
from injector.rules_json import rule_from_json
from injector.targets import Channel, plain_operation

__all__ = ["lingers", "main"]

_TEND_S = 0.2
"""How soon a crashed component is started again; the kubelet notices its static pods once a second."""
_ALIVE_S = 1.0
_TENDED_WITHIN_S = 15.0
"""A look at all components takes milliseconds; a thread that has not come back for so long hangs."""
_NOT_COMPARED = ("/registry/minions/", "/registry/masterleases/", "/registry/peerserverleases/")
_EVENTS = "/registry/events/"
"""What the rollback does not compare (campaigns.clusters.sandbox.reset), or not all of it; new events it deletes."""
_KEPT = ("range", "watch", "list")
"""What fills caches, of what is told (injector.targets: OPERATIONS)."""
_IN_VOLUMES = ("/registry/configmaps/", "/registry/secrets/")
_ROLLBACK_WITHIN_S = 12.0
"""A rollback takes under a second and the pods' end as long; past this a fresh sandbox (10 s) is quicker."""


def lingers(observation: Observation, workload: Workload, baseline: Container[str]) -> str | None:
    """Why this experiment may have left something in a component's memory or on a node, in words; None if a rollback
    is enough. `baseline`: the keys of the clean cluster."""
    if observation.unclean:
        return "; ".join(observation.unclean)
    for step in (*workload.prepare, *workload.steps):
        if isinstance(step, ToNode):
            return f"{step}: pods of the baseline ended with it, and never are the same again"
    if observation.undecodable:
        return "a stored object could not be decoded: caches and informers may have given up"
    if observation.renamed:
        return f"whoever watches keeps an object that is no more: {', '.join(observation.renamed)} was renamed"
    for firing in observation.firings:
        if plain_operation(firing.operation) in _KEPT:
            return f"what was told wrongly of {firing.key} is kept by who was told: a cache is not written back"
        if firing.operation == "silent":
            return f"{firing.key} was changed in etcd's file: it has its old revision, by which the rollback goes"
        if firing.key.startswith(_NOT_COMPARED) or (firing.key.startswith(_EVENTS) and firing.key in baseline):
            return f"the rollback does not compare all of {firing.key}"
    for key in (*(f.key for f in observation.firings), *(w.key for w in observation.writes)):
        if key.startswith(_IN_VOLUMES) and key in baseline and not key.endswith("/kube-root-ca.crt"):
            return f"a kubelet may have written {key} into a volume, and looks at it again in a minute or so"
    if ended := [c.name for c in observation.components if c.name not in LEADERS and (c.restarts or not c.alive)]:
        return f"{', '.join(ended)} had ended"
    if len(observation.looks) > 1:
        return "its components were restarted, to see whether that heals it"
    if any(at_s is None for at_s in observation.canary.stages.values()):
        return "the canary did not come to life"
    return None


def _told(recorded: Mapping[Channel, Recorded], baseline: Mapping[str, Stored]) -> dict[str, Any]:
    """What was recorded, as `done` says it; nothing where nothing was."""
    if not recorded:
        return {}
    channels = {channel.value: recorded_to_json(each) for channel, each in recorded.items()}
    stored = {key: base64.b64encode(each.value).decode("ascii") for key, each in baseline.items()}
    return {"recorded": {"channels": channels, "baseline": stored}}


class _Worker:
    def __init__(self, folder: Path, out: TextIO) -> None:
        self._config = SandboxConfig.from_json((folder / "config.json").read_text())
        self._sandbox = Sandbox(self._config)
        self._out = out
        self._stop = threading.Event()
        self._saying = threading.Lock()
        self._tended: float | None = None
        own = (parse_workload(document, file="config.json") for document in self._config.workloads)
        self._own = {workload.name: workload for workload in own}

    def say(self, said: str, **values: Any) -> None:
        line = json.dumps({"said": said, **values}) + "\n"
        with self._saying:
            self._out.write(line)
            self._out.flush()

    def _phase(self, name: str, phase: str) -> None:
        self.say("phase", id=name, phase=phase, at=time.monotonic())

    def run(self, tasks: TextIO) -> None:
        threading.Thread(target=self._pulse, name="pulse", daemon=True).start()
        times = self._sandbox.boot(lambda line: self.say("booting", line=line))
        keyspace = KeySpace(self._sandbox.etcd_address, self._sandbox.etcd_tls)
        baseline = self._sandbox.take_baseline(keyspace)
        threading.Thread(target=self._tend, name="tend", daemon=True).start()
        self.say("ready", seconds=round(times.cluster_s, 3))
        for line in tasks:
            task = json.loads(line)
            try:
                alive = self._experiment(task, keyspace, baseline.keys)
            except Exception:  # noqa: BLE001 - the border of one experiment: it becomes an error, with its traceback
                self.say("error", id=task["id"], error=traceback.format_exc())
                return
            self._sandbox.reap_orphans()
            if not alive:
                return

    def _experiment(self, task: dict[str, Any], keyspace: KeySpace, baseline: Any) -> bool:
        """Runs one and resets; False if the cluster is of no use any more."""
        name, workload = task["id"], self._own.get(task["workload"]) or WORKLOADS[task["workload"]]
        rule = rule_from_json(task["rule"]) if task["rule"] else None
        self._phase(name, "arming")
        experiment = Experiment(
            self._sandbox,
            keyspace,
            baseline,
            workload,
            rule,
            limits=Limits(**task["limits"]),
            undo=self._config.work / "undo",
            phase=lambda phase: self._phase(name, phase),
            record=tuple(Channel(channel) for channel in task.get("record", ())),
        )
        observation = experiment.run()
        reset, why = None, lingers(observation, workload, baseline) or "; ".join(self._sandbox.caps) or None
        if why is None:
            self._phase(name, "resetting")
            try:
                reset = self._sandbox.rollback(keyspace, within_s=_ROLLBACK_WITHIN_S)
            except ClusterError as error:
                why = str(error)
            shutil.rmtree(self._config.work / "undo", ignore_errors=True)  # the rollback has undone it
        self._phase(name, "telling")
        self.say(
            "done",
            id=name,
            observation=observation_to_json(observation),
            trace=base64.b64encode(experiment.trace).decode("ascii"),
            reset=dataclasses.asdict(reset) if reset else None,
            why=why,
            **_told(experiment.recorded, experiment.baseline),
        )
        return reset is not None

    def _tend(self) -> None:
        try:
            while not self._stop.wait(_TEND_S):
                self._sandbox.tend()
                self._tended = time.monotonic()
        except Exception:  # noqa: BLE001 - a thread that nobody joins: components that are not tended look like outages
            self.say("error", id=None, error=traceback.format_exc())
            os._exit(3)

    def _pulse(self) -> None:
        """Not of the thread that tends: a runner that does not read must not keep that one from its work."""
        while not self._stop.wait(_ALIVE_S):
            if self._tended is None or time.monotonic() - self._tended < _TENDED_WITHIN_S:
                try:
                    self.say("alive")
                except OSError:  # nobody reads any more: this process ends with its parent
                    return

    def end(self) -> None:
        self._stop.set()
        self._sandbox.shutdown()


def main(folder: Path, lock: int) -> int:
    os.set_inheritable(lock, False)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the JSON lines
    worker = _Worker(folder, out)
    try:
        worker.run(sys.stdin)
    except MutineerError as error:
        worker.say("error", id=None, error=str(error))
        return 3
    finally:
        worker.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
