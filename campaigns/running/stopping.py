"""When a session stops before all is done: a person's wish, or a rule of the spec (campaigns.spec.policies)."""

from __future__ import annotations

from collections.abc import Callable

from campaigns.record import ExperimentRecord
from campaigns.spec.policies import StopRules
from classifiers.verdict import ClientFailure, OrchestratorFailure, State

__all__ = ["Stop", "Tally", "is_finding"]


def is_finding(record: ExperimentRecord) -> bool:
    """Whether something was wrong with the cluster or its clients, as far as it could be judged."""
    verdict = record.verdict
    cluster = verdict.orchestrator not in (None, OrchestratorFailure.NONE)
    clients = verdict.client not in (None, ClientFailure.NONE)
    return not record.planned.golden and verdict.state is State.JUDGED and (cluster or clients)


class Stop:
    """A wish to stop, passed on to whoever carries out; `why` in words once there is one. Usable from a signal
    handler."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.interrupted = False
        self._finish: Callable[[], None] | None = None

    def listen(self, finish: Callable[[], None] | None) -> None:
        """From here on a wish calls `finish`, at once if there is one; None: nobody listens any more."""
        self._finish = finish
        if finish is not None and self.why is not None:
            finish()

    def ask(self, why: str, *, interrupted: bool = False) -> bool:
        """False if that is of no use: nobody listens, or it was asked before (by a person, after a rule had: that is
        their first time)."""
        if self._finish is None or self.interrupted or (self.why is not None and not interrupted):
            return False
        self.why, self.interrupted = self.why or why, interrupted
        self._finish()
        return True


class Tally:
    """Counts what the stop rules are about, from the start of a session."""

    def __init__(self, rules: StopRules) -> None:
        self._rules = rules
        self._experiments = self._findings = self._errors = 0

    def count(self, record: ExperimentRecord) -> None:
        failed = record.verdict.state is State.ERROR
        self._experiments += not record.planned.golden
        self._findings += is_finding(record)
        self._errors = self._errors + 1 if failed else 0

    def failed(self) -> None:
        """The harness broke under an experiment that is tried again later."""
        self._errors += 1

    def reached(self, seconds: float) -> str | None:
        """Which rule says stop, `seconds` after the start; None if none does."""
        rules = self._rules
        if rules.after is not None and seconds >= rules.after:
            return f"stop.after: {_clock(rules.after)} are over"
        if rules.experiments is not None and self._experiments >= rules.experiments:
            return f"stop.experiments: {self._experiments} were done"
        if rules.findings is not None and self._findings >= rules.findings:
            return f"stop.findings: there are {self._findings}"
        if rules.errors is not None and self._errors >= rules.errors:
            return f"stop.errors: the harness failed in {self._errors} experiments in a row"
        return None


def _clock(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
