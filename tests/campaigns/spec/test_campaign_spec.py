from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from campaigns.planning.plan import plan
from campaigns.spec import campaign_spec as spec_module
from campaigns.spec.campaign_spec import (
    CampaignSpec,
    FaultSpec,
    TimeLimits,
    load_preset,
    load_spec,
    parse_spec,
    presets,
    spec_to_json,
)
from injector.errors import InputError
from injector.targets import Channel, Target
from tests.campaigns.builders import SPEC

FAULT = """
name: small
faults:
  - why: because
    channel: {channel}
    model: {model}
    parameters: {parameters}
    target: {{kind: {kind}, identity: {identity}{more}}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse_spec(text, file="campaign.yaml")
    return [str(p) for p in raised.value.problems]


def fault(
    channel: str = "apiserver-to-etcd",
    model: str = "value-set",
    parameters: str = "{value: wax}",
    kind: str = "Service",
    identity: str = "Service/default/web",
    more: str = ', field: "spec.selector[app]"',
) -> str:
    return FAULT.format(channel=channel, model=model, parameters=parameters, kind=kind, identity=identity, more=more)


def test_a_request_to_etcd_is_a_target() -> None:
    text = fault(model="drop", parameters="{}", kind="etcd:LeaseGrant", identity="etcd:LeaseGrant", more="")
    assert parse_spec(text, file="x.yaml").faults[0].target.kind == "etcd:LeaseGrant"


@pytest.mark.parametrize("field", ["spec", "spec.selector", "spec.ports", "spec.ports[0]", "spec.selector[app]"])
def test_any_part_of_an_object_can_be_removed(field: str) -> None:
    text = fault(model="field-remove", parameters="{}", more=f', field: "{field}"')
    assert parse_spec(text, file="x.yaml").faults[0].target.field == field


def test_a_good_spec_is_read_with_its_defaults() -> None:
    spec = parse_spec(SPEC, file="x.yaml")
    assert (spec.name, spec.golden, spec.seed, spec.parallelism, spec.workloads) == ("small", 4, 1, "auto", ["deploy"])
    assert (spec.cluster.kind, spec.cluster.nodes, spec.cluster.profile) == ("sandbox", 3, "fast")
    assert [f.target.occurrence for f in spec.faults] == [1, 1]
    assert spec.faults[1].target.field is None


def test_five_mistakes_of_different_sorts_are_five_located_problems_in_the_files_order() -> None:
    text = """
name: Small
workloads: [deplay]
golden: many
faults:
  - why: because
    channel: apiserver-to-etcd
    model: bit-flip
    parameters: {bit: x}
    target: {kind: Service, identity: Service/default/web, field: "spec.selector[app]", occurrence: 0}
