"""A finished run held against a policy (campaigns.judging.gate_policy). Pure: values in, values out.

The words that the checks are made of:

    judged      the state is judged, and the fault fired; the rest is inconclusive or an error
    a finding   an experiment that was judged with any failure, of the orchestrator or of the clients
    known       a finding that the policy lists, until its date: it is in no limit, neither counted nor in a share's
                denominator
    a share     of the experiments that a limit selects (role, workload, channel) and that were judged, each as one:
                strata are not weighted

A class stands for itself and all graver ones, so nothing that gets worse can make a gate pass that failed before, and
neither can one more experiment that ends as badly as can be. What keeps a gate from passing by chance: too few judged
experiments, in the run or in a limit, are inconclusive, and so is a run that is not finished.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from campaigns.judging.gate_policy import WHOLE_MESSAGE, GatePolicy, Limit
from campaigns.record import ExperimentRecord, PlannedExperiment
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State
from injector.roles import Dependency, Role, dependency_of, role_of

__all__ = ["Case", "Check", "Gate", "KnownFinding", "Outcome", "case_of", "evaluate", "roles_of"]


class Outcome(StrEnum):
    """Of a check, and of the gate: there the first in this order that any check has."""

    FAILED = "failed"
    ERROR = "error"
    """The harness failed more often than is allowed."""
    INCONCLUSIVE = "inconclusive"
    PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a gate needs to know of one finished experiment. `roles`: see roles_of."""

    id: str
    workload: str
    channel: str
    roles: frozenset[str]
    state: State
    fired: bool = True
    orchestrator: OrchestratorFailure = OrchestratorFailure.NONE
    client: ClientFailure = ClientFailure.NONE

    @property
    def judged(self) -> bool:
        return self.state is State.JUDGED and self.fired

    @property
    def is_finding(self) -> bool:
        return self.judged and (
            self.orchestrator is not OrchestratorFailure.NONE or self.client is not ClientFailure.NONE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the gate. `experiments`: ids of those that were found, in the order of the plan."""

    what: str
    allowed: str
    found: int
    of: int
    of_what: str
    outcome: Outcome
    why: str = ""
    experiments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFinding:
    """What became of an entry of `known`. state: `not counted`, `expired` (and so counted), `no finding` (judged, and
    nothing was wrong), `not judged`, `not planned`."""

    id: str
    until: datetime.date
    why: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The answer."""

    checks: tuple[Check, ...]
    known: tuple[KnownFinding, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return min((check.outcome for check in self.checks), key=list(Outcome).index)

    @property
    def offending(self) -> tuple[str, ...]:
        """Ids of the experiments in checks that do not pass, each once."""
        bad = (check.experiments for check in self.checks if check.outcome is not Outcome.PASSED)
        return tuple(dict.fromkeys(each for experiments in bad for each in experiments))


def case_of(record: ExperimentRecord) -> Case | None:
    """None for a golden run."""
    rule, verdict = record.planned.rule, record.verdict
    if rule is None:
        return None
    return Case(
        id=record.planned.id,
        workload=record.planned.workload,
        channel=rule.channel.value,
        roles=roles_of(record.planned),
        state=verdict.state,
        fired=verdict.activation is not Activation.NOT_FIRED,
        orchestrator=verdict.orchestrator or OrchestratorFailure.NONE,
        client=verdict.client or ClientFailure.NONE,
    )


def roles_of(planned: PlannedExperiment) -> frozenset[str]:
    """The role of the target's field, and its kind of dependency; `whole-message` where no field is hit. Of a target
    that names a role instead of a field, that role: it tells no more before the fault has fired."""
    if planned.rule is None:
        return frozenset()
    target = planned.rule.target
    if target.field is not None:
        dependency = dependency_of(target.kind, target.field)
        return frozenset({role_of(target.kind, target.field).value, *([dependency.value] if dependency else [])})
    if target.role in set(Dependency):
        return frozenset({Role.DEPENDENCY.value, target.role})
    return frozenset({target.role or WHOLE_MESSAGE})


def evaluate(
    policy: GatePolicy, planned: Sequence[PlannedExperiment], cases: Iterable[Case], *, today: datetime.date
) -> Gate:
    """The gate of a run: `planned` is its plan, `cases` what is finished of it."""
    order = {each.id: place for place, each in enumerate(planned)}
    faults = [each.id for each in planned if not each.golden]
    finished = sorted(cases, key=lambda case: order.get(case.id, len(order)))
    known = [_known(entry.id, entry.until, entry.why, finished, faults, today) for entry in policy.known]
    ignored = {entry.id for entry in known if entry.state == _NOT_COUNTED}
    counted = [case for case in finished if case.id not in ignored]
    checks = [_limited(limit, counted) for limit in policy.limits]
    return Gate(checks=(*checks, *_budgets(policy, faults, finished, counted)), known=tuple(known))


_NOT_COUNTED = "not counted"


def _known(
    identifier: str,
    until: datetime.date,
    why: str,
    finished: Sequence[Case],
    planned: Sequence[str],
    today: datetime.date,
) -> KnownFinding:
    case = next((case for case in finished if case.id == identifier), None)
    if identifier not in planned:
        state = "not planned"
    elif case is None or not case.judged:
        state = "not judged"
    elif not case.is_finding:
        state = "no finding"
    else:
        state = "expired" if today > until else _NOT_COUNTED
    return KnownFinding(id=identifier, until=until, why=why, state=state)


def _limited(limit: Limit, cases: Sequence[Case]) -> Check:
    judged = [case for case in cases if case.judged and _selects(limit, case)]
    found = [case.id for case in judged if _counts(limit, case)]
    if len(judged) < limit.judged_at_least:
        outcome = Outcome.INCONCLUSIVE
        if found and isinstance(limit.at_most, int) and not limit.allows(len(found), len(judged)):
            outcome = Outcome.FAILED  # more experiments can't make it fewer
    else:
        outcome = Outcome.PASSED if limit.allows(len(found), len(judged)) else Outcome.FAILED
    least = f", of at least {limit.judged_at_least}" if limit.judged_at_least > 1 else ""
    return Check(
        what=_words(limit),
        allowed=f"at most {limit.at_most}{least}",
        found=len(found),
        of=len(judged),
        of_what="judged",
        outcome=outcome,
        why=limit.why,
        experiments=tuple(found),
    )


def _selects(limit: Limit, case: Case) -> bool:
    return (
        (limit.role is None or not case.roles.isdisjoint(limit.role))
        and (limit.workload is None or case.workload in limit.workload)
        and (limit.channel is None or case.channel in limit.channel)
    )


def _counts(limit: Limit, case: Case) -> bool:
    return (limit.mildest is None or _GRAVITY[case.orchestrator] <= _GRAVITY[limit.mildest]) and (
        limit.mildest_client is None or _CLIENT_GRAVITY[case.client] <= _CLIENT_GRAVITY[limit.mildest_client]
    )


_GRAVITY = {failure: place for place, failure in enumerate(OrchestratorFailure)}
_CLIENT_GRAVITY = {failure: place for place, failure in enumerate(ClientFailure)}
"""0 is the gravest: the order is classifiers.verdict's."""


def _words(limit: Limit) -> str:
    """`network or graver, clients unreachable; role dependency; workload deploy`."""
    classes = []
    if (failure := limit.mildest) is not None:
        classes.append(failure.value + (" or graver" if _GRAVITY[failure] else ""))
    if (client := limit.mildest_client) is not None:
        classes.append(f"clients {client.value}" + (" or graver" if _CLIENT_GRAVITY[client] else ""))
    selections = (("role", limit.role), ("workload", limit.workload), ("channel", limit.channel))
    chosen = [f"{name} {' or '.join(words)}" for name, words in selections if words is not None]
    return "; ".join([", ".join(classes), *chosen])


def _budgets(
    policy: GatePolicy, planned: Sequence[str], finished: Sequence[Case], counted: Sequence[Case]
) -> Iterable[Check]:
    judged = sum(case.judged for case in counted)
    enough = judged >= policy.judged.at_least
    yield Check(
        what="judged experiments",
        allowed=f"at least {policy.judged.at_least}",
        found=judged,
        of=len(planned),
        of_what="planned",
        outcome=Outcome.PASSED if enough else Outcome.INCONCLUSIVE,
    )
    errors = [case.id for case in finished if case.state is State.ERROR]
    inconclusive = [case.id for case in finished if not case.judged and case.state is not State.ERROR]
    done = {case.id for case in finished}
    unfinished = [each for each in planned if each not in done]
    for what, budget, ids, of, of_what, otherwise in (
        ("inconclusive", policy.inconclusive, inconclusive, len(finished), "finished", Outcome.INCONCLUSIVE),
        ("errors of the harness", policy.errors, errors, len(finished), "finished", Outcome.ERROR),
        ("not finished", policy.unfinished, unfinished, len(planned), "planned", Outcome.INCONCLUSIVE),
    ):
        yield Check(
            what=what,
            allowed=f"at most {budget.at_most}",
            found=len(ids),
            of=of,
            of_what=of_what,
            outcome=Outcome.PASSED if budget.allows(len(ids), of) else otherwise,
            experiments=tuple(ids),
        )
