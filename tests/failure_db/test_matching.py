"""Matching: known likenesses, laws that hold for every signature, and a score that can be recomputed by hand."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from failure_db.catalogue import Incident, load
from failure_db.matching import FLOOR, WEIGHTS, Signature, match, signature_of
from injector.roles import Role
from injector.rules import Rule
from injector.targets import Channel, Target

INCIDENTS = load()
BY_ID = {incident.id: incident for incident in INCIDENTS}

Out, Client = OrchestratorFailure, ClientFailure


def incident(name: str, **changes: object) -> Incident:
    base: dict[str, object] = BY_ID["same-pod-cidr-pasted-on-all-workers"].model_dump()
    return Incident.model_validate({**base, "id": name, **changes})


def best(**signature: object) -> str:
    matches = match(Signature(**signature), INCIDENTS)  # type: ignore[arg-type]
    return matches[0].id if matches else "nothing"


def test_a_service_selector_that_ends_in_network_matches_a_story_of_labels_and_selectors_of_services() -> None:
    first, *_ = match(
        Signature(
            kind="Service", field="spec.selector[app]", orchestrator=Out.NETWORK, client=Client.UNREACHABLE,
            model="bit-flip",
        ),
        INCIDENTS,
    )  # fmt: skip
    assert first.id == "srecon-rogue-operator-services-2022"
    assert first.why == (
        "label or selector as well: metadata.labels there; same kind Service; ended in network, as there; "
        "clients could not reach the service, as there"
    )


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (
            {"kind": "ReplicaSet", "field": "metadata.ownerReferences[0].uid", "orchestrator": Out.LESS_RESOURCES},
            "gc-invalid-ownerref-uid-nondeterministic",
        ),
        (
            {"kind": "Pod", "field": "metadata.ownerReferences[0].uid", "orchestrator": Out.MORE_RESOURCES},
            "gc-unresolvable-owner-leaks-children",
        ),
        (
            {"kind": "Pod", "field": "metadata.labels[app]", "orchestrator": Out.MORE_RESOURCES},
            "rc-shared-labels-fight",
        ),
        (
            {"kind": "Node", "field": "spec.podCIDR", "orchestrator": Out.NETWORK, "client": Client.INTERMITTENT},
            "node-cidr-mask-change-overlap",
        ),
        (
            {"kind": "Node", "model": "byte-flip", "orchestrator": Out.STALL, "undecodable": True},
            "etcd-node-invalid-json-blocks-list",
        ),
        (
            {"kind": "Pod", "model": "drop", "orchestrator": Out.LESS_RESOURCES},
            "phantom-pod-after-restore",
        ),
        (
            {"kind": "Pod", "field": "spec.nodeName", "orchestrator": Out.LESS_RESOURCES},
            "moonlight-same-host-2019",
        ),
        (
            {"kind": "Service", "field": "spec.clusterIP", "orchestrator": Out.NETWORK},
            "duplicate-clusterip-api-service-2022",
        ),
        (
            {"kind": "PriorityClass", "field": "value", "orchestrator": Out.OUTAGE},
            "grafana-pod-priorities-2019",
        ),
    ],
)  # fmt: skip
def test_a_known_fault_finds_its_story_first(signature: dict[str, object], expected: str) -> None:
    assert best(**signature) == expected


def test_the_reason_names_the_field_the_kind_and_the_end() -> None:
    (found,) = match(
        Signature(kind="Service", field="spec.clusterIP", orchestrator=Out.NETWORK),
        (BY_ID["duplicate-clusterip-api-service-2022"],),
    )
    assert found.why == "same field spec.clusterIP of a Service; ended in network, as there"


@pytest.mark.parametrize("orchestrator", [None, Out.NONE])
def test_an_experiment_without_a_failure_matches_nothing(orchestrator: OrchestratorFailure | None) -> None:
    for story in INCIDENTS:
        for kind in story.objects:
            for field in story.fields:
                signature = Signature(
                    kind=kind, field=field, orchestrator=orchestrator, also=story.failure, client=Client.UNREACHABLE
                )
                assert match(signature, INCIDENTS) == ()


def test_a_story_that_ended_otherwise_is_not_shown_but_one_that_shares_a_second_class_is() -> None:
    stories = (incident("one", failure=["network"]),)
    node = {"kind": "Node", "field": "spec.podCIDR"}
    assert match(Signature(**node, orchestrator=Out.STALL), stories) == ()
    (second,) = match(Signature(**node, orchestrator=Out.STALL, also=(Out.NETWORK,)), stories)
    (first,) = match(Signature(**node, orchestrator=Out.NETWORK), stories)
    assert first.score - second.score == pytest.approx(WEIGHTS["class"] / 2)
    assert "also showed network" in second.why


def test_the_score_is_the_documented_sum() -> None:
    stories = (
        incident("exact", objects=["Node"], fields=["spec.podCIDR"], failure=["network"], client_impact="unreachable"),
        incident("kind-only", objects=["Node"], fields=["spec.taints"], failure=["network"], client_impact="unknown"),
    )
    (found,) = match(
        Signature(kind="Node", field="spec.podCIDR", orchestrator=Out.NETWORK, client=Client.UNREACHABLE), stories
    )
    rarity_of_kind = 0.5 + 0.5 * math.log(3 / 2) / math.log(3)  # two of two stories agree in kind
    assert found.id == "exact"
    assert found.score == pytest.approx(0.40 + 0.20 * rarity_of_kind + 0.25 + 0.08 + 0.07, abs=0.001)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_rare_agreement_weighs_more_than_common_agreement() -> None:
    rare, common = incident("rare", fields=["spec.podCIDR"]), incident("common", fields=["spec.taints"])
    crowd = [incident(f"crowd-{n}", fields=["spec.taints"]) for n in range(9)]
    stories = (rare, common, *crowd)
    of_rare = match(Signature(kind="Node", field="spec.podCIDR", orchestrator=Out.NETWORK), stories)
    of_common = match(Signature(kind="Node", field="spec.taints", orchestrator=Out.NETWORK), stories)
    assert of_rare[0].id == "rare"
    assert of_rare[0].score > of_common[0].score + 0.1


def test_same_field_beats_part_of_it_beats_template_beats_same_tie_beats_same_role() -> None:
    stories = tuple(
        incident(name, objects=["Pod", "Deployment"], fields=[field])
        for name, field in {
            "a-role": "spec.nodeName",
            "b-tie": "spec.nodeSelector",
            "c-template": "spec.template.metadata.labels[app]",
            "d-part": "metadata.labels",
            "e-same": "metadata.labels[app]",
        }.items()
    )
    found = match(
        Signature(kind="Pod", field="metadata.labels[app]", orchestrator=Out.NETWORK, client=Client.UNREACHABLE),
        stories,
        top=9,
    )
    assert [m.id for m in found][:4] == ["e-same", "d-part", "c-template", "b-tie"]
    assert [m.score for m in found] == sorted({m.score for m in found}, reverse=True)


def test_two_keys_of_one_map_are_two_fields_but_label_keys_are_the_users_own_names() -> None:
    data = (incident("one", objects=["ConfigMap"], fields=["data[token]"]),)
    assert match(Signature(kind="ConfigMap", field="data[Corefile]", orchestrator=Out.NETWORK), data) == ()
    labels = (incident("one", objects=["Pod"], fields=["metadata.labels[team]"]),)
    (found,) = match(Signature(kind="Pod", field="metadata.labels[app]", orchestrator=Out.NETWORK), labels)
    assert found.why.startswith("same field")


def test_sharing_only_kind_and_end_is_no_likeness_when_a_field_was_hit() -> None:
    stories = (incident("one", objects=["Pod"], fields=["spec.dnsConfig.options"], client_impact="none"),)
    signature = Signature(kind="Pod", field="spec.priority", orchestrator=Out.NETWORK, client=Client.NONE)
    assert match(signature, stories) == ()


def test_a_signature_takes_field_role_and_classes_from_rule_and_verdict() -> None:
    rule = Rule(
        id="r",
        channel=Channel.AT_REST_WRITE,
        model="value-set",
        target=Target(kind="Service", identity="Service/default/web", field="spec.selector[app]"),
    )
    verdict = Verdict(
        state=State.JUDGED, reasons=(), orchestrator=Out.NETWORK, also=(Out.TIMING,), client=Client.UNREACHABLE
    )
    assert signature_of(rule, verdict, None) == Signature(
        kind="Service",
        field="spec.selector[app]",
        role=Role.DEPENDENCY,
        model="value-set",
        channel=Channel.AT_REST_WRITE,
        orchestrator=Out.NETWORK,
        also=(Out.TIMING,),
        client=Client.UNREACHABLE,
    )


KINDS = [*sorted({kind for story in INCIDENTS for kind in story.objects if kind != "*"}), "Unheard"]
FIELDS = [*sorted({field for story in INCIDENTS for field in story.fields if field != "*"}), "spec.unheard", "data[x]"]
SIGNATURES = st.builds(
    Signature,
    kind=st.sampled_from(KINDS),
    field=st.none() | st.sampled_from(FIELDS),
    model=st.sampled_from(["value-set", "bit-flip", "drop", "byte-flip"]),
    orchestrator=st.none() | st.sampled_from(list(Out)),
    also=st.lists(st.sampled_from(list(Out)), max_size=2).map(tuple),
    client=st.none() | st.sampled_from(list(Client)),
    undecodable=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(SIGNATURES, st.integers(0, 2**32))
def test_scores_lie_between_floor_and_one_best_first_and_the_catalogues_order_does_not_matter(
    signature: Signature, seed: int
) -> None:
    shuffled = list(INCIDENTS)
    random.Random(seed).shuffle(shuffled)
    found = match(signature, INCIDENTS, top=5)
    assert found == match(signature, shuffled, top=5)
    assert all(FLOOR <= m.score <= 1.0 and m.why for m in found)
    assert list(found) == sorted(found, key=lambda m: (-m.score, m.id))
    assert len(found) <= 5
    failures = {signature.orchestrator, *signature.also}
    assert all(failures & set(BY_ID[m.id].failure) for m in found)


def test_one_incident_or_none_is_a_catalogue_too() -> None:
    signature = Signature(kind="Node", field="spec.podCIDR", orchestrator=Out.NETWORK)
    assert match(signature, ()) == ()
    assert len(match(signature, (BY_ID["node-duplicate-podcidr-scale-test"],))) == 1
