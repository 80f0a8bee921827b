"""`mutineer plan` and `mutineer record`: what they print, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.planning.plan import Plan, plan_from_json
from injector.errors import InputError
from mutineer.commands.plan import command
from mutineer.commands.record import command as record

SPEC = "name: few\nsample: {budget: 4, strata: [model], targets: {kinds: [Service]}}\n"


@pytest.fixture
def few(tmp_path: Path) -> str:
    path = tmp_path / "few.yaml"
    path.write_text(SPEC)
    return str(path)


def ran(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def planned(*arguments: str) -> Plan:
    return plan_from_json(ran(*arguments, "--json").stdout)


def test_it_prints_strata_what_was_left_out_and_how_long_it_takes(few: str) -> None:
    text = ran(few, "--parallelism", "3").stdout
    assert text.startswith("few: 24 experiments, 20 of them golden runs; seed 1\n")
    for words in (
        "bit-flip",
        "population",
        "planned",
        "weight",
        "left out:",
        "wrong values that the field has already",
    ):
        assert words in text
    assert re.search(r"min on 3 sandboxes, .*\(deploy [0-9.]+ s\)", text)


def test_json_is_the_plan_and_a_seed_can_be_given(few: str, tmp_path: Path) -> None:
    text = ran(few, "--json").stdout
    assert json.loads(text)["schema"] == 2 and ran(few, "--json").stdout == text
    ran(few, "--out", str(tmp_path / "plan.json"))
    assert (tmp_path / "plan.json").read_text() == text
    assert planned(few, "--seed", "9").seed == 9
    assert {e.id for e in planned(few, "--seed", "9").experiments} != {e.id for e in planned(few).experiments}


def test_a_preset_without_a_sample_is_planned_too() -> None:
    text = ran("quickstart").stdout
    assert "40 experiments, 10 of them golden runs" in text and "on such a cluster" not in text
    faults = [each for each in planned("quickstart").experiments if not each.golden]
    assert all(f"  {each.id}  deploy: {each.why}" in text for each in faults), "their ids are what --explain takes"
    assert "may never fire" not in text and "(deploy " in text


def test_a_named_fault_that_meets_nothing_in_a_golden_run_is_told(tmp_path: Path) -> None:
    spec = tmp_path / "typo.yaml"
    spec.write_text(
        "name: typo\ngolden: 4\nfaults:\n- why: of another name\n  channel: apiserver-to-etcd\n  model: drop\n"
        "  target: {kind: Deployment, identity: Deployment/default/wub}\n"
    )
    text = ran(str(spec)).stdout
    assert "may never fire: e" in text and "no Deployment/default/wub that it fires on" in text


def test_all_that_is_drawn_is_listed_if_asked_for(few: str) -> None:
    faults = [each for each in planned(few).experiments if not each.golden]
    listed = ran(few, "--list").stdout
    assert all(each.id in listed for each in faults)
    assert not any(each.id in ran(few).stdout for each in faults)


def test_explain_tells_one_experiment_as_a_sentence_with_its_bytes(few: str) -> None:
    for each in planned(few).experiments:
        text = ran(few, "--explain", each.id).stdout
        assert text.startswith(f"{each.id}: ")
        if each.rule is not None and each.rule.model != "drop":
            assert f"object  {each.rule.target.identity}" in text and "nothing: a dry run" in text
            assert f"Stratum {each.stratum}: " in text and "\n+ " in text
    named = ran("quickstart", "--explain", next(e.id for e in planned("quickstart").experiments if not e.golden)).stdout
    assert "object  " in named
    elsewhere = ran(
        "quickstart", "--recordings", str(Path(few).parent), "--explain", planned("quickstart").experiments[-1].id
    )
    assert "there is no recording of deploy that could show the bytes" in elsewhere.stdout


def test_what_can_not_be_planned_is_said(few: str, tmp_path: Path) -> None:
    Path(few).write_text("name: few\ncluster: {nodes: 2}\nsample: {budget: 4}\n")
    with pytest.raises(
        InputError, match=r"no recording of deploy on such a cluster; `mutineer record .*few.yaml` makes"
    ):
        ran(few)
    with pytest.raises(InputError, match="expected one experiment's id, got 'zz': none begins so"):
        ran("quickstart", "--explain", "zz")
    with pytest.raises(InputError, match="there is no such file; presets are: dependencies, networking, paper"):
        ran("nothing.yaml")
    with pytest.raises(InputError, match="no recording of deploy"):
        ran("smoke", "--recordings", str(tmp_path))


def test_record_wants_to_know_what() -> None:
    for arguments in ([], ["deploy", "--all"]):
        result = CliRunner().invoke(record, arguments)
        assert result.exit_code == 2 and "expected WORKLOAD, SPEC or --all" in result.output
    with pytest.raises(InputError, match="there is no such file"):
        CliRunner().invoke(record, ["nothing"], catch_exceptions=False)
