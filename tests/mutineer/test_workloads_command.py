"""`mutineer workloads`: the list, one of them in words, and a folder's problems."""

from __future__ import annotations

import io
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from rich.console import Console

from campaigns import workloads
from campaigns.workloads import WORKLOADS, Registry
from campaigns.workloads.deploy import DEPLOY
from campaigns.workloads.documents import parse_workload
from campaigns.workloads.failover import FAILOVER
from mutineer.cli import cli, main
from mutineer.commands.workloads import _sheet, command

SHOP = Path(__file__).parents[2] / "examples/manifests/shop"


def run(*args: str) -> str:
    result = CliRunner().invoke(command, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_in_a_pipe_the_list_is_a_workload_a_line_with_a_tab_between() -> None:
    lines = [line.split("\t") for line in run().splitlines()]
    assert [name for name, _ in lines] == list(WORKLOADS.names())
    assert dict(lines)["deploy"] == DEPLOY.summary


def test_one_is_told_in_words_from_before_to_what_is_wanted() -> None:
    facts = [tuple(line.split("\t")) for line in run("failover").splitlines()]
    assert facts[0] == ("name", "failover")
    assert ("before", "create Deployment/default/web") in facts
    assert facts.index(("then", "kill node node-2")) < facts.index(("then", "wait until Node/node-2 Ready=Unknown"))
    assert ("done when", "6 pods in default are ready on nodes other than node-2") in facts
    assert ("probed", "Service default/web") in facts and ("not probed", "from node-2, which is off") in facts
    assert facts[-1] == ("nodes", "at least 2") and ("wanted pods", "6") in facts
    assert "wanted pods\t0 and 1 a node\n" in run("daemonset")


def test_on_a_terminal_each_part_is_named_once() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(_sheet(FAILOVER))
    assert out.getvalue().count("then") == 1 and "kill node node-2" in out.getvalue()


@pytest.mark.parametrize("name", WORKLOADS.names())
def test_the_json_of_each_is_a_document_of_the_same_workload(name: str) -> None:
    found = json.loads(run(name, "--json"))
    assert found["schema"] == 1
    (document,) = found["workloads"]
    assert parse_workload(document, file="x") == WORKLOADS[name]


def test_a_folder_is_read_as_a_campaign_would_read_it() -> None:
    assert "then\tcreate Site/shop/news\n" in run(str(SHOP))


def test_a_name_that_is_none_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["workloads", "fail-over"])
    assert ended.value.code == 2
    assert "no workload and no folder 'fail-over'; did you mean 'failover'?" in capsys.readouterr().err


def test_a_broken_plugin_is_told_of_and_the_others_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("shop", "shop_nowhere:X", "mutineer.workloads")
    monkeypatch.setattr(workloads, "WORKLOADS", Registry((DEPLOY,), entry_points=lambda: [point]))
    result = CliRunner().invoke(command, [])
    assert result.stdout.splitlines() == [f"deploy\t{DEPLOY.summary}"]
    assert "warning: entry point shop (shop_nowhere:X)" in result.stderr


def test_names_are_completed() -> None:
    completed = ShellComplete(cli, {}, "mutineer", "_X").get_completions(["workloads"], "roll")
    assert [item.value for item in completed] == ["rolling-update", "rollback"]
