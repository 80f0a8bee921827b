"""`mutineer inject`: how a fault is asked for and shown; on a real sandbox it is tests/sandbox/test_cli.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from click.testing import CliRunner

from campaigns.clusters.sandbox.by_hand import held_s, may_fire
from injector.codec import locate
from injector.errors import InputError
from injector.rules import Firing, Rule, Told
from injector.rules_json import firing_to_json, rule_to_json
from injector.targets import Channel, Target
from mutineer.commands.inject import _CHANNELS, _check_component, _fault, _redacted, command
from mutineer.sheet import sheet_of
from tests.injector.stored import golden


def fault(target: str = "Service/default/web", **given: Any) -> dict[str, Any]:
    options = {"field": None, "model": None, "value": None, "parameters": (), "channel": "at-rest-write"}
    return _fault(target, **{**options, "group": None, "operation": None, "occurrence": 1, **given})


def problems(target: str = "Service/default/web", **given: Any) -> list[str]:
    with pytest.raises(InputError) as refused:
        fault(target, **given)
    return [str(problem) for problem in refused.value.problems]


def test_the_channels_are_those_there_are() -> None:
    assert set(_CHANNELS) <= set(Channel)


@pytest.mark.parametrize(
    ("target", "field", "text", "value"),
    [
        ("Service/default/web", "spec.selector[app]", "3", "3"),
        ("Deployment/default/web", "spec.replicas", "3", 3),
        ("Deployment/default/web", "spec.paused", "true", True),
        ("Service/default/web", "spec.selector[app]", "a: b", "a: b"),
    ],
)
def test_a_value_is_read_as_the_fields_type_has_it(target: str, field: str, text: str, value: object) -> None:
    found = fault(target, field=field, value=text)
    assert (found["model"], found["parameters"]) == ("value-set", {"value": value})


def test_parameters_are_scalars() -> None:
    found = fault(field="spec.selector[app]", model="bit-flip", parameters=("bit=3", "character=middle"))
    assert found["parameters"] == {"bit": 3, "character": "middle"}


def test_every_problem_is_told_with_the_option_that_has_it() -> None:
    assert problems("Servic/default/web", field="spec.selectr", model="bitflip", parameters=("bit",)) == [
        "command line: --set: expected NAME=VALUE, got 'bit'",
        "command line: --model: no fault model 'bitflip'; did you mean 'bit-flip'?",
        "command line: OBJECT: no kind 'Servic' in Kubernetes; did you mean 'Service'?",
    ]
    assert problems(field="spec.selectr[app]", value="x") == [
        "command line: --field: Service.spec has no field 'selectr'; did you mean 'selector'?"
    ]
    assert problems(model="bit-flip", parameters=("bit=99",)) == [
        "command line: --field: is missing: bit-flip changes a field",
        "command line: --set bit: expected a whole number from 0 to 63, got 99",
    ]
    assert problems(model="drop") == [
        "command line: --model: drop is done to a message on its way; nothing is on its way at rest"
    ]
    assert problems(field="spec.selector[app]") == [
        "command line: --model: is missing (`mutineer faults list`), or --value"
    ]


def test_a_number_that_the_type_does_not_hold_is_stored_only_by_force() -> None:
    (told,) = problems("Deployment/default/web", field="spec.replicas", value="2147483648")
    assert "2147483648 is no int32; `force: true` stores it" in told
    assert fault("Deployment/default/web", field="spec.replicas", value="2147483648", parameters=("force=true",))


def test_a_kind_alone_is_any_object_that_the_options_choose() -> None:
    found = fault(
        "Pod", labels="app=web", namespace="default", role="node-name", by="kubelet", after="A/b Ready", value="x"
    )
    assert found["target"] == {
        "kind": "Pod", "group": "", "field": None, "operation": None, "occurrence": 1, "labels": "app=web",
        "namespace": "default", "role": "node-name", "by": "kubelet", "after": "A/b Ready",
    }  # fmt: skip
    assert fault("etcd:Compact", model="drop", channel="apiserver-to-etcd")["target"]["identity"] == "etcd:Compact"


def test_every_wrong_choice_is_told_with_its_option() -> None:
    wrong = {"labels": "a in b", "namespace": "A", "role": "x", "by": "", "after": "now"}
    found = problems("Pod/default/web", value="x", field="spec.nodeName", **wrong)
    options = [line.split(": ")[1] for line in found]
    assert sorted(options) == [
        "--after", "--by", "--labels", "--labels", "--namespace", "--namespace", "--role", "--role",
    ]  # fmt: skip


def test_an_object_or_an_action_but_not_both() -> None:
    for arguments in ([], ["Service/default/web", "--undo"]):
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 2, done.output


def firing(name: str = "service", path: str = "spec.selector[app]", identity: str = "Service/default/web") -> Firing:
    value = golden(name)
    at = locate(value, path)
    after = value[: at.span[0]] + b"wec" + value[at.span[1] :]
    return Firing(
        rule_id="r", at_s=1.0, key="/registry/x", identity=identity, operation="put", before=value, after=after,
        span=at.span, field_before="web", field_after="wec", accepted=True, revision=7,
    )  # fmt: skip


def test_what_was_done_is_shown_with_the_bytes_around_it() -> None:
    shown = sheet_of(firing(), "mutineer inject --undo").plain
    assert 'field   "web" → "wec"' in shown and "put, accepted at revision 7" in shown
    assert "undo    mutineer inject --undo" in shown
    removed, added = ([line for line in shown.splitlines() if line.startswith(mark)] for mark in "-+")
    assert len(removed) == len(added) == 1
    assert removed[0].startswith("- 0003b0  62 1a") and added[0].startswith("+ 0003b0  63 1a"), "the last byte of web"
    assert max(map(len, shown.splitlines())) <= 80


def test_where_by_whom_and_who_read_it_are_shown() -> None:
    seen = dataclasses.replace(
        firing(), field="spec.selector[app]", stream="connection 4, stream 17", actor="kubectl", consumed=("a", "b")
    )
    shown = sheet_of(seen, None).plain
    assert 'field   spec.selector[app]: "web" → "wec"' in shown
    assert "where   connection 4, stream 17\nby      kubectl\nread    a\nread    b\n" in shown


def test_a_dry_run_is_called_one() -> None:
    assert "nothing: a dry run" in sheet_of(dataclasses.replace(firing(), operation="preview"), None).plain


def test_a_secret_is_not_shown() -> None:
    hidden = dataclasses.replace(firing(), key="/registry/secrets/default/web", field_before="c2VjcmV0")
    assert "c2VjcmV0" not in sheet_of(hidden, None).plain
    document: Any = _redacted({"firing": firing_to_json(hidden)})
    assert (document["firing"]["before"], document["firing"]["field_before"]) == ("", None)
    assert document["firing"]["redacted"] is True
    open_: Any = _redacted({"firing": firing_to_json(firing())})
    assert open_["firing"]["field_before"] == "web"


def test_a_bindings_fields_are_those_of_a_binding() -> None:
    bind = {"channel": "component-to-apiserver", "operation": "bind"}
    assert fault("Pod/default/web", field="target.name", value="3", **bind)["parameters"] == {"value": "3"}
    assert problems("Pod/default/web", field="spec.nodeName", value="x", **bind) == [
        "command line: --field: Binding has no field 'spec'; there are: metadata, target"
    ]


def test_a_component_that_there_is_not_is_told_with_those_that_there_are() -> None:
    asked = {"model": "drop", "channel": "apiserver-to-component"}
    (told,) = problems(component="kube-proxy", **asked)
    assert told.startswith("command line: --component: expected one of kube-controller-manager, kube-scheduler, ")
    assert told.endswith("kube-proxy-node-1 to node-10, or such as kubelet-*, got 'kube-proxy'")
    for name in ("kube-scheduler", "kubelet-node-3", "kube-proxy-node-1", "kubelet-*", "*"):
        assert fault(component=name, **asked)["target"]["component"] == name


def test_a_node_that_the_sandbox_lacks_has_no_kubelet() -> None:
    _check_component("kubelet-node-2", 2)
    _check_component(None, 1)
    for name, nodes in (("kubelet-node-3", 2), ("kubelet-node-2", 1)):
        with pytest.raises(InputError, match=f"expected one of .*, kubelet-node-1.*, or such as .*got '{name}'"):
            _check_component(name, nodes)


def test_the_field_that_the_rule_names_is_shown() -> None:
    assert 'field   spec.selector[app]: "web" → "wec"' in sheet_of(firing(), None, "spec.selector[app]").plain


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"operation": "watch", "accepted": None}, "watch, told at revision 7\n"),
        (
            {"operation": "watch", "accepted": None, "after": b"", "told": Told.ERROR},
            "watch, kept back at revision 7\n",
        ),
        (
            {"operation": "answer/status", "accepted": None, "after": b"", "told": Told.ERROR},
            "answer/status, kept back at revision 7; the receiver was told error\n",
        ),
        (
            {"operation": "bind", "accepted": False, "after": b"", "revision": None, "told": Told.SUCCESS},
            "bind, refused, or never sent; the sender was told success\n",
        ),
        ({"operation": "update", "accepted": None, "revision": None}, "update, not known whether it was taken\n"),
    ],
)
def test_what_became_of_it_is_told_as_its_direction_has_it(changes: dict[str, Any], said: str) -> None:
    assert f"done    {said}" in sheet_of(dataclasses.replace(firing(), **changes), None).plain


@pytest.mark.parametrize(
    ("times", "fired", "more"), [(1, 0, True), (1, 1, False), (3, 2, True), (3, 3, False), (None, 5, True)]
)
def test_it_is_waited_for_until_it_can_fire_no_more(times: int | None, fired: int, more: bool) -> None:
    asked = Rule(id="r", channel=Channel.APISERVER_TO_ETCD, model="drop", target=Target(kind="Pod"), times=times)
    assert may_fire(rule_to_json(asked), [{}] * fired or None) is more


def test_what_is_held_back_gets_the_time_to_go() -> None:
    assert held_s({"model": "drop", "parameters": {}}) == 0
    assert held_s({"model": "delay", "parameters": {"seconds": 9}}) > 9
    assert held_s({"model": "delay", "parameters": {}}) > 5
    assert held_s({"model": "reorder", "parameters": {}}) > 2
