"""Edits in a real etcd, and their undo."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import injector.at_rest
from campaigns.clusters.sandbox import pki
from injector.at_rest import AtRest, Undone
from injector.codec import locate, rewrite, to_tree
from injector.corrupt import Corruption, corrupt, corrupt_for
from injector.errors import FaultError, HarnessError
from injector.etcd_tls import EtcdTls
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.injector.conftest import Etcd, connected, free_port, start_etcd, stop
from tests.injector.stored import KEYS, golden
from tests.injector.test_identity import stored
from tests.injector.test_writers import versions

WEB, DEPLOYMENT = KEYS["deployment"], golden("deployment")
TARGET = Target(kind="Deployment", identity="Deployment/default/web", group="apps", field="spec.replicas")
RULE = Rule(
    id="e1/x", channel=Channel.AT_REST_WRITE, model="value-set", target=TARGET, parameters={"value": 67}
)  # fmt: skip


def put(etcd: Etcd, *items: tuple[str, bytes]) -> int:
    """Puts in this order; the last one's revision."""
    with connected(etcd.address) as client:
        return [client.put(key, value).header.revision for key, value in items][-1]


def get(etcd: Etcd, key: str) -> tuple[bytes | None, Any]:
    with connected(etcd.address) as client:
        found: tuple[bytes | None, Any] = client.get(key)
        return found


def test_the_target_is_found_changed_and_every_piece_of_evidence_is_there(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, (WEB, DEPLOYMENT), (KEYS["service"], golden("service")))
    firing = AtRest(etcd.address, tmp_path / "undo").inject(RULE)
    value, meta = get(etcd, WEB)
    assert value == firing.after and locate(firing.after, "spec.replicas").value == 67
    assert firing == replace(
        firing,
        rule_id="e1/x",
        key=WEB,
        identity="Deployment/default/web",
        operation="put",
        before=DEPLOYMENT,
        span=locate(DEPLOYMENT, "spec.replicas").span,
        field_before=locate(DEPLOYMENT, "spec.replicas").value,
        field_after=67,
        accepted=True,
        revision=meta.mod_revision,
        told=None,
    )
    assert get(etcd, KEYS["service"])[0] == golden("service")


