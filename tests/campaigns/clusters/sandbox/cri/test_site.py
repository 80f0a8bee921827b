"""What the site operator decides."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.site import LABEL, children, foreign, merged, status

SITE: dict[str, Any] = {
    "metadata": {"name": "hello", "namespace": "shop", "uid": "u1", "generation": 3},
    "spec": {"replicas": 2, "port": 81, "image": "mutineer/web:1"},
}
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def test_children_belong_to_their_site_and_are_what_it_asks_for() -> None:
    deployment, service = children(SITE)
    for child in (deployment, service):
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Site", "hello", "u1", True)
        assert (child["metadata"]["namespace"], child["metadata"]["labels"][LABEL]) == ("shop", "hello")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "mutineer/web:1"
    selected = deployment["spec"]["selector"]["matchLabels"]
    assert selected == service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert [port["port"] for port in service["spec"]["ports"]] == [81]


def test_a_site_without_a_spec_is_an_error() -> None:
    with pytest.raises(KeyError):
        children({"metadata": SITE["metadata"], "spec": {}})


def as_stored() -> tuple[dict[str, Any], dict[str, Any]]:
    """Children as an API server would have them: with defaults, and with what others add."""
    deployment, service = (copy.deepcopy(child) for child in children(SITE))
    deployment["metadata"] |= {"uid": "u2", "annotations": {"deployment.kubernetes.io/revision": "1"}}
    deployment["metadata"]["labels"]["team"] = "a"
    deployment["spec"]["template"]["spec"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    service["spec"] |= {"clusterIP": "10.96.0.7", "type": "ClusterIP"}
    service["metadata"]["ownerReferences"].insert(0, {"uid": "u9", "kind": "App", "name": "a"})
    return deployment, service


def test_what_others_add_is_no_difference() -> None:
    for there, wanted in zip(as_stored(), children(SITE), strict=True):
        assert merged(there, wanted) == there
        there["metadata"]["ownerReferences"].append({"uid": "u8", "kind": "App", "name": "b"})
        assert merged(there, wanted) == there, "owners have no order"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replicas"), 67),
        (("metadata", "labels", LABEL), "hellp"),
        (("metadata", "ownerReferences"), []),
        (("metadata", "ownerReferences", 0, "controller"), False),
        (("spec", "template", "spec", "containers", 0, "image"), "mutineer/wec:1"),
        (("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), 8081),
        (("spec", "template", "spec", "containers"), []),
        (("spec", "selector", "matchLabels"), {LABEL: "hello", "more": "x"}),
    ],
)
def test_what_is_wrong_in_a_deployment_is_put_right_and_nothing_else(path: tuple[Any, ...], value: object) -> None:
    there, wanted = as_stored()[0], children(SITE)[0]
    good = copy.deepcopy(there)
    *way, last = path
    at = there
    for step in way:
        at = at[step]
    at[last] = value
    mended = merged(there, wanted)
    assert mended != there
    good["spec"]["template"]["spec"]["containers"][0].pop("terminationMessagePath")  # gone where the list was
    mended["spec"]["template"]["spec"]["containers"][0].pop("terminationMessagePath", None)
    assert mended == good


def test_a_services_selector_is_exactly_what_is_wanted() -> None:
    there, wanted = as_stored()[1], children(SITE)[1]
    there["spec"]["selector"]["more"] = "x"
    mended = merged(there, wanted)
    assert mended["spec"]["selector"] == {LABEL: "hello"} and mended["spec"]["clusterIP"] == "10.96.0.7"
    assert [owner["uid"] for owner in mended["metadata"]["ownerReferences"]] == ["u9", "u1"]


def test_only_somebody_elses_controller_is_foreign() -> None:
    def owned(*owners: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"ownerReferences": list(owners)}}

    other = {"kind": "App", "name": "a", "uid": "u9"}
    assert foreign({"metadata": {}}, SITE) is None
    assert foreign(owned(other), SITE) is None
    assert foreign(children(SITE)[0], SITE) is None
    assert foreign(owned({**other, "controller": True}), SITE) == "App a"


def deployed(ready: int, *, observed: int = 1, updated: int | None = None) -> dict[str, Any]:
    told = {
        "observedGeneration": observed,
        "readyReplicas": ready,
        "updatedReplicas": ready if updated is None else updated,
    }
    return {"metadata": {"generation": 1}, "status": told}


def test_the_status_tells_of_readiness_and_of_problems() -> None:
    def ready(deployment: dict[str, Any] | None, problem: str | None = None) -> tuple[str, str]:
        (condition,) = status(SITE, deployment, problem, NOW)["conditions"]
        return condition["status"], condition["reason"]

    assert ready(None) == ("False", "Progressing")
    assert ready(deployed(1)) == ("False", "Progressing")
    assert ready(deployed(2, observed=0)) == ("False", "Progressing")
    assert ready(deployed(2, updated=1)) == ("False", "Progressing")
    assert ready(deployed(2)) == ("True", "AllReplicasReady")
    assert ready(deployed(2), "no") == ("False", "ReconcileFailed")


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    first = status(SITE, deployed(1), None, NOW)
    assert (first["observedGeneration"], first["readyReplicas"]) == (3, 1)
    again = status({**SITE, "status": first}, deployed(0), None, LATER)
    assert again["conditions"][0]["lastTransitionTime"] == NOW, "still not ready"
    changed = status({**SITE, "status": first}, deployed(2), None, LATER)
    assert changed["conditions"][0]["lastTransitionTime"] == LATER
