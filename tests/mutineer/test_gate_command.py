from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.record import PlannedExperiment
from campaigns.store import create_run
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.errors import InputError
from mutineer.commands import gate
from tests.campaigns.builders import SPEC, record, small_plan

PLAN = small_plan()
FAULTS = [e for e in PLAN.experiments if not e.golden]

Make = Callable[..., None]


def verdict(orchestrator: str = "none", client: str = "none") -> Verdict:
    return Verdict(
        state=State.JUDGED,
        reasons=("as built",),
        orchestrator=OrchestratorFailure(orchestrator),
        client=ClientFailure(client),
        activation=Activation.EFFECTIVE,
    )


NOT_FIRED = Verdict(state=State.INCONCLUSIVE, reasons=("it did not fire",), activation=Activation.NOT_FIRED)
ERROR = Verdict(state=State.ERROR, reasons=("the sandbox broke",))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes runs/mine, with these verdicts of its two experiments (None: not finished)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def made(*verdicts: Verdict | None, golden: Verdict | None = None) -> None:
        with create_run(tmp_path / "runs" / "mine", SPEC, PLAN, {}) as run:
            for planned in PLAN.experiments:
                if planned.golden:
                    run.add(record(planned, verdict=golden or verdict()))
            for planned, each in zip(FAULTS, verdicts, strict=True):
                if each is not None:
                    run.add(_record(planned, each))

    return made


def _record(planned: PlannedExperiment, each: Verdict):  # type: ignore[no-untyped-def]
    changes = {"observation": None, "error": "Traceback"} if each.state is State.ERROR else {}
    return record(planned, verdict=each, **changes)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(gate.command, list(arguments), catch_exceptions=False, standalone_mode=False)


def policy(tmp_path: Path, text: str) -> str:
    (tmp_path / "gate.yaml").write_text(text)
    return str(tmp_path / "gate.yaml")


@pytest.mark.parametrize(
    ("verdicts", "code", "words"),
    [
        ((verdict(), verdict("network", "unreachable")), 0, "the gate passes"),
        ((verdict(), verdict("stall")), 1, "the gate fails"),
        ((verdict(), ERROR), 3, "the gate can't tell: errors"),
        ((verdict(), NOT_FIRED), 4, "the gate is inconclusive"),
        ((verdict(), None), 4, "the gate is inconclusive"),
        ((None, None), 4, "the gate is inconclusive"),
        ((verdict("outage"), ERROR), 1, "the gate fails"),
    ],
)
def test_the_exit_code_says_what_came_of_the_default_policy(
    make: Make, verdicts: tuple[Verdict | None, ...], code: int, words: str
) -> None:
    make(*verdicts)
    result = invoke("mine")
    assert result.return_value == code
    assert words in result.output


def test_the_table_has_what_is_allowed_beside_what_was_found_and_each_offender_its_command(
    make: Make, tmp_path: Path
) -> None:
    make(verdict("network", "unreachable"), NOT_FIRED)
    file = policy(tmp_path, "limits: [{class: network, role: dependency, at_most: 5%, why: as agreed}]")
    output = invoke("mine", "--policy", file).output
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert "network or graver; role dependency (as agreed) at most 5% 1 of 1 judged (100.0%) failed" in rows
    assert "inconclusive at most 5% 1 of 2 finished (50.0%) inconclusive" in rows
    assert f"{FAULTS[0].id} network, clients unreachable" in rows
    assert "Set spec.selector[app] of Service default/web to a wrong value, in its first write to etcd" in rows
    assert f"mutineer show mine {FAULTS[0].id}" in rows
    assert f"{FAULTS[1].id} inconclusive" in rows


def test_an_experiment_that_is_not_finished_is_listed_without_a_command(make: Make) -> None:
    make(verdict(), None)
    output = invoke("mine").output
    assert f"{FAULTS[1].id}  not finished" in output
    assert "mutineer show" not in output


def test_the_json_says_the_same(make: Make, tmp_path: Path) -> None:
    make(verdict("stall"), verdict())
    known = f"known: [{{id: {FAULTS[1].id}, until: 2026-01-01, why: OPS-12}}]"
    file = policy(tmp_path, f"limits: [{{class: stall, at_most: 0}}]\n{known}")
    found = json.loads(invoke("--policy", file, "--json").output)
    assert (found["schema"], found["run"], found["outcome"], found["exit_code"]) == (1, "mine", "failed", 1)
    assert found["checks"][0] == {
        "what": "stall or graver",
        "allowed": "at most 0",
        "found": 1,
        "of": 2,
        "of_what": "judged",
        "outcome": "failed",
        "why": "",
        "experiments": [FAULTS[0].id],
    }
    (offender,) = found["experiments"]
    assert (offender["orchestrator"], offender["show"]) == ("stall", f"mutineer show mine {FAULTS[0].id}")
    assert found["known"] == [{"id": FAULTS[1].id, "until": "2026-01-01", "why": "OPS-12", "state": "no finding"}]


def test_known_findings_and_false_alarms_are_told(make: Make, tmp_path: Path) -> None:
    make(verdict(), verdict(), golden=verdict("timing"))
    file = policy(tmp_path, "limits: [{class: stall, at_most: 0}]\nknown: [{id: e1, until: 2026-01-01, why: OPS-12}]")
    output = " ".join(invoke("mine", "--policy", file).output.split())
    assert "known e1 until 2026-01-01: not planned; take it off the list? (OPS-12)" in output
    assert "4 golden runs were judged with a failure" in output


def test_a_wrong_policy_is_told_before_the_run_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected class or client"):
        invoke("no-such-run", "--policy", policy(tmp_path, "limits: [{at_most: 1}]"))


def test_every_outcome_has_an_exit_code_a_word_and_a_style() -> None:
    from campaigns.judging.gate import Outcome

    words = {outcome.value for outcome in Outcome}
    assert set(gate._CODES) == set(gate._WORDS) == set(gate._STYLES) == words
