from __future__ import annotations

import stat
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.store import create_run
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.errors import InputError
from injector.rules import Rule
from injector.targets import Channel, Target
from mutineer.commands import export
from tests.builders import faulty, firing
from tests.campaigns.builders import SPEC, record, small_plan

PLAN = small_plan()
FIRST, SECOND = (e for e in PLAN.experiments if not e.golden)
NETWORK = Verdict(
    state=State.JUDGED,
    reasons=("unreachable",),
    orchestrator=OrchestratorFailure.NETWORK,
    client=ClientFailure.UNREACHABLE,
    activation=Activation.EFFECTIVE,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One finding, one experiment that is not finished."""
    monkeypatch.chdir(tmp_path)
    with create_run(tmp_path / "runs" / "mine", SPEC, PLAN, {"started": "2026-03-02T09:14:03+00:00"}) as made:
        made.add(record(FIRST, verdict=NETWORK))
    return made.folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(export.command, list(arguments), catch_exceptions=False)


def counted(text: str | bytes) -> tuple[str, str, str]:
    (suite,) = ET.fromstring(text)
    return suite.attrib["tests"], suite.attrib["failures"], suite.attrib["skipped"]


def test_a_run_is_written_to_standard_output(run: Path) -> None:
    result = invoke("mine", "--format", "junit")
    assert counted(result.stdout_bytes) == ("2", "1", "1")
    assert b'timestamp="2026-03-02T09:14:03+00:00"' in result.stdout_bytes


def test_a_file_is_written_whole_and_for_its_owner_only(run: Path, tmp_path: Path) -> None:
    assert invoke("--format", "junit", "-o", "out.xml").output == ""
    made = tmp_path / "out.xml"
    assert counted(made.read_bytes()) == ("2", "1", "1")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.xml", "runs"]
    with pytest.raises(InputError, match="can't be written"):
        invoke("--format", "junit", "-o", "nowhere/out.xml")


@pytest.mark.parametrize(("at_most", "failures"), [("0", "1"), ("1", "0")])
def test_with_a_policy_failures_are_what_breaks_its_limits(
    run: Path, tmp_path: Path, at_most: str, failures: str
) -> None:
    (tmp_path / "gate.yaml").write_text(f"limits: [{{class: network, at_most: {at_most}}}]")
    output = invoke("--format", "junit", "--policy", "gate.yaml").stdout_bytes
    assert counted(output) == ("2", failures, "1")
    assert (b"limit: network or graver: at most 0, found 1 of 1 judged" in output) is (failures == "1")


def test_a_format_that_there_is_not_is_refused_with_those_there_are(run: Path) -> None:
    result = invoke("--format", "junet")
    assert result.exit_code == 2
    assert "no format 'junet'; there are: junit" in " ".join(result.output.split())


def test_no_value_of_a_secret_is_exported(tmp_path: Path) -> None:
    target = Target(kind="Secret", identity="Secret/default/s", field="data[password]")
    rule = Rule(
        id=FIRST.id, channel=Channel.AT_REST_WRITE, model="value-set", target=target, parameters={"value": "hunter3"}
    )
    seen = faulty(firings=(firing(key="/registry/secrets/default/s", field_before="hunter2", field_after="hunter3"),))
    planned = replace(FIRST, rule=rule)
    with create_run(tmp_path / "r", SPEC, replace(PLAN, experiments=(planned,)), {}) as run:
        run.add(record(planned, observation=seen, verdict=NETWORK))
    made = invoke(str(tmp_path / "r"), "--format", "junit").stdout_bytes
    assert b"Secret default/s" in made
    assert b"hunter" not in made
