"""JUnit XML, as CI systems read it: after the schema that Jenkins' xUnit plugin publishes (junit-10.xsd, xunit-plugin
commit 8c515de2), of which this part is used:

    <testsuites name tests failures errors time>
      <testsuite name tests failures errors skipped time timestamp>      one a workload, in the order of the plan
        <properties><property name value/></properties>
        <testcase name classname time>                                   one a planned experiment with a fault
          <failure message type>reasons</failure>  or <error …>, or <skipped message/>, or nothing
          <system-out>what became of it, and how to look at it</system-out>

    name        what was done, as a sentence, and the experiment's id: the same in every run, so that a CI system can
                follow a test case from one run to the next
    classname   mutineer.WORKLOAD.CHANNEL.MODEL.ROLE
    failure     with a policy: the experiment is counted in a limit of it that does not hold. Without: anything broke at
                all (an orchestrator or a client class that is not none)
    error       the harness failed; what it says
    skipped     inconclusive, with the reason (a fault that did not fire is), or planned and not finished: neither of
                them has passed

Values of stored objects are in none of it: a sentence without its firing holds none, and whoever writes reasons and
errors keeps them out (campaigns.redaction). Characters that XML 1.0 forbids (section 2.2) become U+FFFD.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from campaigns.judging.gate import case_of, roles_of
from classifiers.verdict import State
from mutineer.exports.formats import Experiment, Exported

__all__ = ["JUnit"]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Everything but Char of XML 1.0, section 2.2."""
_ERROR_LINES = 8
"""Of an error's text, from its end, as `mutineer show` has them."""


class JUnit:
    """The format."""

    name = "junit"
    description = "JUnit XML for CI systems: a test case an experiment"

    def write(self, run: Exported, out: BinaryIO) -> None:
        """Writes the whole run."""
        suites: dict[str, list[Experiment]] = {}
        for experiment in run.experiments:
            suites.setdefault(experiment.planned.workload, []).append(experiment)
        made = [_suite(run, workload, experiments) for workload, experiments in suites.items()]
        root = ET.Element("testsuites", name=_clean(f"mutineer {run.name}"))
        for counted in ("tests", "failures", "errors"):
            root.set(counted, str(sum(int(suite.attrib[counted]) for suite in made)))
        root.set("time", f"{sum(float(suite.attrib['time']) for suite in made):.3f}")
        root.extend(made)
        ET.indent(root)
        ET.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
        out.write(b"\n")


def _suite(run: Exported, workload: str, experiments: Sequence[Experiment]) -> ET.Element:
    cases = [_testcase(run, experiment) for experiment in experiments]
    suite = ET.Element("testsuite", name=_clean(workload), tests=str(len(cases)))
    for counted, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counted, str(sum(case.find(child) is not None for case in cases)))
    suite.set("time", f"{sum(float(case.attrib['time']) for case in cases):.3f}")
    if run.started:
        suite.set("timestamp", _clean(run.started))
    properties = ET.SubElement(suite, "properties")
    facts = {"run": run.name, "golden runs": str(run.golden)}
    if run.gate is not None:
        facts["gate"] = run.gate.outcome.value
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    suite.extend(cases)
    return suite


def _testcase(run: Exported, experiment: Experiment) -> ET.Element:
    planned, record = experiment.planned, experiment.record
    seconds = record.seconds if record is not None else 0.0
    case = ET.Element(
        "testcase",
        name=_clean(f"{experiment.sentence} [{planned.id}]"),
        classname=_clean(_class_name(experiment)),
        time=f"{seconds:.3f}",
    )
    if record is None:
        ET.SubElement(case, "skipped", message="planned, but not finished")
        return case
    verdict = record.verdict
    reasons = _clean("\n".join(verdict.reasons))
    counted = case_of(record)
    assert counted is not None
    if verdict.state is State.ERROR:
        error = ET.SubElement(case, "error", message=reasons, type="harness")
        error.text = _clean(_last_words(experiment))
    elif not counted.judged:
        ET.SubElement(case, "skipped", message=reasons or _clean(f"{verdict.state}, {verdict.activation}"))
    elif experiment.broken or (run.gate is None and counted.is_finding):
        message = f"{counted.orchestrator.value}, clients {counted.client.value}"
        kind = counted.orchestrator.value if counted.orchestrator.value != "none" else f"clients-{counted.client.value}"
        failure = ET.SubElement(case, "failure", message=message, type=kind)
        failure.text = _clean("\n".join([*(f"limit: {words}" for words in experiment.broken), reasons]))
    ET.SubElement(case, "system-out").text = _clean("\n".join(_told(run, experiment)))
    return case


def _class_name(experiment: Experiment) -> str:
    """Dots part packages in CI systems, so names have none of their own."""
    rule, roles = experiment.planned.rule, roles_of(experiment.planned)
    assert rule is not None
    role = next((name for name in sorted(roles) if name != "dependency"), "dependency")
    role = f"dependency-{role}" if "dependency" in roles and role != "dependency" else role
    names = ("mutineer", experiment.planned.workload, rule.channel.value, rule.model, role)
    return ".".join(name.replace(".", "_") for name in names)


def _last_words(experiment: Experiment) -> str:
    error = experiment.record.error if experiment.record is not None else None
    return "\n".join((error or "").splitlines()[-_ERROR_LINES:])


def _told(run: Exported, experiment: Experiment) -> Iterable[str]:
    record = experiment.record
    assert record is not None
    verdict = record.verdict
    yield f"why: {experiment.planned.why}"
    if verdict.state is State.JUDGED and verdict.orchestrator is not None:
        also = f" (also {', '.join(each.value for each in verdict.also)})" if verdict.also else ""
        client = verdict.client.value if verdict.client is not None else "-"
        yield f"orchestrator {verdict.orchestrator.value}{also}, clients {client}"
    activation = verdict.activation.value if verdict.activation is not None else "not known to have fired"
    aware = {True: "the user was told", False: "the user was not told", None: "no user asked"}[verdict.aware]
    yield f"fault {activation}, {aware}"
    yield from (f"looks like {match.id}: {match.why}" for match in record.incidents[:1])
    yield f"mutineer show {run.name} {experiment.planned.id}"


def _clean(text: str) -> str:
    """Without what XML can't hold, and with the ends of lines that a parser makes of any. ElementTree escapes the
    rest."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