"""
    assert problems(text) == [
        "campaign.yaml: name: expected a text that matches ^[a-z0-9][a-z0-9-]{0,62}$, got 'Small'",
        "campaign.yaml: workloads[0]: no workload 'deplay'; did you mean 'deploy'?",
        "campaign.yaml: golden: expected a whole number, got 'many'",
        "campaign.yaml: faults[0].parameters.bit: expected a whole number from 0 to 63, got 'x'",
        "campaign.yaml: faults[0].target.occurrence: expected a number >= 1, got 0",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\ntiem_limits: {}", "tiem_limits: unknown key; did you mean 'time_limits'?"),
        ("name: a\ntime_limits: {setle_s: 3}", "time_limits.setle_s: unknown key; did you mean 'settle_s'?"),
        ("name: a\ntime_limits: {settle_s: 0}", "time_limits.settle_s: expected a number > 0.0, got 0"),
        (
            "name: a\ntime_limits: {settle_s: 300}",
            "time_limits: expected experiment_s >= 673.5 (prepare_s + 2 * settle_s + steady_s + canary_s + 30), "
            "got 120",
        ),
        ("golden: 5", "name: is missing"),
        ("name: a\ngolden: 2", "golden: expected a number >= 4, got 2"),
        ("name: a\ngolden: true", "golden: expected a whole number, got True"),
        ("name: a\nparallelism: 0", "parallelism: expected auto or a whole number from 1 to 64, got 0"),
        ("name: a\nparallelism: true", "parallelism: expected auto or a whole number from 1 to 64, got True"),
        ("name: a\ncluster: {kind: knid}", "cluster.kind: expected sandbox, got 'knid'"),
        ("name: a\ncluster: {profile: fats}", "did you mean 'fast'?"),
        ("name: a\nworkloads: []", "workloads: expected at least one entry, got none"),
        ("name: a\nworkloads: [deploy, deploy]", "workloads[1]: 'deploy' is named twice"),
        ("name: a\nfaults: {}", "faults: expected a list, got {}"),
        ("name: a\nfaults: [7]", "faults[0]: expected a mapping, got 7"),
        ("- 1", "expected a mapping with name, faults, …, got [1]"),
        ("", "expected a mapping with name, faults, …, got None"),
        (fault(channel="apiserver-to-etc"), "channel: expected apiserver-to-etcd, etcd-to-apiserver, component-to-"),
        (fault(model="valeu-set"), "faults[0].model: no fault model 'valeu-set'; did you mean 'value-set'?"),
        (fault(parameters="{value: a, bit: 1}"), "faults[0].parameters.bit: unknown parameter 'bit'"),
        (fault(kind="Servce", identity="Servce/default/web"), "no kind 'Servce' in Kubernetes; did you mean "),
        (fault(more=', group: apps, field: "spec.selector[app]"'), "target.group: Service is of group '', got 'apps'"),
        (fault(identity="Pod/default/web"), "target.identity: expected it to begin with Service/, got 'Pod/"),
        (fault(identity="Service"), "target.identity: expected KIND/NAMESPACE/NAME"),
        (fault(identity='"Service/default/web#0"'), "target.identity: expected KIND/NAMESPACE/NAME"),
        (fault(more=""), "faults[0].target.field: is missing: value-set changes a field"),
        (fault(more=", field: spec..x"), "target.field: field path 'spec..x' can't be read from character 6 on"),
        (fault(more=', field: "spec.selctor[app]"'), "Service.spec has no field 'selctor'; did you mean 'selector'?"),
        (fault(more=", field: spec.selector"), "Service.spec.selector is a map: name one key in brackets"),
        (fault(more=", field: spec.ports.port"), "Service.spec.ports is a list: name one element in brackets"),
        (fault(more=', field: "spec.type[0]"'), "Service.spec.type takes no brackets"),
        (fault(more=", field: spec.type.x"), "Service.spec.type is a value; it has no 'x'"),
        (
            fault(model="field-remove", parameters="{}", more=", field: spec.selectr"),
            "Service.spec has no field 'selectr'; did you mean 'selector'?",
        ),
        (fault(model="field-remove", parameters="{}", more=""), "target.field: is missing: field-remove changes a"),
        (fault(channel="at-rest-write\n    times: 2"), "faults[0].times: at rest a value is changed once: expected 1"),
        (fault(channel="apiserver-to-etcd\n    times: 0"), "times: expected always or a whole number >= 1, got 0"),
        (fault(channel="apiserver-to-etcd\n    times: never"), "times: expected always or a whole number >= 1"),
        (
            fault(more=', field: "spec.selector[app]", operation: watch'),
            "target.operation: apiserver-to-etcd has put, delete; got 'watch'",
        ),
        (
            fault(channel="component-to-apiserver", kind="Pod", identity="Pod/default/x", parameters="{value: a}",
                  more=", field: spec.nodeName, operation: bind"),
            "target.field: Binding has no field 'spec'; there are: metadata, target",
        ),
        (
            fault(more=', field: "spec.selector[app]", component: kubelet-*'),
            "target.component: is for the channels of components; got channel 'apiserver-to-etcd'",
        ),
        (
            fault(channel="component-to-apiserver", more=', field: "spec.selector[app]", by: kubectl'),
            "target.by: a request is its sender's: name it by `component`",
        ),
        (
            fault(channel="apiserver-to-component", more=', field: "spec.selector[app]", operation: watch/x'),
            "target.operation: expected a subresource such as status, scale",
        ),
        (
            fault(channel="at-rest-write", more=', field: "spec.selector[app]", operation: put'),
            "target.operation: at rest there is no message: expected none, got 'put'",
        ),
        (
            fault(channel="at-rest-write", model="byte-flip", parameters="{}", kind="etcd:Compact",
                  identity="etcd:Compact", more=""),
            "target.kind: etcd:Compact is a request to etcd: expected channel apiserver-to-etcd",
        ),
        (
            fault(model="drop", parameters="{}", kind="etcd:Compact", identity="etcd:Compakt", more=""),
            "target.identity: expected etcd:Compact, as the kind, got 'etcd:Compakt'",
        ),
        (fault(more=", field: spec"), "Service.spec is an object; name one of its fields: allocate"),
        (fault(parameters="{value: 7}"), "parameters.value: spec.selector[app] is of type string"),
        (fault(model="drop", parameters="{}"), "target.field: drop is done to the whole message: expected no field"),
        (fault(model="boolean-invert", parameters="{}"), "is of type string; boolean-invert is for booleans"),
        (fault(channel="at-rest-write", model="drop", parameters="{}", more=""), "nothing is on its way at rest"),
        (
            fault(channel="at-rest-write", more=', field: "spec.selector[app]", occurrence: 2'),
            "target.occurrence: at rest nothing occurs twice: expected 1, got 2",
        ),
        (fault(channel="at-rest-silent", model="drop", parameters="{}", more=""), "nothing is on its way at rest"),
        (
            fault(more=', field: "spec.selector[app]"') + "\n    reread: true",
            "faults[0].reread: is for at-rest-silent and etcd-to-apiserver, got channel 'apiserver-to-etcd'",
        ),
    ],
)  # fmt: skip
def test_every_mistake_is_one_problem_that_says_where_and_what_was_expected(text: str, expected: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith("campaign.yaml: ")
    assert expected in found[0]


CHOSEN = """
name: small
faults:
  - why: because
    channel: {channel}
    model: {model}
    target: {target}
