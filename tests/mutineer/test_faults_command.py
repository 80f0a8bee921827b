"""`mutineer faults`: the models as people and scripts read them."""

from __future__ import annotations

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from failure_db.catalogue import load
from injector.faults import MODELS
from mutineer.cli import main
from mutineer.commands.faults import _sheet, _table, command


def run(*args: str) -> str:
    result = CliRunner().invoke(command, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_model_is_listed_with_what_it_does() -> None:
    lines = [line.split("\t") for line in run("list").splitlines()]
    assert [line[0] for line in lines] == [model.name for model in MODELS]
    assert ["truncate", "either", "the end is missing"] in lines


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_is_shown_with_its_parameters_and_incidents_that_exist(name: str) -> None:
    shown = json.loads(run("show", name, "--json"))["model"]
    assert set(shown["incidents"]) <= {incident.id for incident in load()}
    assert shown["summary"] and shown["causes"]
    text = run("show", name)
    assert all(words in " ".join(text.split()) for words in (name, shown["summary"], shown["causes"][0]["words"]))


def test_parameters_are_told() -> None:
    assert "`keep`  how many bytes are left" in json.loads(run("show", "truncate", "--json"))["model"]["details"]


@pytest.mark.parametrize("width", [80, 140])
def test_tables_fit(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(_table())
    console.print(_sheet(MODELS["value-set"]))
    assert isinstance(console.file, io.StringIO)
    assert max(len(line.rstrip()) for line in console.file.getvalue().splitlines()) <= width


def test_an_unknown_model_is_told_with_a_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["faults", "show", "bitflip"])
    assert ended.value.code == 2
    assert "no fault model 'bitflip'; did you mean 'bit-flip'?" in capsys.readouterr().err
