"""Roles of fields: known ones, and laws that hold for any path."""

from __future__ import annotations

import pytest

from injector.roles import RULES, Dependency, Role, dependency_of, generic_path, role_of


@pytest.mark.parametrize(
    ("kind", "path", "role", "dependency"),
    [
        ("ReplicaSet", "metadata.ownerReferences[0].uid", Role.DEPENDENCY, Dependency.OWNER_REFERENCE),
        ("Pod", "metadata.ownerReferences", Role.DEPENDENCY, Dependency.OWNER_REFERENCE),
        ("Service", "spec.selector[app]", Role.DEPENDENCY, Dependency.LABEL_OR_SELECTOR),
        ("Deployment", "spec.selector.matchLabels[app]", Role.DEPENDENCY, Dependency.LABEL_OR_SELECTOR),
        ("Pod", "metadata.labels[app.kubernetes.io/name]", Role.DEPENDENCY, Dependency.LABEL_OR_SELECTOR),
        ("Deployment", "spec.template.metadata.labels[app]", Role.DEPENDENCY, Dependency.LABEL_OR_SELECTOR),
        ("Pod", "spec.nodeSelector[disk]", Role.DEPENDENCY, Dependency.LABEL_OR_SELECTOR),
        ("Pod", "spec.nodeName", Role.DEPENDENCY, Dependency.NODE_NAME),
        ("EndpointSlice", "endpoints[0].nodeName", Role.DEPENDENCY, Dependency.NODE_NAME),
        ("Endpoints", "subsets[0].addresses[1].targetRef.name", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("HorizontalPodAutoscaler", "spec.scaleTargetRef.name", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("Pod", "spec.volumes[0].configMap.name", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("APIService", "spec.service.name", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("Lease", "spec.holderIdentity", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("ClusterRoleBinding", "subjects[0].name", Role.DEPENDENCY, Dependency.TARGET_REFERENCE),
        ("Pod", "metadata.uid", Role.IDENTITY, None),
        ("Deployment", "spec.replicas", Role.REPLICAS, None),
        ("Deployment", "status.replicas", Role.STATUS, None),
        ("Pod", "status.podIP", Role.ADDRESSES, None),
        ("Node", "spec.podCIDR", Role.ADDRESSES, None),
        ("Service", "spec.ports[0].targetPort", Role.ADDRESSES, None),
        ("EndpointSlice", "endpoints[0].addresses[0]", Role.ADDRESSES, None),
        ("EndpointSlice", "endpoints[0].conditions.ready", Role.STATUS, None),
        ("Pod", "spec.containers[0].image", Role.IMAGE_AND_COMMAND, None),
        ("Deployment", "spec.template.spec.containers[0].command[0]", Role.IMAGE_AND_COMMAND, None),
        ("Pod", "metadata.finalizers[0]", Role.METADATA, None),
        ("Deployment", "spec.template.metadata.annotations[x]", Role.METADATA, None),
        ("CronJob", "spec.schedule", Role.OTHER, None),
        ("ConfigMap", "data[Corefile]", Role.OTHER, None),
    ],
)
def test_a_field_has_the_role_that_the_design_gives_it(
    kind: str, path: str, role: Role, dependency: Dependency | None
) -> None:
    assert (role_of(kind, path), dependency_of(kind, path)) == (role, dependency)


def test_a_name_that_merely_begins_like_a_known_field_is_not_that_field() -> None:
    assert role_of("Pod", "spec.nodeNameSuffix") is Role.OTHER
    assert role_of("Pod", "spec.selectors") is Role.OTHER
    assert role_of("Pod", "kindness") is Role.OTHER


def test_a_rule_for_one_kind_says_nothing_about_another() -> None:
    assert role_of("Widget", "spec.service") is Role.OTHER


def test_indices_and_keys_do_not_change_the_role_even_with_dots_in_a_key() -> None:
    assert generic_path("metadata.labels[a.b/c].x[3]") == "metadata.labels[].x[]"
    assert role_of("Pod", "metadata.ownerReferences[].uid") is role_of("Pod", "metadata.ownerReferences[7].uid")


def test_every_dependency_rule_says_which_and_no_other_rule_does() -> None:
    assert all((rule.dependency is not None) == (rule.role is Role.DEPENDENCY) for rule in RULES)