def test_the_undo_record_is_there_before_the_value_changes_and_for_its_owner_only(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = put(etcd, (WEB, DEPLOYMENT))
    at_rest = AtRest(etcd.address, tmp_path / "undo")
    records: list[dict[str, Any]] = []
    put_if = injector.at_rest._Etcd.put_if

    def look_first(self: Any, *args: Any, **kwargs: Any) -> int | None:
        (record,) = at_rest.pending()
        assert stat.S_IMODE(record.stat().st_mode) == 0o600 and stat.S_IMODE(record.parent.stat().st_mode) == 0o700
        records.append(json.loads(record.read_text()))
        return put_if(self, *args, **kwargs)

    monkeypatch.setattr(injector.at_rest._Etcd, "put_if", look_first)
    at_rest.inject(RULE)
    (record,) = records
    assert (record["schema"], record["rule_id"], record["mod_revision"]) == (1, "e1/x", revision)
    assert base64.b64decode(record["value"]) == DEPLOYMENT and base64.b64decode(record["key"]) == WEB.encode()


def test_undo_restores_the_value_and_removes_the_record(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, (WEB, DEPLOYMENT))
    at_rest = AtRest(etcd.address, tmp_path)
    at_rest.inject(RULE)
    (record,) = at_rest.pending()
    assert AtRest(etcd.address, tmp_path).undo(record) is Undone.RESTORED
    assert get(etcd, WEB)[0] == DEPLOYMENT and at_rest.pending() == ()


def test_a_stale_value_is_the_version_before_this_one_in_etcds_history(etcd: Etcd, tmp_path: Path) -> None:
    at_rest = AtRest(etcd.address, tmp_path / "undo")
    stale = replace(RULE, model="stale", parameters={}, target=replace(TARGET, field=None))
    newer = corrupt(DEPLOYMENT, "value-set", {"value": 9}, "spec.replicas").after
    put(etcd, (WEB, DEPLOYMENT))
    with pytest.raises(FaultError, match="no earlier version of this object is known"):
        at_rest.inject(stale)
    last = put(etcd, (WEB, newer))
    firing = at_rest.inject(stale)
    assert (firing.before, firing.after, get(etcd, WEB)[0]) == (newer, DEPLOYMENT, DEPLOYMENT)
    now = put(etcd, (WEB, newer))
    assert now > last
    with connected(etcd.address) as client:
        client.compact(now, physical=True)
    with pytest.raises(FaultError, match="no earlier version of this object is known"):
        at_rest.inject(stale)


def test_a_value_under_a_wrong_key_overwrites_the_other_object_and_undo_restores_that(
    etcd: Etcd, tmp_path: Path
) -> None:
    service = KEYS["service"]
    put(etcd, (WEB, DEPLOYMENT), (service, golden("service")))
    at_rest = AtRest(etcd.address, tmp_path / "undo")
    parameters = {"identity": "Service/default/web"}
    rule = replace(RULE, model="wrong-key", parameters=parameters, target=replace(TARGET, field=None))
    firing = at_rest.inject(rule)
    assert (firing.key, firing.before, firing.after) == (service, golden("service"), DEPLOYMENT)
    assert get(etcd, service)[0] == get(etcd, WEB)[0] == DEPLOYMENT
    assert at_rest.undo(at_rest.pending()[0]) is Undone.RESTORED
    assert (get(etcd, service)[0], get(etcd, WEB)[0]) == (golden("service"), DEPLOYMENT)


def test_a_field_gets_another_objects_value(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, (WEB, DEPLOYMENT), (KEYS["service"], golden("service")))
    target = replace(TARGET, kind="Service", identity="Service/default/web", group="", field="metadata.uid")
    rule = replace(RULE, target=target, parameters={"object": "Deployment/default/web"})
    firing = AtRest(etcd.address, tmp_path / "undo").inject(rule)
    assert firing.field_after == locate(DEPLOYMENT, "metadata.uid").value != firing.field_before


def test_undo_leaves_alone_what_is_mended_or_gone(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, (WEB, DEPLOYMENT))
    at_rest = AtRest(etcd.address, tmp_path)
    at_rest.inject(RULE)
    put(etcd, (WEB, DEPLOYMENT))
    at_rest.inject(RULE)
    mended, second = at_rest.pending()
    put(etcd, (WEB, DEPLOYMENT))
    assert at_rest.undo(mended) is Undone.UNCHANGED
    with connected(etcd.address) as client:
        client.delete(WEB)
    assert at_rest.undo(second) is Undone.GONE
    assert get(etcd, WEB)[0] is None


def test_a_writer_in_between_is_noticed_and_the_newer_value_is_what_gets_changed(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(etcd, (WEB, DEPLOYMENT))
    newer = corrupt(DEPLOYMENT, "value-set", {"value": 5}, "spec.replicas").after
    calls: list[bytes] = []

    def slow(rule: Rule, value: bytes, **kwargs: Any) -> Corruption:
        calls.append(value)
        if len(calls) == 1:
            put(etcd, (WEB, newer))
        return corrupt_for(rule, value, **kwargs)

    monkeypatch.setattr(injector.at_rest, "corrupt_for", slow)
    at_rest = AtRest(etcd.address, tmp_path)
    firing = at_rest.inject(RULE)
    assert calls == [DEPLOYMENT, newer] and (firing.before, firing.field_before) == (newer, 5)
    (record,) = at_rest.pending()
    assert base64.b64decode(json.loads(record.read_text())["value"]) == newer


def test_a_fault_that_does_not_fit_leaves_neither_a_change_nor_a_record(etcd: Etcd, tmp_path: Path) -> None:
    revision = put(etcd, (WEB, DEPLOYMENT))
    at_rest = AtRest(etcd.address, tmp_path)
    same = locate(DEPLOYMENT, "spec.replicas").value
    with pytest.raises(FaultError, match="already has the value"):
        at_rest.inject(replace(RULE, parameters={"value": same}))
    assert get(etcd, WEB)[1].mod_revision == revision and at_rest.pending() == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(RULE, model="drop", parameters={}), "there is no message at rest; drop is done to one"),
        (replace(RULE, channel=Channel.APISERVER_TO_ETCD), "expected channel at-rest-write"),
        (replace(RULE, target=replace(TARGET, occurrence=2)), "no occurrence 2"),
    ],
)
def test_what_can_t_be_done_at_rest_is_refused(wrong: Rule, words: str, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=words):
        AtRest(("127.0.0.1", 1), tmp_path).inject(wrong)


def pod(name: str) -> tuple[str, bytes]:
    return f"/registry/pods/default/{name}", stored("Pod", name, generate_name="web-")


def pod_rule(number: int) -> Rule:
    target = Target(kind="Pod", identity=f"Pod/default/web#{number}", field="metadata.name")
    return Rule(id="p", channel=Channel.AT_REST_WRITE, model="bit-flip", target=target)


def test_ordinals_count_creations_and_with_r0_the_baseline_comes_first_in_order_of_key(
    etcd: Etcd, tmp_path: Path
) -> None:
    r0 = put(etcd, pod("web-y"), pod("web-x"))
    put(etcd, pod("web-b"), pod("web-a"))
    at_rest = AtRest(etcd.address, tmp_path)
    by_creation = [at_rest.inject(pod_rule(n)).key[-1] for n in (1, 2, 3, 4)]
    assert by_creation == ["y", "x", "b", "a"]
    for record in at_rest.pending():
        at_rest.undo(record)
    assert [at_rest.inject(pod_rule(n), r0=r0).key[-1] for n in (1, 2, 3, 4)] == ["x", "y", "b", "a"]


def test_an_identity_that_is_not_there_is_refused_naming_its_siblings(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, pod("web-a"))
    with pytest.raises(FaultError, match="no stored core object is Pod/default/web#9; there is Pod/default/web#1"):
        AtRest(etcd.address, tmp_path).inject(pod_rule(9))


