"""The form, against the part of Jenkins' junit-10.xsd that it uses, and what becomes of each verdict."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaigns.judging.gate import Check, Gate, Outcome
from campaigns.record import PlannedExperiment
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.targets import Target
from mutineer.exports import FORMATS, Experiment, Exported, Registry
from mutineer.exports.junit import JUnit
from tests.builders import rule
from tests.campaigns.builders import record

FORM = {
    # element: (attributes, children)
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def written(*experiments: Experiment, **changes: Any) -> ET.Element:
    out = io.BytesIO()
    JUnit().write(Exported(**{"name": "nightly-7", "experiments": experiments, "golden": 4, **changes}), out)
    root = ET.fromstring(out.getvalue())
    for element in root.iter():
        attributes, children = FORM[element.tag]
        assert set(element.attrib) <= attributes, element.tag
        assert {child.tag for child in element} <= children, element.tag
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        for counted, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[counted]) == sum(case.find(child) is not None for case in cases)
        assert all(sum(each.tag != "system-out" for each in case) <= 1 for case in cases)
    for counted in ("tests", "failures", "errors"):
        assert int(root.attrib[counted]) == sum(int(suite.attrib[counted]) for suite in root)
    return root


def verdict(orchestrator: str = "none", client: str = "none", **changes: Any) -> Verdict:
    built = Verdict(
        state=State.JUDGED,
        reasons=("6 pods are ready, but default/web is unreachable",),
        orchestrator=OrchestratorFailure(orchestrator),
        client=ClientFailure(client),
        activation=Activation.EFFECTIVE,
    )
    return replace(built, **changes)


def unjudged(state: State, *reasons: str) -> Verdict:
    return Verdict(state=state, reasons=reasons)


def experiment(made: Verdict | None = None, *, broken: tuple[str, ...] = (), **changes: Any) -> Experiment:
    planned = PlannedExperiment(**{"id": "e1", "workload": "deploy", "rule": rule(id="e1"), "why": "a word", **changes})
    if made is None:
        return Experiment(planned, None)
    error = "Traceback\nClusterError: etcd did not start" if made.state is State.ERROR else None
    done = replace(record(planned, verdict=made), seconds=9.5, observation=None, error=error)
    return Experiment(planned, done, broken)


def only(root: ET.Element) -> ET.Element:
    (case,) = root.iter("testcase")
    return case


def gate_of(outcome: Outcome = Outcome.FAILED) -> Gate:
    return Gate(checks=(Check(what="x", allowed="y", found=1, of=1, of_what="judged", outcome=outcome),))


def test_a_test_case_is_an_experiment_with_a_name_that_stays_from_run_to_run() -> None:
    case = only(written(experiment(verdict())))
    assert case.attrib == {
        "name": "Set spec.selector[app] of Service default/web to a wrong value, in its first write to etcd [e1]",
        "classname": "mutineer.deploy.apiserver-to-etcd.value-set.dependency-label-or-selector",
        "time": "9.500",
    }
    assert [child.tag for child in case] == ["system-out"]
    told = case.findtext("system-out") or ""
    assert told.splitlines() == [
        "why: a word",
        "orchestrator none, clients none",
        "fault effective, no user asked",
        "looks like monzo-empty-endpoints-2017: same field",
        "mutineer show nightly-7 e1",
    ]


@pytest.mark.parametrize(
    ("target", "role"),
    [
        (Target(kind="Deployment", identity="Deployment/default/web", field="spec.replicas"), "replicas"),
        (Target(kind="Pod", identity="Pod/default/web#1"), "whole-message"),
        (Target(kind="Pod", identity="Pod/default/web#1", role="dependency"), "dependency"),
    ],
)
def test_the_class_name_ends_with_the_role_of_the_field(target: Target, role: str) -> None:
    case = only(written(experiment(verdict(), rule=rule(target=target), workload="v1.2")))
    assert case.attrib["classname"] == f"mutineer.v1_2.apiserver-to-etcd.value-set.{role}"


def test_without_a_policy_whatever_broke_is_a_failure() -> None:
    failure = only(written(experiment(verdict("network", "unreachable")))).find("failure")
    assert failure is not None
    assert failure.attrib == {"message": "network, clients unreachable", "type": "network"}
    assert failure.text == "6 pods are ready, but default/web is unreachable"
    of_clients = only(written(experiment(verdict("none", "slower")))).find("failure")
    assert of_clients is not None and of_clients.attrib["type"] == "clients-slower"


def test_with_a_policy_only_what_breaks_a_limit_is_a_failure() -> None:
    within = experiment(verdict("network", "unreachable"))
    assert only(written(within, gate=gate_of())).find("failure") is None
    beyond = experiment(verdict("network"), broken=("network or graver: at most 0, found 1 of 1 judged",))
    failure = only(written(beyond, gate=gate_of())).find("failure")
    assert failure is not None
    assert (failure.text or "").startswith("limit: network or graver: at most 0, found 1 of 1 judged\n")


def test_what_is_inconclusive_or_did_not_fire_or_is_not_finished_is_skipped_with_the_reason() -> None:
    for made, words in (
        (unjudged(State.INCONCLUSIVE, "the probe was blind"), "the probe was blind"),
        (verdict(activation=Activation.NOT_FIRED, reasons=("no such write came",)), "no such write came"),
        (None, "planned, but not finished"),
    ):
        case = only(written(experiment(made)))
        skipped = case.find("skipped")
        assert skipped is not None and skipped.attrib["message"] == words


def test_an_error_of_the_harness_is_an_error_with_its_last_words() -> None:
    lost = unjudged(State.ERROR, "the sandbox broke")
    error = only(written(experiment(lost), gate=gate_of())).find("error")
    assert error is not None
    assert error.attrib == {"message": "the sandbox broke", "type": "harness"}
    assert error.text == "Traceback\nClusterError: etcd did not start"


def test_a_suite_is_a_workload_and_says_what_it_belongs_to() -> None:
    root = written(
        experiment(verdict()),
        experiment(verdict("stall"), id="e2", workload="scale"),
        experiment(None, id="e3"),
        started="2026-03-02T09:14:03+01:00",
        gate=gate_of(Outcome.INCONCLUSIVE),
    )
    assert [(s.attrib["name"], s.attrib["tests"], s.attrib["skipped"], s.attrib["time"]) for s in root] == [
        ("deploy", "2", "1", "9.500"),
        ("scale", "1", "0", "9.500"),
    ]
    assert root[0].attrib["timestamp"] == "2026-03-02T09:14:03+01:00"
    facts = {each.attrib["name"]: each.attrib["value"] for each in root[0].iter("property")}
    assert facts == {"run": "nightly-7", "golden runs": "4", "gate": "inconclusive"}
    assert root.attrib == {"name": "mutineer nightly-7", "tests": "3", "failures": "0", "errors": "0", "time": "19.000"}


def test_a_run_without_experiments_is_an_empty_list() -> None:
    assert written().attrib["tests"] == "0"


@given(st.text())
@example("\r")
def test_whatever_is_said_the_xml_is_well_formed_and_says_it(said: str) -> None:
    made = verdict("stall", reasons=(said,))
    case = only(written(experiment(made, why=said), name=said, started=said))
    forbidden = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

    def heard(words: str) -> str:
        return re.sub(forbidden, "\ufffd", words).replace("\r\n", "\n").replace("\r", "\n")

    assert (case.findtext("failure") or "") == heard(said)
    assert heard(f"why: {said}\n") in (case.findtext("system-out") or "")


def test_a_format_whose_name_is_taken_is_refused() -> None:
    registry = Registry()
    registry.add(JUnit())
    with pytest.raises(ValueError, match="registered already"):
        registry.add(JUnit())
    assert FORMATS.names() == ("junit",)
