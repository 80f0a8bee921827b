"""What the writes of an experiment changed, from the trace that is stored with it."""

from __future__ import annotations

import json
from dataclasses import replace as replaced
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.store import create_run
from classifiers.observation import Write
from classifiers.trace import Step, Trace, Withheld, trace_to_bytes
from injector.codec import encode_value, locate, replace
from injector.errors import StoreError
from mutineer.commands import show
from mutineer.history import history_document
from tests.builders import faulty
from tests.campaigns.builders import SPEC, record, small_plan
from tests.injector.stored import KEYS, golden


def write(revision: int, at_s: float, key: str, identity: str, operation: str, size_bytes: int) -> Write:
    return Write(
        revision=revision, at_s=at_s, key=key, kind=identity.partition("/")[0], identity=identity, operation=operation,
        size_bytes=size_bytes,
    )  # fmt: skip


PLAN = small_plan()
FAULT = next(each for each in PLAN.experiments if not each.golden)
WEB, SECRET = "Deployment/default/web", "Secret/default/web"
BEFORE = golden("deployment")
FIELD = locate(BEFORE, "spec.replicas")
AFTER = replace(BEFORE, FIELD, encode_value(FIELD, 11))
VALUES = (
    (KEYS["deployment"], WEB, "update", AFTER),
    (KEYS["secret"], SECRET, "update", Withheld(12, "d", "a Secret's")),
    (KEYS["deployment"], WEB, "delete", None),
)
WRITES = tuple(
    write(10 + n, n / 4, key, identity, operation, 12 if value else 0)
    for n, (key, identity, operation, value) in enumerate(VALUES)
)
TRACE = Trace(
    r0=9,
    before={KEYS["deployment"]: BEFORE, KEYS["secret"]: golden("secret")},
    steps=tuple(Step(10 + n, n / 4, key, value) for n, (key, _, _, value) in enumerate(VALUES)),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with create_run(tmp_path / "runs/mine", SPEC, PLAN, {}) as made:
        made.add(record(FAULT, observation=faulty(writes=WRITES)), trace=trace_to_bytes(TRACE))
    return made.folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(show.command, ["mine", *arguments])


def test_each_write_is_told_with_the_fields_that_it_changed(run: Path) -> None:
    lines = invoke(FAULT.id, "--history").output.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "0.00 s 10 update Deployment/default/web 12 bytes",
        f"spec.replicas: {FIELD.value} → 11",
        "0.25 s 11 update Secret/default/web 12 bytes",
        "0.50 s 12 delete Deployment/default/web",
    ]


def test_as_json_every_changed_field_is_there_and_nothing_of_a_secret(run: Path) -> None:
    told = json.loads(invoke(FAULT.id, "--history", "--json").output)
    assert told["experiment"]["id"] == FAULT.id
    update, secret, gone = told["history"]
    assert (update["key"], update["changed"]) == (KEYS["deployment"], {"spec.replicas": [FIELD.value, 11]})
    assert secret["changed"] is None
    assert gone["changed"]["spec.replicas"] == [11, None]


def test_a_secret_under_a_wrong_key_is_not_shown_either() -> None:
    value = golden("secret")
    trace = Trace(r0=9, before={"/registry/things/a": None}, steps=(Step(10, 0.0, "/registry/things/a", value),))
    seen = faulty(writes=(write(10, 0.0, "/registry/things/a", "Thing/a", "create", len(value)),))
    (told,) = history_document(seen, trace)
    assert isinstance(told, dict) and told["changed"] is None


def test_without_a_trace_the_writes_are_told_and_another_s_trace_is_refused(run: Path) -> None:
    seen = faulty(writes=WRITES)
    assert [told["changed"] for told in history_document(seen, None) if isinstance(told, dict)] == [None] * 3
    *_, last = history_document(seen, replaced(TRACE, steps=TRACE.steps[:2]))
    assert isinstance(last, dict) and last["changed"] is None, "a write that came after the trace was taken"
    with pytest.raises(StoreError, match=r"the trace has other writes \(2\) than the observation \(3\)"):
        history_document(seen, replaced(TRACE, steps=TRACE.steps[1:]))


def test_it_is_of_one_experiment(run: Path) -> None:
    assert "--history is of one EXPERIMENT" in invoke("--history").output
