"""`mutineer shares`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.judging.shares import DIMENSIONS, Base, Group
from campaigns.store import create_run
from mutineer.commands import shares
from tests.campaigns.builders import SPEC, record, small_plan


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    plan = small_plan()
    with create_run(tmp_path / "runs/mine", SPEC, plan, {}) as made:
        for planned in plan.experiments:
            made.add(record(planned))
    return made.folder


def invoke(*arguments: str) -> str:
    return CliRunner().invoke(shares.command, list(arguments), catch_exceptions=False).output


def test_the_table_has_a_row_a_role_and_the_paper_s_figures(run: Path) -> None:
    output = invoke("mine")
    assert "failures by role, of the fired experiments" in output
    assert all(word in output for word in ("dependency", "whole message", "all", "the paper", "24 %"))
    assert all(len(line) <= 100 for line in output.splitlines())


def test_as_json_each_row_has_its_shares_with_their_intervals(run: Path) -> None:
    found = json.loads(invoke("--by", "kind", "--of", "planned", "--json"))
    assert (found["schema"], found["by"], found["of"]) == (1, "kind", "planned")
    assert [row["name"] for row in found["rows"]][-1] == "all"
    assert set(found["rows"][0]["shares"]) == {group.value for group in Group} and found["caveats"]


def test_the_choices_are_those_that_there_are() -> None:
    assert set(shares.BY) == set(DIMENSIONS) and list(shares._BASES) == [base.value for base in Base]
