"""`mutineer report`: from a stored run to a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from campaigns.planning.plan import Plan
from campaigns.store import create_run, open_run
from injector.rules import JSONValue
from mutineer.cli import main
from mutineer.report.source import read_report
from tests.mutineer.report_builders import quickstart_records

METADATA: dict[str, JSONValue] = {
    "versions": {"kubernetes": "1.36.3", "etcd": "3.6.8"},
    "host": {"cores": 2, "memory_bytes": 25_769_803_776, "kernel": "6.18"},
    "cluster": {"kind": "sandbox", "nodes": 3, "profile": "fast"},
    "assets": {"etcd": "go build"},
    "deviations": [
        {"component": "etcd", "setting": "--max-txn-ops", "ours": "10000", "kubeadm": "128", "why": "rollback"},
        "kube-apiserver --default-(not-ready)-x: 300 → 10 (profile fast)",
        "something else",
    ],
    "started": "2026-03-02T09:14:03+01:00",
}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "quick"
    folder.parent.mkdir()
    records = quickstart_records()
    with create_run(folder, "name: quick\n", Plan("quick", 7, tuple(r.planned for r in records)), METADATA) as made:
        for record in reversed(records[:-2]):
            made.add(record)
    return folder


def report(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["report", *args])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_report_is_written_into_the_runs_folder_and_its_path_is_printed(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(stored.parents[1])
    assert report("quick") == 0
    assert capsys.readouterr().out == "runs/quick/report.html\n"
    html = (stored / "report.html").read_text()
    assert "<h1>quick</h1>" in html
    assert "10 of 12 planned" in html  # two have no record yet
    assert not [name for name in os.listdir(stored) if name.startswith(".")]


def test_another_file_can_be_named_and_is_replaced(stored: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.html"
    target.write_text("old")
    assert report(str(stored), "--output", str(target)) == 0
    assert target.read_text().startswith("<!doctype html>")
    assert not (stored / "report.html").exists()


def test_the_report_is_in_the_plans_order_and_takes_metadata_as_it_is_found(stored: Path) -> None:
    with open_run(stored) as run:
        read = read_report(run)
    ids = [record.planned.id for record in quickstart_records() if not record.planned.golden]
    assert [view.id for view in read.experiments] == ids[:-2]
    assert (read.meta.name, read.meta.spec, read.meta.seed, read.meta.planned) == ("quick", "quick", 7, 12)
    assert read.meta.versions["etcd"] == "3.6.8"
    assert read.meta.versions["mutineer"]
    assert read.meta.host == {
        "memory": "24.0 GiB", "cores": "2", "kernel": "6.18", "kind": "sandbox", "nodes": "3", "profile": "fast",
    }  # fmt: skip
    assert [(d.component, d.setting, d.kubeadm, d.ours, d.why) for d in read.meta.deviations] == [
        ("etcd", "--max-txn-ops", "128", "10000", "rollback"),
        ("kube-apiserver", "--default-(not-ready)-x", "300", "10", "profile fast"),
        ("", "something else", "", "", ""),
    ]
    assert (read.meta.ended, read.meta.sampled) == ("", False)


def test_an_unknown_run_and_an_unwritable_place_are_wrong_input(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(str(tmp_path / "nothing")) == 2
    assert "no run" in capsys.readouterr().err
    assert report(str(stored), "--output", str(tmp_path / "no" / "such" / "folder.html")) == 2
    assert "choose another --output" in capsys.readouterr().err
