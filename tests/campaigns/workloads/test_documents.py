"""Workloads as documents, there and back; and what a wrong one is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from campaigns.clusters.actions import Action
from campaigns.workloads import WORKLOADS, ServiceName, Workload
from campaigns.workloads.documents import newest_version, parse_workload, workload_to_document
from campaigns.workloads.goals import Condition, Field, Gone, PodsReady, RolledOut
from campaigns.workloads.steps import (
    Apply,
    Create,
    Delete,
    ObjectName,
    Patch,
    PatchType,
    ToComponent,
    ToNode,
    Wait,
    scale,
)
from injector.errors import InputError

CONFIG: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}}
SITE: dict[str, Any] = {"apiVersion": "shop.dev/v2", "kind": "Site", "metadata": {"name": "s", "namespace": "shop"}}
WRITTEN: dict[str, Any] = {
    "name": "shop",
    "prepare": [{"create": "c.yaml"}],
    "ready": [{"rollout": "Deployment/shop/front"}],
    "steps": [
        {"create": CONFIG},
        {"apply": "site.yaml"},
        {"patch": "Site/shop/s", "with": {"spec": {"n": 3}}, "type": "merge", "subresource": "status", "why": "more"},
        {"scale": "Deployment/shop/front", "to": 4},
        {"delete": "Namespace/shop"},
        {"delete": "Thing/shop/t", "api_version": "other.dev/v1"},
        {"node": "node-2", "do": "kill"},
        {"component": "kube-scheduler", "do": "restart"},
        {"wait": {"condition": "Node/node-2 Ready=Unknown"}, "within_s": 20},
    ],
    "done": [
        {"pods": 4, "namespace": "shop", "selector": "app=front", "not_on": "node-2"},
        {"condition": "Job/shop/import Complete"},
        {"gone": "Site/shop/old"},
        {"field": "status.phase", "of": "PersistentVolumeClaim/shop/data", "is": "Bound"},
    ],
    "services": ["shop/front"],
    "namespaces": ["shop"],
    "wanted_pods": 4,
    "wanted_pods_per_node": 1,
    "furniture": ["metrics"],
    "nodes": 2,
}
VERBS = "create, apply, patch, scale, delete, node, component, wait"
FILES = {"c.yaml": [CONFIG], "site.yaml": [SITE]}


def test_every_kind_of_step_and_goal_can_be_written() -> None:
    assert parse_workload(WRITTEN, file="workload.yaml", files=FILES) == Workload(
        name="shop",
        summary="",
        prepare=(Create(CONFIG),),
        ready=(RolledOut("Deployment/shop/front"),),
        steps=(
            Create(CONFIG),
            Apply(SITE),
            Patch(
                ObjectName("shop.dev/v2", "Site", "shop", "s"), {"spec": {"n": 3}}, PatchType.MERGE, "status", "more"
            ),
            scale(ObjectName("apps/v1", "Deployment", "shop", "front"), 4),
            Delete(ObjectName("v1", "Namespace", "", "shop")),
            Delete(ObjectName("other.dev/v1", "Thing", "shop", "t")),
            ToNode("node-2", Action.KILL),
            ToComponent("kube-scheduler", Action.RESTART),
            Wait(Condition("Node/node-2 Ready=Unknown"), 20.0),
        ),
        done=(
            PodsReady(4, "shop", "app=front", "node-2"),
            Condition("Job/shop/import Complete"),
            Gone("Site/shop/old"),
            Field("PersistentVolumeClaim/shop/data", "status.phase", "Bound"),
        ),
        services=(ServiceName("shop", "front"),),
        namespaces=("shop",),
        wanted_pods=4,
        wanted_pods_per_node=1,
        furniture=("metrics",),
        nodes=2,
    )


@pytest.mark.parametrize("workload", [*map(WORKLOADS.__getitem__, WORKLOADS), parse_workload(
    WRITTEN, file="w", files=FILES)], ids=lambda workload: workload.name)  # fmt: skip
def test_a_workload_becomes_a_document_that_becomes_the_same_workload(workload: Workload) -> None:
    document = json.loads(json.dumps(workload_to_document(workload)))
    assert parse_workload(document, file="w") == workload


def test_everything_that_is_wrong_is_told_at_once_with_its_place() -> None:
    wrong = {
        "nam": "x",
        "steps": [
            "create",
            {"crate": "c.yaml"},
            {"create": "d.yaml"},
            {"create": {"kind": "Pod", "metadata": {}}},
            {"patch": "Site/shop/s", "with": {}, "typ": "merge"},
            {"patch": "site", "with": {}},
            {"delete": "Thing/shop/t"},
            {"node": "node-2", "do": "kil"},
            {"scale": "Deployment/a/b", "to": -1},
            {"wait": {"pods": 1, "selector": "app in"}},
            {"node": "n", "component": "c", "do": "kill"},
        ],
        "done": [
            {"condition": "Job"},
            {"rollout": "Pod/a/b"},
            {"field": "a[", "of": "Pod/a/b", "is": 1},
            {"pods": "3"},
        ],
        "services": ["front"],
        "furniture": ["metric"],
        "nodes": 11,
    }
    with pytest.raises(InputError) as refused:
        parse_workload(wrong, file="workload.yaml", files={"c.yaml": [CONFIG]})
    told = [str(problem) for problem in refused.value.problems]
    expected = [
        "nam: unknown key; did you mean 'name'?",
        f"steps[0]: expected a mapping with one of {VERBS}, got 'create'",
        f"steps[1]: expected exactly one of {VERBS}, got crate; did you mean 'create'?",
        "steps[2].create: expected a manifest or one of the folder's files of manifests, got 'd.yaml'; "
        "did you mean 'c.yaml'?",
        "steps[3].create.apiVersion: is missing",
        "steps[4].typ: unknown key; did you mean 'type'?",
        "steps[5].patch: expected a text that matches",
        "steps[6].delete: no manifest of the folder is a Thing, nor is it of Kubernetes: expected an api_version",
        "steps[7].do: expected kill, stop, start, pause, resume or restart, got 'kil'; did you mean 'kill'?",
        "steps[8].to: expected a number >= 0, got -1",
        "steps[9].wait.selector: ",
        f"steps[10]: expected exactly one of {VERBS}, got node, component",
        "done[0].condition: expected KIND/NAMESPACE/NAME and a condition",
        "done[1].rollout: expected a text that matches",
        "done[2].field: ",
        "done[3].pods: expected a whole number, got '3'",
        "services[0]: expected a text that matches",
        "furniture[0]: ",
        "nodes: expected a number <= 10, got 11",
        "name: is missing",
    ]
    assert len(told) == len(expected)
    for got, begins in zip(told, expected, strict=True):
        assert got.startswith(f"workload.yaml: {begins}"), got


def test_what_is_no_mapping_is_told_so() -> None:
    with pytest.raises(InputError, match=r"w: expected a mapping with steps, done, …, got \[\]"):
        parse_workload([], file="w")


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Deployment", "apps/v1"),
        ("Pod", "v1"),
        ("HorizontalPodAutoscaler", "autoscaling/v2"),
        ("CronJob", "batch/v1"),
        ("Ingress", "networking.k8s.io/v1"),
        ("Thing", None),
    ],
)
def test_a_kind_without_a_version_is_of_the_newest_stable_one(kind: str, version: str | None) -> None:
    assert newest_version(kind) == version
