from __future__ import annotations

import pytest

from injector.codec import list_fields, read
from injector.codec.kinds import FieldPath, KindName, find_kind, find_kinds, paths_of
from injector.codec.table import shipped_table
from injector.errors import InputError
from injector.roles import generic_path
from tests.injector.stored import KEYS, golden


@pytest.mark.parametrize("name", ["Deployment", "deployment", "Deployment.v1.apps", "apps/v1/Deployment"])
def test_a_kind_is_found_by_any_of_its_names(name: str) -> None:
    assert find_kind(name) == KindName("apps/v1", "Deployment")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Pod.v1", "v1/Pod"), ("Event", "v1/Event"), ("Event.v1.events.k8s.io", "events.k8s.io/v1/Event"),
     ("HorizontalPodAutoscaler", "autoscaling/v2/HorizontalPodAutoscaler"),
     ("CronJob.v1beta1.batch", "batch/v1beta1/CronJob"),
     ("LeaseCandidate", "coordination.k8s.io/v1beta1/LeaseCandidate")],
)  # fmt: skip
def test_the_newest_stable_version_is_the_likeliest_and_built_in_groups_come_first(name: str, kind: str) -> None:
    assert str(find_kind(name)) == kind


def test_every_kind_of_the_table_is_found_by_its_full_name() -> None:
    for api_version, kind in shipped_table().kinds():
        assert find_kinds(f"{api_version}/{kind}") == ((api_version, kind),)


def test_an_unknown_kind_is_refused_with_near_names() -> None:
    with pytest.raises(
        InputError, match=r"command line: KIND: .* no kind 'Deploymnt'; did you mean .*apps/v1/Deployment"
    ):
        find_kind("Deploymnt")
    with pytest.raises(InputError, match="no kind 'Qqqq'; expected one such as"):
        find_kind("Qqqq")


def test_paths_have_types_as_they_are_stored() -> None:
    found = {each.path: each for each in paths_of(KindName("v1", "Service"))}
    assert found["spec.ports[].port"] == FieldPath("spec.ports[].port", "int32", "int32", 0)
    assert found["spec.ports[].targetPort"] == FieldPath(
        "spec.ports[].targetPort", "int32 or string", "IntOrString", None
    )
    assert found["spec.selector[KEY]"] == FieldPath("spec.selector[KEY]", "string", "string", 2)
    assert found["metadata.creationTimestamp"] == FieldPath("metadata.creationTimestamp", "int64", "Time", 0)
    assert found["metadata.managedFields[].fieldsV1"].kubernetes_type == "FieldsV1"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Pod", "spec.volumes[].configMap.name"), ("Pod", "spec.containers[].resources.limits[KEY]"),
     ("CertificateSigningRequest.v1.certificates.k8s.io", "spec.extra[KEY][]"), ("Secret", "data[KEY]")],
)  # fmt: skip
def test_inlined_messages_add_no_step_and_lists_in_maps_stand_in_both_brackets(kind: str, path: str) -> None:
    assert path in {each.path for each in paths_of(find_kind(kind))}


def test_a_message_that_holds_itself_is_followed_once() -> None:
    found = paths_of(find_kind("CustomResourceDefinition"))
    schema = "spec.versions[].schema.openAPIV3Schema"
    cut = {each.path: each for each in found if each.recursive}
    assert cut[f"{schema}.not"] == FieldPath(f"{schema}.not", "message", "JSONSchemaProps", 2, recursive=True)
    assert cut.keys() >= {f"{schema}.properties[KEY]", f"{schema}.items.schema"}
    assert f"{schema}.maxLength" in {each.path for each in found}


def test_every_kind_has_every_path_once() -> None:
    for each in map(KindName._make, shipped_table().kinds()):
        paths = [found.path for found in paths_of(each)]
        assert len(paths) == len(set(paths)) > 5, each


@pytest.mark.parametrize("name", sorted(set(KEYS) - {"apiservice", "box", "crd"}))
def test_what_an_object_holds_is_among_its_kinds_paths(name: str) -> None:

    value = golden(name)
    found = read(value)
    known = {generic_path(each.path) for each in paths_of(KindName(found.api_version, found.kind))}
    assert {generic_path(each.path) for each in list_fields(value)} <= known


def test_a_kind_that_the_table_does_not_have_has_no_paths() -> None:
    with pytest.raises(KeyError, match=r"example\.test/v1/Box"):
        paths_of(KindName("example.test/v1", "Box"))