"""


def chosen(target: str, *, channel: str = "apiserver-to-etcd", model: str = "bit-flip, parameters: {bit: 1}") -> str:
    name, _, rest = model.partition(", ")
    return CHOSEN.format(channel=channel, model=name + (f"\n    {rest}" if rest else ""), target=target)


def test_a_target_may_be_chosen_by_labels_role_author_and_condition() -> None:
    text = chosen(
        "{kind: Pod, namespace: default, labels: 'app=web,tier!=db', role: owner-reference, by: kubelet, "
        "after: Deployment/default/web Available, occurrence: 3}"
    )
    (planned,) = [e.rule for e in plan(parse_spec(text, file="x.yaml")).experiments if e.rule]
    assert planned.target == Target(
        kind="Pod", namespace="default", labels="app=web,tier!=db", role="owner-reference", by="kubelet",
        after="Deployment/default/web Available", occurrence=3,
    )  # fmt: skip


def test_every_wrong_choice_is_told_with_the_others() -> None:
    text = chosen("{kind: Pod, namespace: De fault, labels: app in web, role: identidy, by: '', after: Available}")
    assert problems(text) == [
        "campaign.yaml: faults[0].target.namespace: expected a namespace's name, such as default, got 'De fault'",
        "campaign.yaml: faults[0].target.labels: 'app in web', character 8: expected ( before the values, got 'web'",
        "campaign.yaml: faults[0].target.role: expected one of dependency, identity, replicas, addresses, "
        "image-and-command, status, metadata, other, owner-reference, label-or-selector, target-reference, node-name, "
        "got 'identidy'",
        "campaign.yaml: faults[0].target.by: expected a text that is not empty, got ''",
        "campaign.yaml: faults[0].target.after: expected KIND/NAMESPACE/NAME and a condition, such as 'Deployment/"
        "default/web Available', 'Node/node-1 Ready=False' or 'Service/default/web exists', got 'Available'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (chosen("{kind: Pod, identity: Pod/a/b, labels: a=b, role: status}"), "target.labels: Pod/a/b is one object"),
        (chosen("{kind: Pod, identity: Pod/a/b, namespace: a, role: status}"), "target.namespace: Pod/a/b is one obj"),
        (
            chosen("{kind: Pod, role: status, field: spec.priority}"),
            "target.role: the target names the field spec.prio",
        ),
        (chosen("{kind: Pod, role: status}", model="drop"), "target.role: drop is done to the whole message: expected"),
        (chosen("{kind: Pod}"), "target.field: is missing: bit-flip changes a field"),
        (
            chosen("{kind: 'etcd:Compact', identity: 'etcd:Compact', by: kubelet}", model="drop"),
            "target.by: etcd:Compact is a request and no object: expected none, got 'kubelet'",
        ),
    ],
)
def test_choices_that_do_not_go_together_are_one_problem(text: str, expected: str) -> None:
    (found,) = problems(text)
    assert expected in found


def test_a_component_is_one_that_the_clusters_nodes_have() -> None:
    text = chosen(
        "{kind: Pod, identity: Pod/a/b, component: kubelet-node-4}", channel="apiserver-to-component", model="drop"
    )
    assert problems(text) == [
        "campaign.yaml: faults[0].target.component: expected one of kube-controller-manager, kube-scheduler, "
        "kubelet-node-1 to node-3, kube-proxy-node-1 to node-3, or such as kubelet-*, got 'kubelet-node-4'"
    ]
    assert parse_spec(text + "cluster: {nodes: 4}\n", file="x.yaml").faults[0].target.component == "kubelet-node-4"


def test_a_bindings_fields_are_a_bindings() -> None:
    text = "{{kind: Pod, identity: Pod/a/b, operation: bind, field: {}}}"
    value = "value-set, parameters: {value: node-9}"
    to = "component-to-apiserver"
    assert parse_spec(chosen(text.format("target.name"), channel=to, model=value), file="x.yaml").faults
    assert problems(chosen(text.format("spec.nodeName"), channel=to, model=value)) == [
        "campaign.yaml: faults[0].target.field: Binding has no field 'spec'; there are: metadata, target"
    ]


def test_the_same_fault_twice_is_refused_however_it_is_written() -> None:
    one = fault()
    again = (
        one.split("faults:\n")[1]
        .replace("because", "another reason")
        .replace("kind: Service,", "kind: Service, group: '',")
    )
    assert problems(one + again.replace("\n    target", "\n    target")) == [
        "campaign.yaml: faults[1]: does the same as faults[0]"
    ]


def test_a_custom_resource_is_let_through_where_it_names_its_group() -> None:
    text = fault(kind="Widget", identity="Widget/default/w", more=", group: example.com", model="drop", parameters="{}")
    assert parse_spec(text, file="x").faults[0].target.kind == "Widget"


def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: can't be read"):
        load_spec(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(InputError, match="can't be read"):
        load_spec(tmp_path / "latin.yaml")


def test_the_words_of_the_spec_are_those_of_the_program() -> None:
    assert set(FaultSpec.model_json_schema()["properties"]["channel"]["enum"]) == {c.value for c in Channel}


def test_time_limits_are_those_that_experiments_have() -> None:
    from campaigns.record import Limits

    assert {*Limits.__dataclass_fields__, "experiment_s"} == set(TimeLimits.model_fields)


def schema_of_the_models() -> dict[str, object]:
    """What mutineer/schemas/spec.schema.json has to hold."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **CampaignSpec.model_json_schema()}


