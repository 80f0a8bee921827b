from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.judging.gate import Case, Check, Gate, Outcome, case_of, evaluate, roles_of
from campaigns.judging.gate_policy import GatePolicy
from campaigns.record import PlannedExperiment
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.targets import Target
from tests.builders import rule
from tests.campaigns.builders import record

TODAY = datetime.date(2026, 3, 2)
ORDER = list(OrchestratorFailure)


def case(number: int = 0, orchestrator: str = "none", client: str = "none", **changes: Any) -> Case:
    built = Case(
        id=f"e{number:012x}",
        workload="deploy",
        channel="apiserver-to-etcd",
        roles=frozenset({"dependency", "label-or-selector"}),
        state=State.JUDGED,
        orchestrator=OrchestratorFailure(orchestrator),
        client=ClientFailure(client),
    )
    return replace(built, **changes)


def planned(cases: Sequence[Case], *more: str) -> list[PlannedExperiment]:
    ids = (*(each.id for each in cases), *more)
    golden = PlannedExperiment(id="g0", workload="deploy")
    return [golden, *(PlannedExperiment(id=each, workload="deploy", rule=rule(id=each)) for each in ids)]


def policy(*limits: dict[str, Any], **changes: Any) -> GatePolicy:
    return GatePolicy.model_validate({"limits": list(limits) or [{"class": "stall", "at_most": 0}], **changes})


def gate(chosen: GatePolicy, cases: Sequence[Case], *, unfinished: Sequence[str] = (), today: Any = TODAY) -> Gate:
    return evaluate(chosen, planned(cases, *unfinished), cases, today=today)


def check(found: Gate, what: str) -> Check:
    return next(each for each in found.checks if each.what == what)


def test_a_limit_counts_its_class_and_graver_ones_among_what_it_selects() -> None:
    cases = [
        case(1, "outage", "unreachable"),
        case(2, "network", "intermittent"),
        case(3, "more-resources"),
        case(4),
        case(5, "network", workload="scale"),
        case(6, "network", channel="at-rest-write"),
        case(7, "network", roles=frozenset({"status"})),
        case(8, "network", state=State.INCONCLUSIVE),
    ]
    limit = {"class": "network", "role": "dependency", "workload": "deploy", "channel": "apiserver-to-etcd"}
    found = gate(policy({**limit, "at_most": 1, "why": "as agreed"}, inconclusive={"at_most": 1}), cases)
    assert found.checks[0] == Check(
        what="network or graver; role dependency; workload deploy; channel apiserver-to-etcd",
        allowed="at most 1",
        found=2,
        of=4,
        of_what="judged",
        outcome=Outcome.FAILED,
        why="as agreed",
        experiments=(cases[0].id, cases[1].id),
    )
    assert found.outcome is Outcome.FAILED
    assert found.offending == (cases[0].id, cases[1].id)
    assert gate(policy({**limit, "at_most": "50%"}, inconclusive={"at_most": 1}), cases).outcome is Outcome.PASSED


def test_class_and_client_together_ask_for_both() -> None:
    cases = [case(1, "stall"), case(2, client="unreachable"), case(3, "stall", "unreachable")]
    found = gate(policy({"class": "stall", "client": "unreachable", "at_most": 0}), cases)
    assert (found.checks[0].what, found.checks[0].experiments) == (
        "stall or graver, clients unreachable",
        (cases[2].id,),
    )


def test_every_limit_must_hold() -> None:
    cases = [case(1, "network"), case(2)]
    found = gate(policy({"class": "stall", "at_most": 0}, {"class": "network", "at_most": 0}), cases)
    assert [each.outcome for each in found.checks[:2]] == [Outcome.PASSED, Outcome.FAILED]
    assert found.outcome is Outcome.FAILED


def test_a_gate_over_nothing_is_inconclusive() -> None:
    assert gate(policy(), []).outcome is Outcome.INCONCLUSIVE
    not_judged = [case(1, state=State.INCONCLUSIVE)]
    assert gate(policy(inconclusive={"at_most": "100%"}), not_judged).outcome is Outcome.INCONCLUSIVE
    few = [case(n) for n in range(9)]
    assert gate(policy(judged={"at_least": 10}), few).outcome is Outcome.INCONCLUSIVE
    assert gate(policy(judged={"at_least": 9}), few).outcome is Outcome.PASSED


