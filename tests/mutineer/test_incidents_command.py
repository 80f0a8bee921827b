"""`mutineer incidents`: what is printed, for people and for scripts, and what wrong names are told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from campaigns.planning.plan import Plan
from campaigns.store import create_run
from failure_db.catalogue import load
from mutineer.cli import main
from mutineer.commands.incidents import _facts, _sheet, command
from tests.mutineer.report_builders import quickstart_records


def run(*args: str) -> str:
    result = CliRunner().invoke(command, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quick"
    records = quickstart_records()
    with create_run(folder, "name: quick\n", Plan("quick", 7, tuple(r.planned for r in records)), {}) as made:
        for record in records:
            made.add(record)
    return folder


def test_in_a_pipe_a_list_is_one_incident_a_line_with_tabs_between() -> None:
    lines = run("list").splitlines()
    assert len(lines) == len(load())
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_filters_add_up() -> None:
    found = json.loads(run("list", "--failure", "network", "--kind", "service", "--replicable", "yes", "--json"))
    assert found["schema"] == 1
    ids = {incident["id"] for incident in found["incidents"]}
    assert "duplicate-clusterip-api-service-2022" in ids
    assert ids == {
        incident.id
        for incident in load()
        if "network" in incident.failure and "Service" in incident.objects and incident.replicable == "yes"
    }
    assert json.loads(run("list", "--text", "no such words anywhere", "--json")) == {"schema": 1, "incidents": []}


def test_one_incident_is_shown_whole_with_its_source_in_one_piece() -> None:
    shown = run("show", "etcd-node-invalid-json-blocks-list")
    assert "https://github.com/kubernetes/kubernetes/issues/69579\n" in shown
    assert "state-retrieval: the stored state could not be read" in shown
    assert "status.conditions (status.conditions (raw bytes))" in shown
    assert all(line.count("\t") == 1 for line in shown.splitlines())


def test_every_incident_can_be_shown() -> None:
    for incident in load():
        facts = dict(_facts(incident))
        assert (facts["title"], facts["source"]) == (incident.title, incident.url)
        with Console(file=io.StringIO(), width=70) as console:
            console.print(_sheet(incident))
            assert len(console.file.getvalue().splitlines()) < 45  # type: ignore[attr-defined]


def test_an_unknown_id_is_told_its_neighbours_with_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["incidents", "show", "etcd-node-invalid-json-block-list"])
    assert caught.value.code == 2
    assert "did you mean etcd-node-invalid-json-blocks-list" in capsys.readouterr().err


def test_a_described_fault_is_matched_without_a_run() -> None:
    args = ("match", "--kind", "Service", "--field", "spec.selector[app]", "--class", "network")
    assert "srecon-rogue-operator-services-2022" in run(*args)
    found = json.loads(run(*args, "--client", "unreachable", "--top", "1", "--json"))
    assert [set(match) for match in found["incidents"]] == [{"id", "score", "why"}]


def test_a_fault_like_no_incident_is_told_so() -> None:
    assert "no incident looks like this" in run("match", "--kind", "Widget", "--class", "timing")


def test_the_experiments_of_a_run_are_matched_and_golden_runs_are_not_listed(stored_run: Path) -> None:
    found = json.loads(run("match", str(stored_run), "--json"))["experiments"]
    faults = [record for record in quickstart_records() if not record.planned.golden]
    assert [entry["id"] for entry in found] == [record.planned.id for record in faults]
    expected = [[match.id for match in record.incidents] for record in faults]
    assert [[match["id"] for match in entry["incidents"]] for entry in found] == expected
    text = run("match", str(stored_run), "--experiment", "e4b81c02")
    assert text.startswith("e4b81c02  bit-flip spec.selector[app] of Service/default/web  →  network\n")
    assert len(text.splitlines()) == 1 + 2 * len(faults[0].incidents)


def test_an_unknown_experiment_is_told_its_neighbours(stored_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["incidents", "match", str(stored_run), "--experiment", "e4b81c03"])
    assert caught.value.code == 2
    assert "did you mean e4b81c02" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("match",), "name a RUN, or describe"),
        (("match", "--kind", "Pod"), "at least --kind and --class"),
        (("match", "some-run", "--kind", "Pod"), "not both"),
        (("match", "--experiment", "e1"), "needs the RUN"),
        (("match", "--kind", "Pod", "--class", "none"), "none"),
    ],
)
def test_wrong_usage_says_what_is_missing(args: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(command, list(args))
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("args", [(), ("list",), ("show",), ("match",)])
def test_every_help_text_has_an_example(args: tuple[str, ...]) -> None:
    assert "mutineer incidents" in run(*args, "--help").partition("Example")[2]
