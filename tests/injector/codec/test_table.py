"""The shipped field table."""

from __future__ import annotations

import pytest

from injector.codec.table import SCALARS, Field, shipped_table


def test_every_type_that_a_field_names_is_a_scalar_or_a_message_of_the_table() -> None:
    table = shipped_table()
    names = set(table.message_names())
    for name in names:
        for field in table.message(name).fields.values():
            assert field.type in SCALARS or field.type in names, (name, field)


def test_the_table_was_drawn_from_the_pinned_kubernetes_version() -> None:
    assert set(shipped_table().modules.values()) == {"v0.36.3"}


@pytest.mark.parametrize(
    ("api_version", "kind", "message"),
    [
        ("apps/v1", "Deployment", "k8s.io.api.apps.v1.Deployment"),
        ("v1", "Pod", "k8s.io.api.core.v1.Pod"),
        ("discovery.k8s.io/v1", "EndpointSlice", "k8s.io.api.discovery.v1.EndpointSlice"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "k8s.io.api.rbac.v1.ClusterRole"),
    ],
)
def test_kinds_lead_to_their_messages(api_version: str, kind: str, message: str) -> None:
    found = shipped_table().of_kind(api_version, kind)
    assert found is not None
    assert found.name == message


def test_a_kind_that_is_not_built_in_has_no_message() -> None:
    assert shipped_table().of_kind("example.test/v1", "Box") is None


def test_fields_carry_names_numbers_and_what_json_does_with_them() -> None:
    table = shipped_table()
    core = "k8s.io.api.core.v1."
    volume = table.message(f"{core}Volume").fields
    assert volume[2] == Field(2, "volumeSource", f"{core}VolumeSource", inline=True)
    assert table.message(f"{core}ServiceSpec").fields[2] == Field(2, "selector", "string", map_key="string")
    assert table.message("k8s.io.api.apps.v1.DeploymentSpec").fields[1] == Field(1, "replicas", "int32", optional=True)
    assert table.message("k8s.io.api.apps.v1.DeploymentSpec").fields[7] == Field(7, "paused", "bool", omit_zero=True)
    assert table.message("k8s.io.api.certificates.v1.ExtraValue").alias