def test_the_shipped_schema_is_the_models_and_takes_every_preset() -> None:
    shipped = json.loads((Path(spec_module.__file__).parents[2] / "mutineer/schemas/spec.schema.json").read_text())
    made = CampaignSpec.model_json_schema()
    assert {k: v for k, v in shipped.items() if k != "$schema"} == made, (
        "write it anew: see tests/campaigns/spec/test_campaign_spec.py"
    )
    for name in presets():
        jsonschema.validate(yaml.safe_load(load_preset(name)[1]), shipped)


def test_the_quickstart_has_at_least_24_faults_that_differ_in_kind_model_and_channel() -> None:
    spec, text = load_preset("quickstart")
    assert (spec.name, spec.golden, spec.workloads) == ("quickstart", 10, ["deploy"])
    assert len(spec.faults) >= 24
    assert {f.channel for f in spec.faults} == {"apiserver-to-etcd", "at-rest-write"}
    assert {f.model for f in spec.faults} == {"bit-flip", "value-set", "boolean-invert", "byte-flip", "drop"}
    kinds = {f.target.kind for f in spec.faults}
    assert kinds >= {"Service", "EndpointSlice", "Deployment", "ReplicaSet", "Pod", "Node"}
    assert parse_spec(text, file="quickstart.yaml") == spec


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no preset 'quickstrat'; there are: dependencies, .*quickstart"):
        load_preset("quickstrat")


def test_a_spec_as_json_has_all_defaults_filled_in() -> None:
    document = spec_to_json(parse_spec("name: a", file="x"))
    assert isinstance(document, dict)
    assert document["time_limits"]["canary_s"] == 12.0  # type: ignore[index, call-overload]
