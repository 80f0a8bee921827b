"""`mutineer resume`, `replay` and `rejudge` as far as they need no cluster, and what a shell completes for them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from campaigns.judging.agreement import classes_of
from campaigns.run_folder import RUNS, named_folder
from campaigns.running.campaign import Replayed
from campaigns.running.stopping import Stop
from campaigns.store import create_run
from classifiers.judge import judge
from classifiers.verdict import State, Verdict
from injector.errors import InputError
from mutineer.cli import cli
from mutineer.commands import replay
from mutineer.completing import complete_experiments, complete_runs
from mutineer.exit_codes import ExitCode
from tests.builders import baseline, faulty
from tests.campaigns.builders import SPEC, record, small_plan

PLAN = small_plan()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All of it done; what was judged of the faults is by classifiers that knew nothing."""
    monkeypatch.chdir(tmp_path)
    with create_run(tmp_path / "runs" / "mine", SPEC, PLAN, {}) as made:
        for planned in PLAN.experiments:
            unknown = Verdict(state=State.INCONCLUSIVE, reasons=("who knows",))
            made.add(record(planned) if planned.golden else record(planned, observation=faulty(), verdict=unknown))
    return made.folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=True)


def test_rejudge_tells_what_changed_in_words_and_as_json(run: Path) -> None:
    faults = [planned.id for planned in PLAN.experiments if not planned.golden]
    first = json.loads(invoke("rejudge", "mine", "--json").stdout)
    assert (first["schema"], first["judged"]) == (1, 6)
    assert [(c["id"], c["repeat"], c["before"]["state"], c["after"]["orchestrator"]) for c in first["changes"]] == [
        (each, "", "inconclusive", judge(faulty(), baseline()).orchestrator) for each in faults
    ]
    assert invoke("rejudge", "mine").stdout == "6 judged again: 0 changed class, 0 only their reasons\n"


def test_a_run_that_is_not_there_is_named_with_those_that_are(run: Path) -> None:
    for command in (("resume", "other"), ("replay", "other", "e1"), ("rejudge", "other")):
        error = invoke(*command).exception
        assert isinstance(error, InputError) and "no run 'other'" in str(error) and "mine" in str(error)


@pytest.mark.parametrize("name", ["run", "resume", "replay", "rejudge"])
def test_each_says_what_it_does_with_examples(name: str) -> None:
    output = invoke(name, "--help").output
    assert f"mutineer {name} " in output and "Examples:" in output
    assert all(len(line) <= 100 for line in output.splitlines())


def test_a_replay_tells_each_experiment_in_words_and_as_json(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, lost = (planned for planned in PLAN.experiments if not planned.golden)
    failed = record(lost, observation=None, verdict=Verdict(state=State.ERROR, reasons=("etcd ended",)))
    done = [Replayed(wrong, record(wrong), (record(wrong), record(wrong))), Replayed(lost, None, (failed,))]
    asked = list[object]()

    def replayed(folder: Path, identifiers: object, *_: object, **__: object) -> list[Replayed]:
        asked.append(identifiers)
        return done

    monkeypatch.setattr(replay, "stage", lambda *_: nullcontext(SimpleNamespace(assets={}, view=None, stop=Stop())))
    monkeypatch.setattr("campaigns.running.campaign.replay_experiments", replayed)
    told = invoke("replay", "mine", wrong.id, lost.id, "--times", "2", "--json")
    was = classes_of(record(wrong))
    assert (json.loads(told.stdout), asked) == (
        {
            "schema": 2,
            "experiments": [
                {"id": wrong.id, "was": was, "again": [was, was], "same": 2, "times": 2},
                {"id": lost.id, "was": None, "again": ["error"], "same": None, "times": 1},
            ],
        },
        [(wrong.id, lost.id)],
    )
    words = invoke("replay", "mine", wrong.id, lost.id).stdout
    assert f"{wrong.id}: {wrong.why}" in words and f"2 of 2 as in the run: {was}" in words
    assert "  1 error                        etcd ended\nthe run has not done it yet" in words
    codes = [_code("replay", "mine", "e", "--times", str(times)) for times in (2, 3)]
    done[:] = done[:1]
    codes += [_code("replay", "mine", "e", "--times", str(times)) for times in (2, 3)]
    assert codes == [ExitCode.ENVIRONMENT, ExitCode.ENVIRONMENT, ExitCode.OK, ExitCode.ENVIRONMENT]


def _code(*arguments: str) -> object:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False).return_value


def test_a_shell_completes_runs_and_the_ids_of_the_run(run: Path) -> None:
    context = click.Context(replay.command)
    parameter = replay.command.params[0]
    assert complete_runs(context, parameter, "") == ["mine"] and complete_runs(context, parameter, "x") == []
    context.params = {"run": "mine"}
    ids = [planned.id for planned in PLAN.experiments]
    assert complete_experiments(context, parameter, "") == ids
    assert complete_experiments(context, parameter, "e") == [each for each in ids if each.startswith("e")]
    context.params = {"run": "other"}
    assert complete_experiments(context, parameter, "") == []


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x"])
def test_a_run_s_name_is_that_of_a_folder_directly_below_runs(name: str) -> None:
    with pytest.raises(InputError, match="--name: expected letters, digits"):
        named_folder(name)
    assert named_folder("Nightly_7.2") == RUNS / "Nightly_7.2"