def test_an_etcd_that_is_not_there_is_a_harness_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"127\.0\.0\.1:1 does not do as asked"):
        AtRest(("127.0.0.1", 1), tmp_path, timeout_s=0.5).inject(RULE)


def test_an_etcd_that_asks_for_certificates_is_edited_and_mended_with_one_and_refuses_without(tmp_path: Path) -> None:
    authority = pki.Authority("etcd-ca")
    identity = authority.issue("etcd", hosts=("127.0.0.1",))
    tls = EtcdTls(
        ca=pki.write_private(tmp_path / "ca.crt", authority.identity.certificate),
        cert=pki.write_private(tmp_path / "etcd.crt", identity.certificate),
        key=pki.write_private(tmp_path / "etcd.key", identity.key),
    )
    etcd = start_etcd(tmp_path / "data", ("127.0.0.1", free_port()), tls=tls)
    try:
        with connected(etcd.address, tls=tls) as client:
            client.put(WEB, DEPLOYMENT)
            with pytest.raises(HarnessError, match="does not do as asked"):
                AtRest(etcd.address, tmp_path / "undo", timeout_s=1).inject(RULE)
            at_rest = AtRest(etcd.address, tmp_path / "undo", tls)
            assert client.get(WEB)[0] == DEPLOYMENT
            assert at_rest.inject(RULE).after == client.get(WEB)[0] != DEPLOYMENT
            (record,) = at_rest.pending()
            assert at_rest.undo(record) is Undone.RESTORED and client.get(WEB)[0] == DEPLOYMENT
    finally:
        stop(etcd.process)


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 9, "key": "", "value": ""}', "[]"])
def test_a_record_that_can_t_be_read_is_a_harness_error_and_stays(content: str, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    record.write_text(content)
    with pytest.raises(HarnessError, match=r"r\.json"):
        AtRest(("127.0.0.1", 1), tmp_path).undo(record)
    assert record.exists()


PODS = Target(kind="Pod", field="metadata.name", labels="app in (a, b)")


def labelled(name: str, app: str) -> tuple[str, bytes]:
    value = stored("Pod", name, "default")
    tree: Any = to_tree(value)
    tree["metadata"]["labels"] = {"app": app}
    return f"/registry/pods/default/{name}", rewrite(value, tree)


def test_of_several_objects_that_the_labels_fit_the_first_by_key_is_changed_and_told(
    etcd: Etcd, tmp_path: Path
) -> None:
    put(etcd, labelled("z", "a"), labelled("y", "c"), labelled("x", "b"))
    rule = replace(RULE, target=PODS, parameters={"value": "changed"})
    assert AtRest(etcd.address, tmp_path / "undo").inject(rule).identity == "Pod/default/x"
    none = replace(rule, target=replace(PODS, labels="app=d", namespace="default"))
    with pytest.raises(FaultError) as refused:
        AtRest(etcd.address, tmp_path / "undo").inject(none)
    assert str(refused.value) == (
        "no stored core object is any Pod in default with app=d; nearest: Pod/default/changed (has app=b, not "
        "app=d), Pod/default/y (has app=c, not app=d), Pod/default/z (has app=a, not app=d)"
    )


def test_a_role_and_an_author_choose_what_is_changed_at_rest(etcd: Etcd, tmp_path: Path) -> None:
    values = [value for _, value in versions(WEB)]
    put(etcd, *((WEB, value) for value in values[:4]))
    rule = replace(RULE, target=Target(kind="Deployment", group="apps", role="replicas", by="kubectl"))
    firing = AtRest(etcd.address, tmp_path / "undo").inject(rule)
    assert (firing.field, firing.actor, firing.stream) == ("spec.replicas", "kubectl-label", "")
    put(etcd, (WEB, values[4]), (WEB, values[5]))
    with pytest.raises(FaultError, match=r"any Deployment; nearest: .*web \(written by kube-controller-manager; the"):
        AtRest(etcd.address, tmp_path / "undo").inject(rule)
    service = replace(rule, target=Target(kind="Deployment", group="apps", role="owner-reference"))
    with pytest.raises(FaultError, match=r"Deployment/default/web \(has no field with the role owner-reference\)"):
        AtRest(etcd.address, tmp_path / "undo").inject(service)


def test_a_condition_has_to_hold_at_rest(etcd: Etcd, tmp_path: Path) -> None:
    put(etcd, (WEB, DEPLOYMENT))
    waiting = replace(RULE, target=replace(TARGET, after="Deployment/default/web Available=False"))
    with pytest.raises(FaultError, match=r"waits for Deployment/default/web Available=False; .*Available=True"):
        AtRest(etcd.address, tmp_path / "undo").inject(waiting)
    gone = replace(RULE, target=replace(TARGET, after="Service/default/web exists"))
    with pytest.raises(FaultError, match="there is no Service/default/web"):
        AtRest(etcd.address, tmp_path / "undo").inject(gone)
    assert get(etcd, WEB)[0] == DEPLOYMENT
    holds = replace(RULE, target=replace(TARGET, after="Deployment/default/web Available"))
    assert AtRest(etcd.address, tmp_path / "undo").inject(holds).accepted
