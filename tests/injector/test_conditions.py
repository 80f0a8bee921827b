"""What a rule may wait for."""

from __future__ import annotations

import pytest

from injector.conditions import parse_condition
from injector.errors import FaultError
from tests.injector.stored import golden


@pytest.mark.parametrize(
    ("text", "name", "holds"),
    [
        ("Deployment/default/web Available", "deployment", True),
        ("Deployment/default/web Available=False", "deployment", False),
        ("Deployment/default/web  Progressing=True", "deployment", True),
        ("Deployment/default/web ReplicaFailure", "deployment", False),
        ("Service/default/web exists", "service", True),
        ("Service/default/web Available", "service", False),
        ("Pod/default/web#2 Ready", "pod", True),
    ],
)
def test_a_condition_holds_as_the_objects_status_says(text: str, name: str, holds: bool) -> None:
    assert parse_condition(text).holds(golden(name)) is holds


def test_what_cannot_be_read_exists_and_has_no_conditions() -> None:
    assert parse_condition("Pod/a/b exists").holds(b"k8s\0\xff")
    assert not parse_condition("Pod/a/b Ready").holds(b"k8s\0\xff")


@pytest.mark.parametrize(
    "text",
    ["", "Available", "Deployment/default/web", "web Available", "A/b/c/d Ready", "A/b exists=True", "A/b X=1=2"],
)
def test_what_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(FaultError, match=r"such as 'Deployment/default/web Available'.* got ") as refused:
        parse_condition(text)
    assert repr(text) in str(refused.value)


def test_what_is_there_instead_is_told() -> None:
    found = parse_condition("Deployment/default/web X")
    assert found.found(None) == "there is no Deployment/default/web"
    assert found.found(golden("service")) == "Deployment/default/web has no conditions"
    assert "Available=True" in found.found(golden("deployment"))
