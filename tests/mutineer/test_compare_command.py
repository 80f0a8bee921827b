from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.store import create_run
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.errors import InputError
from mutineer.commands import compare
from tests.campaigns.builders import SPEC, record, small_plan

PLAN = small_plan()
FIRST, SECOND = (e for e in PLAN.experiments if not e.golden)


def verdict(orchestrator: str, client: str = "none") -> Verdict:
    return Verdict(
        state=State.JUDGED,
        reasons=("as built",),
        orchestrator=OrchestratorFailure(orchestrator),
        client=ClientFailure(client),
        activation=Activation.EFFECTIVE,
    )


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs: of the second, the first experiment ended worse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    for name, first, version in (("before", "none", "1.36.3"), ("after", "stall", "1.37.0")):
        with create_run(tmp_path / "runs" / name, SPEC, PLAN, {"versions": {"kubernetes": version}}) as run:
            run.add(record(PLAN.experiments[0]))
            run.add(record(FIRST, verdict=verdict(first)))
            run.add(record(SECOND, verdict=verdict("network", "unreachable")))


def invoke(*arguments: str) -> str:
    return CliRunner().invoke(compare.command, list(arguments), catch_exceptions=False).output


def test_what_changed_stands_first_then_the_shares_then_what_can_not_be_told() -> None:
    lines = [" ".join(line.split()) for line in invoke("before", "after").splitlines()]
    assert lines[0] == "before → after: 2 experiments were judged in both; 1 ended otherwise, 1 of them worse"
    change = lines.index(f"{FIRST.id} none, clients none → stall, clients none")
    assert lines[change + 1].startswith("Set spec.selector[app] of Service default/web to a wrong value")
    stall = next(line for line in lines if line.startswith("stall "))
    assert stall == "stall 0 of 2: 0.0% [0.0, 65.8] 1 of 2: 50.0% [9.5, 90.5] +50.0 [-27.3, +90.5] 1.000"
    assert any(line.startswith("clients unreachable 1 of 2") for line in lines)
    assert not any(line.startswith("outage") for line in lines)
    told = lines[lines.index("What this can't tell") :]
    assert "The versions differ: kubernetes 1.36.3 → 1.37.0." in told


def test_the_json_says_the_same() -> None:
    found = json.loads(invoke("before", "after", "--json"))
    assert (found["schema"], found["a"], found["b"], found["judged_in_both"]) == (1, "before", "after", 2)
    (change,) = found["changed"]
    assert (change["id"], change["worse"]) == (FIRST.id, True)
    assert change["b"] == {"verdict": "judged", "orchestrator": "stall", "client": "none"}
    rates = {(rate["of"], rate["class"]): rate for rate in found["rates"]}
    assert len(rates) == len(OrchestratorFailure) + len(ClientFailure)
    stall = rates["orchestrator", "stall"]
    assert (stall["a"]["count"], stall["b"]["count"], stall["change"]["estimate"]) == (0, 1, 0.5)
    assert stall["pairs"] == {"both": 0, "only_a": 0, "only_b": 1, "neither": 1}
    assert found["caveats"][0] == "The versions differ: kubernetes 1.36.3 → 1.37.0."


def test_a_run_with_itself_has_no_change() -> None:
    output = invoke("before", "before")
    assert "2 experiments were judged in both; 0 ended otherwise" in output
    assert FIRST.id not in output


def test_a_run_that_there_is_not_is_said_to_be() -> None:
    with pytest.raises(InputError, match="no run 'nightly'"):
        invoke("before", "nightly")
