"""`mutineer propagation`, on a stored run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.store import create_run
from mutineer.commands import propagation
from tests.builders import faulty, firing, goldens
from tests.campaigns.builders import SPEC, record
from tests.mutineer.test_aftermath import FAULT, KEY, PLAN, VALUE, WRITES, trace_of, with_replicas


@pytest.fixture
def run(tmp_path: Path) -> Path:
    fired = firing(
        key=KEY, identity="Deployment/default/web", field="spec.replicas", revision=10, field_before=3, field_after=6
    )
    with create_run(tmp_path / "mine", SPEC, PLAN, {}) as made:
        for planned in (each for each in PLAN.experiments if each.golden):
            made.add(record(planned, observation=goldens(1)[0]), trace=trace_of(VALUE))
        made.add(record(FAULT, observation=faulty(writes=WRITES, firings=(fired,))), trace=trace_of(with_replicas(11)))
    return tmp_path / "mine"


def test_the_table_fits_80_columns_and_json_has_the_same(run: Path) -> None:
    output = CliRunner().invoke(propagation.command, [str(run)]).output
    assert all(len(line) <= 80 for line in output.splitlines()), output
    words = " ".join(output.split())
    assert "how far faults got, by role" in words and "all 1 1 0 1 (1.0 s) 0" in words, output
    told = json.loads(CliRunner().invoke(propagation.command, [str(run), "--by", "kind", "--json"]).output)
    assert (told["schema"], told["by"]) == (1, "kind")
    one, everything = told["rows"]
    assert (one["name"], everything["name"]) == ("Service", "all")
    assert (one["experiments"], one["stored"], one["healed"], one["taken"]) == (1, 1, 1, 0)


def test_a_run_without_traces_says_so(tmp_path: Path) -> None:
    with create_run(tmp_path / "mine", SPEC, PLAN, {}) as made:
        made.add(record(FAULT))
    result = CliRunner().invoke(propagation.command, [str(tmp_path / "mine")])
    assert "no fault fired in an experiment that has a trace" in result.output
