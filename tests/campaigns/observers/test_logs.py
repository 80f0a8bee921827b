"""Logs and the audit log, with real files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from campaigns.observers import logs
from campaigns.observers.logs import AuditReader, LogReader
from classifiers.observation import AuditEvent, LogErrors, Observation
from tests.builders import observation
from tests.campaigns.observers.looked_at import LookedAt

KLOG = "E1123 04:01:02.345678    1 reflector.go:204] failed to list"
FATAL = "F1123 04:01:03.000000    1 main.go:1] no lease any more"
ETCD = '{"level":"error","ts":"2026-11-23T04:01:02Z","msg":"slow"}'
HARMLESS = "W1123 04:01:02.345678 x\nI1123 04:01:02.3 E1123 quoted\n" + '{"level":"warn","msg":"error"}\nError: no\n'


def read(seen: LookedAt, added: dict[Path, str], *, texts: bool = True) -> Observation:
    reader = LogReader(seen.cluster, texts=texts)
    reader.start()
    for path, text in added.items():
        with path.open("a") as file:
            file.write(text)
    reader.stop()
    return reader.add_to(observation())


def test_error_lines_since_the_start_are_counted_and_the_first_kept(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.log" for name in ("kube-apiserver", "etcd", "kube-scheduler", "late")}
    paths["kube-apiserver"].write_text(f"{KLOG} before\n")
    paths["etcd"].write_text("")
    paths["kube-scheduler"].write_text("")
    many = "".join(f"{KLOG} {i}{'x' * 400}\n" for i in range(9))
    added = {
        paths["kube-apiserver"]: many + HARMLESS + FATAL + "\n",
        paths["etcd"]: HARMLESS + ETCD + "\n",
        paths["kube-scheduler"]: HARMLESS,
        paths["late"]: "panic: nil map\n\ngoroutine 1 [running]:\n",
    }
    found = {e.component: e for e in read(LookedAt(logs=paths), added).log_errors}
    assert set(found) == {"kube-apiserver", "etcd", "late"}
    assert found["kube-apiserver"].count == 10 and len(found["kube-apiserver"].first) == 5
    assert found["kube-apiserver"].first[0].startswith(f"{KLOG} 0xx") and len(found["kube-apiserver"].first[0]) == 300
    assert found["etcd"] == LogErrors(component="etcd", count=1, first=(ETCD,))
    assert found["late"].first == ("panic: nil map",)


def test_where_a_secret_is_aimed_at_lines_are_only_counted(tmp_path: Path) -> None:
    path = tmp_path / "etcd.log"
    (found,) = read(LookedAt(logs={"etcd": path}), {path: f"{KLOG} sesame\n"}, texts=False).log_errors
    assert found == LogErrors(component="etcd", count=1)


def test_a_log_that_is_gone_or_begun_anew_is_missing_in_words(tmp_path: Path) -> None:
    gone, anew = tmp_path / "gone", tmp_path / "anew"
    for path in (gone, anew):
        path.write_text(f"{KLOG}\n")
    reader = LogReader(LookedAt(logs={"a": gone, "b": anew}).cluster, texts=True)
    reader.start()
    gone.unlink()
    anew.write_text("")
    reader.stop()
    seen = reader.add_to(observation())
    assert seen.log_errors == () and seen.missing == ("log of a: it is gone", "log of b: it was begun anew meanwhile")


# Audit


def event(verb: str, code: int, *, at: str = "2026-11-23T04:00:02.500000Z", **about: Any) -> str:
    reference = {"resource": "pods", "namespace": "default", "name": "web-1", **about}
    user = {"username": "system:kube-scheduler"}
    told = {"code": code}
    document = {"verb": verb, "objectRef": reference, "user": user, "responseStatus": told}
    return json.dumps({**document, "requestReceivedTimestamp": at, "requestURI": "/x"}) + "\n"


START = 1795406400.0
"""2026-11-23T04:00:00Z."""


def audited(path: Path | None, text: str) -> Observation:
    reader = AuditReader(LookedAt(audit_log=path).cluster, began=time.monotonic(), wall=lambda: START)
    reader.start()
    if path is not None:
        with path.open("a") as file:
            file.write(text)
    reader.stop()
    return reader.add_to(observation())


def test_changes_and_failures_are_kept_and_other_reads_counted(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(event("create", 201))
    reads = event("get", 200) + event("list", 200) + event("watch", 0)
    kept = event("create", 201, subresource="binding") + event("get", 404) + event("patch", 409, namespace="", name="")
    audit = audited(path, reads + kept + '{"half').audit
    assert audit is not None and audit.others == 3 and audit.left_out == 0
    who = "system:kube-scheduler"
    assert [(e.user, e.verb, e.what, e.code) for e in audit.events] == [
        (who, "create", "pods/binding default/web-1", 201), (who, "get", "pods default/web-1", 404),
        (who, "patch", "pods", 409),
    ]  # fmt: skip
    assert audit.events[0].at_s == pytest.approx(2.5, abs=0.2)
    assert isinstance(audit.events[0], AuditEvent)


def test_a_cluster_without_an_audit_log_misses_nothing() -> None:
    assert audited(None, "") == observation()


def test_an_audit_log_that_is_begun_anew_is_missing_in_words(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(event("create", 201))
    reader = AuditReader(LookedAt(audit_log=path).cluster, began=time.monotonic())
    reader.start()
    path.write_text("")
    reader.stop()
    seen = reader.add_to(observation())
    assert seen.audit is None and seen.missing == ("audit log: it was begun anew meanwhile",)


def test_what_there_is_no_room_for_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_AUDIT_EVENTS", 2)
    audit = audited(tmp_path / "audit.log", event("create", 201) * 5 + event("get", 200)).audit
    assert audit is not None and (len(audit.events), audit.left_out, audit.others) == (2, 3, 1)
