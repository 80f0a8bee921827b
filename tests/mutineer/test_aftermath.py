"""What `show` tells of how an experiment ended, by traces of golden runs as they are stored."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from campaigns.store import create_run
from classifiers.observation import Write
from classifiers.trace import Step, Trace, trace_to_bytes
from injector.codec import encode_value, locate, replace
from mutineer.commands import show
from tests.builders import faulty, firing, goldens
from tests.campaigns.builders import SPEC, record, small_plan
from tests.injector.stored import KEYS, golden

PLAN = small_plan()
FAULT = next(each for each in PLAN.experiments if not each.golden)
KEY = KEYS["deployment"]
VALUE = golden("deployment")


def with_replicas(count: int) -> bytes:
    field = locate(VALUE, "spec.replicas")
    return replace(VALUE, field, encode_value(field, count))


def trace_of(value: bytes | None) -> bytes:
    return trace_to_bytes(Trace(r0=9, before={KEY: None}, steps=(Step(10, 1.5, KEY, VALUE), Step(11, 2.5, KEY, value))))


WRITES = tuple(
    Write(
        revision=revision, at_s=1.5, key=KEY, kind="Deployment", identity="Deployment/default/web", operation="update",
        size_bytes=9,
    )
    for revision in (10, 11)
)  # fmt: skip


def told(folder: Path, value: bytes | None, *, traces: bool = True, field: str | None = None) -> str:
    """What `show` says of an experiment that left `value`, where golden runs left VALUE."""
    fired = firing(key=KEY, identity="Deployment/default/web", field=field, revision=11)
    with create_run(folder / "runs/mine", SPEC, PLAN, {}) as run:
        for number, planned in enumerate(each for each in PLAN.experiments if each.golden):
            seen = dataclasses.replace(goldens(4)[number], writes=WRITES)
            run.add(record(planned, observation=seen), trace=trace_of(VALUE) if traces else None)
        run.add(record(FAULT, observation=faulty(writes=WRITES, firings=(fired,))), trace=trace_of(value))
    return " ".join(CliRunner().invoke(show.command, [str(folder / "runs/mine"), FAULT.id]).output.split())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_field_that_ended_otherwise_is_told_with_what_golden_runs_had(tmp_path: Path) -> None:
    before = locate(VALUE, "spec.replicas").value
    words = f"What ended otherwise Deployment/default/web: spec.replicas 11, golden {before} (since 2.5 s, by "
    assert words in told(tmp_path, with_replicas(11))


def test_an_object_that_is_gone_is_told(tmp_path: Path) -> None:
    words = "What ended otherwise Deployment/default/web is not there, in golden runs always"
    assert words in told(tmp_path, None)


def test_nothing_is_told_where_nothing_differs_or_golden_runs_have_no_traces_or_it_is_the_fault_itself(
    tmp_path: Path,
) -> None:
    assert "ended otherwise" not in told(tmp_path / "a", VALUE)
    assert "ended otherwise" not in told(tmp_path / "b", with_replicas(11), traces=False)
    assert "ended otherwise" not in told(tmp_path / "c", with_replicas(11), field="spec.replicas")


def test_json_has_the_same_object_by_object(tmp_path: Path) -> None:
    told(tmp_path, with_replicas(11))
    (ended,) = json.loads(CliRunner().invoke(show.command, [str(tmp_path / "runs/mine"), FAULT.id, "--json"]).output)[
        "aftermath"
    ]["ended"]
    assert (ended["what"], ended["identity"], ended["field"], ended["value"], ended["at_s"], ended["more"]) == (
        "otherwise", "Deployment/default/web", "spec.replicas", 11, 2.5, 0,
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_trace_that_can_not_be_read_is_said_and_keeps_nothing_from_being_shown(
    tmp_path: Path, options: list[str]
) -> None:
    told(tmp_path, with_replicas(11))
    shutil.rmtree(tmp_path / "runs/mine/traces")
    result = CliRunner().invoke(show.command, [str(tmp_path / "runs/mine"), FAULT.id, *options])
    assert result.exit_code == 0 and FAULT.id in result.output
    assert "what became of the fault is not known" in result.output and "ended" not in result.stdout