def test_a_limit_that_selects_too_little_is_inconclusive_unless_it_is_broken_already() -> None:
    cases = [case(1), case(2)]
    assert gate(policy({"class": "stall", "role": "replicas", "at_most": 0}), cases).outcome is Outcome.INCONCLUSIVE
    lenient = {"class": "stall", "role": "replicas", "at_most": 0, "judged_at_least": 0}
    assert gate(policy(lenient), cases).outcome is Outcome.PASSED
    broken = [case(1, "stall")]
    assert gate(policy({"class": "stall", "at_most": 0, "judged_at_least": 5}), broken).outcome is Outcome.FAILED
    assert gate(policy({"class": "stall", "at_most": "1%", "judged_at_least": 5}), broken).outcome is (
        Outcome.INCONCLUSIVE
    )


def test_what_did_not_fire_is_inconclusive_whatever_its_verdict_says() -> None:
    cases = [*(case(n) for n in range(9)), case(9, fired=False)]
    found = gate(policy(), cases)
    assert check(found, "inconclusive").experiments == (cases[9].id,)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert check(found, "judged experiments").found == 9


def test_each_budget_has_its_outcome_and_a_failure_goes_first() -> None:
    good = [case(n) for n in range(10)]
    errors = [*good, case(10, state=State.ERROR)]
    assert gate(policy(), errors).outcome is Outcome.ERROR
    assert gate(policy(errors={"at_most": 1}), errors).outcome is Outcome.PASSED
    assert gate(policy(), good, unfinished=["e9"]).outcome is Outcome.INCONCLUSIVE
    assert gate(policy(unfinished={"at_most": "10%"}), good, unfinished=["e9"]).outcome is Outcome.PASSED
    assert check(gate(policy(), good, unfinished=["e9"]), "not finished").experiments == ("e9",)
    everything = [*errors, case(11, "outage"), case(12, state=State.INCONCLUSIVE)]
    assert gate(policy(), everything, unfinished=["e9"]).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("until", "cases", "state", "outcome"),
    [
        ("2026-03-02", [case(1, "outage"), case(2)], "not counted", Outcome.PASSED),
        ("2026-03-01", [case(1, "outage"), case(2)], "expired", Outcome.FAILED),
        ("2026-03-02", [case(1), case(2)], "no finding", Outcome.PASSED),
        ("2026-03-02", [case(2)], "not planned", Outcome.PASSED),
        ("2026-03-02", [case(1, state=State.ERROR), case(2)], "not judged", Outcome.ERROR),
    ],
)
def test_a_known_finding_does_not_count_until_its_date(
    until: str, cases: list[Case], state: str, outcome: Outcome
) -> None:
    known = {"id": case(1).id, "until": until, "why": "OPS-12"}
    found = gate(policy(known=[known]), cases)
    assert [each.state for each in found.known] == [state]
    assert found.outcome is outcome


def test_a_known_finding_is_in_no_shares_denominator() -> None:
    known = {"id": case(0).id, "until": "2026-03-02", "why": "OPS-12"}
    cases = [case(0, "outage"), case(1, "outage"), *(case(n) for n in range(2, 21))]
    assert gate(policy({"class": "outage", "at_most": "5%"}, known=[known]), cases).checks[0].of == 20


def test_a_case_is_made_of_a_record_and_golden_runs_have_none() -> None:
    made = record(verdict=Verdict(state=State.INCONCLUSIVE, activation=Activation.NOT_FIRED, reasons=("no",)))
    assert case_of(made) == case(
        id=made.planned.id, state=State.INCONCLUSIVE, fired=False, roles=frozenset({"dependency", "label-or-selector"})
    )
    assert case_of(record(PlannedExperiment(id="g1", workload="deploy"))) is None


