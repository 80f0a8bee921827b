"""The main job, end to end, in small: a campaign from a spec to verdicts, report and JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.store import open_run

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(400)]

SPEC = """
name: small
golden: 4
parallelism: 2
faults:
  - why: network
    channel: apiserver-to-etcd
    model: value-set
    parameters: {value: wax}
    target: {kind: Service, identity: Service/default/web, field: "spec.selector[app]"}
  - why: more-resources
    channel: apiserver-to-etcd
    model: bit-flip
    parameters: {bit: 3}
    target: {kind: Deployment, identity: Deployment/default/web, field: spec.replicas}
  - why: less-resources
    channel: apiserver-to-etcd
    model: drop
    parameters: {told: success}
    target: {kind: Pod, identity: "Pod/default/web#3"}
  - why: stall
    channel: at-rest-write
    model: byte-flip
    parameters: {part: raw, offset: 0, xor: 5}
    target: {kind: Deployment, identity: Deployment/default/web}
  - why: never fires
    channel: apiserver-to-etcd
    model: value-set
    parameters: {value: 3}
    target: {kind: Deployment, identity: Deployment/default/nosuch, field: spec.replicas}
"""


def mutineer(*arguments: str, cwd: Path) -> str:
    command = [sys.executable, "-m", "mutineer", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def run(binaries: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One small campaign, run once for all tests of this module."""
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "small.yaml").write_text(SPEC)
    mutineer("run", "small.yaml", "--name", "small", cwd=folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shown(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(mutineer("show", "small", "--json", cwd=run))
    return document


def test_what_show_prints_fits_the_schema_that_ships(run: Path, shown: dict[str, Any]) -> None:
    schema = json.loads(mutineer("schema", "show", cwd=run))
    jsonschema.validate(shown, schema)
    assert shown["schema"] == 1
    assert shown["summary"]["experiments"] == 5


def test_golden_runs_report_no_failure(run: Path, shown: dict[str, Any]) -> None:
    assert [golden["verdict"] for golden in shown["golden"]] == ["judged"] * 4
    with open_run(run / "runs" / "small") as opened:
        classes = [r.verdict.orchestrator for r in opened.records(observations=False) if r.planned.golden]
    assert [str(c) for c in classes] == ["none"] * 4


def test_each_fault_ends_in_the_class_that_it_was_chosen_for(run: Path, shown: dict[str, Any]) -> None:
    with open_run(run / "runs" / "small") as opened:
        expected = {planned.id: planned.why for planned in opened.plan.experiments if planned.rule}
    found = {e["id"]: e["orchestrator"] or e["activation"] for e in shown["experiments"]}
    assert found == {i: "not-fired" if why == "never fires" else why for i, why in expected.items()}


def test_a_fault_that_never_fired_is_inconclusive_and_says_so(shown: dict[str, Any]) -> None:
    (experiment,) = [e for e in shown["experiments"] if e["activation"] == "not-fired"]
    assert experiment["verdict"] == "inconclusive"
    assert experiment["orchestrator"] is None and experiment["client"] is None
    assert any("not fired" in reason for reason in experiment["reasons"])


def test_exactly_one_field_was_changed_and_nothing_else(run: Path) -> None:
    with open_run(run / "runs" / "small") as opened:
        fired = {r.planned.why: r.observation.firings for r in opened.records() if r.observation}
    (firing,) = fired["network"]
    assert (firing.field_before, firing.field_after) == ("web", "wax")
    assert len(firing.before) == len(firing.after)
    differing = [i for i, (a, b) in enumerate(zip(firing.before, firing.after, strict=True)) if a != b]
    assert len(differing) == 2, "web → wax: two bytes"
    assert firing.accepted
    (lost,) = fired["less-resources"]
    assert lost.operation == "drop" and lost.after == b"" and lost.told == "success"


def test_a_rollback_is_proven_and_a_stalled_cluster_replaced(shown: dict[str, Any]) -> None:
    rungs = {e["orchestrator"]: e["reset"]["rung"] for e in shown["experiments"] if e["orchestrator"]}
    assert rungs["network"] == "rollback"
    assert rungs["stall"] == "recreate"


def test_findings_look_like_incidents_and_the_report_tells_them(run: Path, shown: dict[str, Any]) -> None:
    network = next(e for e in shown["experiments"] if e["orchestrator"] == "network")
    assert network["incidents"] and network["incidents"][0]["why"]
    html = (run / "runs" / "small" / "report.html").read_text()
    assert all(e["id"] in html for e in shown["experiments"])
    assert network["incidents"][0]["id"] in html


def test_nothing_is_left_when_it_is_over(run: Path) -> None:
    assert not [name for name in outside.running() if name.startswith("run-")]