@pytest.mark.parametrize(
    ("target", "roles"),
    [
        (Target(kind="Deployment", field="spec.replicas"), {"replicas"}),
        (Target(kind="Pod", field="metadata.ownerReferences[0].uid"), {"dependency", "owner-reference"}),
        (Target(kind="Pod"), {"whole-message"}),
        (Target(kind="Pod", role="node-name"), {"dependency", "node-name"}),
        (Target(kind="Pod", role="status"), {"status"}),
    ],
)
def test_the_roles_of_an_experiment(target: Target, roles: set[str]) -> None:
    assert roles_of(PlannedExperiment(id="e1", workload="deploy", rule=rule(target=target))) == roles


# whatever the policy: worse never makes it pass

WORST = (OrchestratorFailure.OUTAGE, ClientFailure.UNREACHABLE)


@st.composite
def cases_of(draw: st.DrawFn, *, least: int = 0) -> list[Case]:
    def one(number: int) -> Case:
        return case(
            number,
            draw(st.sampled_from([c.value for c in ORDER])),
            draw(st.sampled_from([c.value for c in ClientFailure])),
            state=draw(st.sampled_from([State.JUDGED] * 6 + [State.INCONCLUSIVE, State.ERROR])),
            fired=draw(st.integers(0, 5)) > 0,
            workload=draw(st.sampled_from(["deploy", "scale"])),
            channel=draw(st.sampled_from(["apiserver-to-etcd", "at-rest-write"])),
            roles=frozenset({draw(st.sampled_from(["dependency", "status"]))}),
        )

    return [one(number) for number in range(draw(st.integers(least, 12)))]


BOUNDS = st.integers(0, 4) | st.integers(0, 100).map(lambda share: f"{share}%")


@st.composite
def policies(draw: st.DrawFn) -> GatePolicy:
    def limit() -> dict[str, Any]:
        classes = st.lists(st.sampled_from([c.value for c in ORDER[:-1]]), min_size=1, max_size=2)
        clients = st.sampled_from(["unreachable", "intermittent", "slower"])
        made: dict[str, Any] = {"at_most": draw(BOUNDS), "judged_at_least": draw(st.integers(0, 4))}
        which = draw(st.integers(1, 3))
        made |= {"class": draw(classes)} if which & 1 else {}
        made |= {"client": draw(clients)} if which & 2 else {}
        made |= {"role": "dependency"} if draw(st.booleans()) else {}
        return made | ({"workload": "deploy"} if draw(st.booleans()) else {})

    known = [
        {"id": case(n).id, "until": "2026-12-31", "why": "x"} for n in draw(st.sets(st.integers(0, 5), max_size=2))
    ]
    budgets = {name: {"at_most": draw(BOUNDS)} for name in ("inconclusive", "errors", "unfinished")}
    return policy(*(limit() for _ in range(draw(st.integers(1, 3)))), known=known, **budgets)


@given(policies(), cases_of(), cases_of(least=1))
def test_one_more_of_the_worst_findings_never_makes_a_gate_pass_that_failed(
    chosen: GatePolicy, cases: list[Case], other: list[Case]
) -> None:
    worst = replace(other[0], id="eworst", state=State.JUDGED, fired=True, orchestrator=WORST[0], client=WORST[1])
    before, after = gate(chosen, cases), gate(chosen, [*cases, worst])
    if before.outcome is Outcome.FAILED:
        assert after.outcome is Outcome.FAILED


@given(policies(), cases_of(least=1), st.data())
def test_a_finding_that_gets_worse_never_makes_a_gate_pass_that_did_not(
    chosen: GatePolicy, cases: list[Case], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(cases) - 1))
    old = cases[place]
    graver = ORDER[data.draw(st.integers(0, ORDER.index(old.orchestrator)))]
    clients = list(ClientFailure)
    client = clients[data.draw(st.integers(0, clients.index(old.client)))]
    worse = [*cases[:place], replace(old, orchestrator=graver, client=client), *cases[place + 1 :]]
    if gate(chosen, cases).outcome is not Outcome.PASSED:
        assert gate(chosen, worse).outcome is not Outcome.PASSED


@given(policies(), cases_of(), st.randoms())
def test_the_order_of_the_records_changes_nothing(chosen: GatePolicy, cases: list[Case], random: Any) -> None:
    mixed = list(cases)
    random.shuffle(mixed)
    order = planned(cases)
    assert evaluate(chosen, order, mixed, today=TODAY) == evaluate(chosen, order, cases, today=TODAY)
