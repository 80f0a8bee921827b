"""A user's own folder: what is made of it, in which order, under which name; and what is wrong with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from campaigns.planning.plan import plan
from campaigns.spec.campaign_spec import CampaignSpec, load_spec, parse_spec
from campaigns.workloads.documents import workload_to_document
from campaigns.workloads.manifests import load_folder
from campaigns.workloads.steps import Create
from injector.errors import InputError

EXAMPLES = Path(__file__).parents[3] / "examples/manifests"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "shop", tmp_path / "shop"))


def campaign(folder: Path, text: str = "name: own\nworkloads: [{manifests: ./shop}]") -> CampaignSpec:
    return parse_spec(text, file="own.yaml", folder=folder)


def test_namespaces_and_definitions_come_first_and_what_a_step_names_comes_later(shop: Path) -> None:
    workload = load_folder(shop)
    assert [str(step) for step in workload.prepare] == [
        "create Namespace/shop",
        "create CustomResourceDefinition/sites.demo.mutineer.dev",
        "wait until CustomResourceDefinition/sites.demo.mutineer.dev Established",
        "create Deployment/shop/greeter",
        "create ServiceAccount/shop/site-operator",
        "create ClusterRole/site-operator",
        "create ClusterRoleBinding/site-operator",
        "create Deployment/shop/site-operator",
        "create Site/shop/blog",
    ]
    assert [str(step) for step in workload.steps] == ["patch Site/shop/blog: more readers", "create Site/shop/news"]
    assert workload.asked_for == ("Site/shop/blog", "Site/shop/news")


def test_without_ready_every_rollout_is_waited_for(shop: Path) -> None:
    described = (shop / "workload.yaml").read_text()
    begin, end = described.index("ready:"), described.index("steps:")
    (shop / "workload.yaml").write_text(described[:begin] + described[end:])
    assert [str(goal) for goal in load_folder(shop).ready] == [
        "Deployment/shop/greeter is rolled out",
        "Deployment/shop/site-operator is rolled out",
    ]


def test_an_object_without_a_namespace_gets_the_one_that_kubectl_would_give_it(tmp_path: Path) -> None:
    (tmp_path / "workload.yaml").write_text("name: x\nsteps: [{create: all.yml}]\ndone: [{pods: 1}]")
    (tmp_path / "all.yml").write_text(
        """kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- {apiVersion: v1, kind: PersistentVolume, metadata: {name: b}}
- {apiVersion: x.dev/v1, kind: Ring, metadata: {name: c}}
- {apiVersion: x.dev/v1, kind: Rope, metadata: {name: d}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.x.dev}
spec: {scope: Cluster, names: {kind: Ring}}
---
"""
    )
    assert load_folder(tmp_path).asked_for == (
        "ConfigMap/default/a",
        "PersistentVolume/b",
        "Ring/c",
        "Rope/default/d",
        "CustomResourceDefinition/rings.x.dev",
    )


def test_plan_ids_go_by_what_is_in_the_folder_and_not_by_where_it_is(shop: Path, tmp_path: Path) -> None:
    before = plan(campaign(shop.parent))
    moved = tmp_path / "elsewhere" / "shop"
    shutil.copytree(shop, moved)
    assert plan(campaign(moved.parent)) == before
    (moved / "later.yaml").write_text((moved / "later.yaml").read_text().replace("replicas: 1", "replicas: 3"))
    changed = plan(campaign(moved.parent))
    assert not {e.id for e in changed.experiments} & {e.id for e in before.experiments}
    (name,) = {e.workload for e in before.experiments}
    assert name.startswith("shop@") and name not in {e.workload for e in changed.experiments}
    (moved / "later.yaml").write_text((shop / "later.yaml").read_text() + "# a comment says nothing\n")
    assert plan(campaign(moved.parent)) == before


def test_a_run_s_spec_can_be_read_again_without_the_folder(shop: Path, tmp_path: Path) -> None:
    first = campaign(shop.parent)
    kept = first.own_workloads
    assert list(kept) == ["./shop"]
    shutil.rmtree(shop)
    again = parse_spec("name: own\nworkloads: [{manifests: ./shop}]", file="own.yaml", own_workloads=kept)
    assert plan(again) == plan(first) and again.known_workloads == first.known_workloads
    changed = first.model_copy(update={"seed": 2})
    assert changed.known_workloads == first.known_workloads


def test_the_sandboxes_are_handed_the_workload_and_the_furniture_it_needs(shop: Path) -> None:
    (shop / "workload.yaml").write_text((shop / "workload.yaml").read_text() + "furniture: [metrics]\n")
    spec = campaign(shop.parent, "name: own\ncluster: {furniture: [quota]}\nworkloads: [{manifests: ./shop}, stateful]")
    settings = spec.to_sandbox_settings(shop.parent)
    assert settings["furniture"] == ("quota", "volumes", "metrics")
    assert settings["workloads"] == (workload_to_document(spec.known_workloads[0]),)


def test_the_example_is_a_campaign_without_a_problem() -> None:
    spec, _ = load_spec(EXAMPLES / "campaign.yaml")
    (workload,) = spec.known_workloads
    images = {
        container["image"]
        for step in workload.prepare
        if isinstance(step, Create) and step.manifest["kind"] == "Deployment"
        for container in step.manifest["spec"]["template"]["spec"]["containers"]  # type: ignore[index,call-overload]
    }
    assert images == {"mutineer/operator:1", *spec.cluster.images}


def test_every_problem_of_every_file_is_told_at_once(shop: Path) -> None:
    (shop / "greeter.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n---\n- 1\n")
    (shop / "sites.yaml").write_text("a: [1\n")
    (shop / "workload.yaml").write_text("steps: [{create: nosuch.yaml}]\ndone: []\nwhat: 1\n")
    with pytest.raises(InputError) as refused:
        campaign(shop.parent, "name: own\nworkloads: [{manifests: ./shop}, {manifests: ./none}, deplay]\ngolden: 1")
    told = "\n".join(str(problem).replace(str(shop), "SHOP") for problem in refused.value.problems)
    for expected in (
        "SHOP/greeter.yaml: document 1.metadata.name: is missing: each object must have a name of its own",
        "SHOP/greeter.yaml: document 2: expected a manifest, got [1]",
        "SHOP/sites.yaml: line 2, column 1: not valid YAML",
        "SHOP/workload.yaml: steps[0].create: expected a manifest or one of the folder's files of manifests, "
        "got 'nosuch.yaml'",
        "SHOP/workload.yaml: done: expected at least one entry, got none",
        "SHOP/workload.yaml: what: unknown key",
        "own.yaml: workloads[1].manifests: expected a folder with a workload.yaml: ",
        "own.yaml: workloads[2]: no workload 'deplay'; did you mean 'deploy'?",
        "own.yaml: golden: expected a number >= 4, got 1",
    ):
        assert expected in told, told
    assert len(refused.value.problems) == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workloads: [{manifest: ./shop}]", "workloads[0]: expected a text"),
        ("workloads: [{manifests: 3}]", "workloads[0]: expected a text"),
        ("workloads: [{manifests: ./shop}, {manifests: ./shop}]", "workloads[1]: 'shop@"),
        ("cluster: {nodes: 1}\nworkloads: [failover]", "cluster.nodes is 1, but failover needs 2"),
    ],
)
def test_what_is_no_folder_or_does_not_fit_is_refused(shop: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        campaign(shop.parent, f"name: own\n{text}")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{node: node-4, do: kill}", "the cluster has node-1 to node-3, but shop@"),
        ("{component: kube-proxy, do: kill}", "a step can be about etcd, kube-apiserver, kube-controller-manager, "),
    ],
)
def test_a_step_about_what_the_cluster_does_not_have_is_refused(shop: Path, step: str, told: str) -> None:
    path = shop / "workload.yaml"
    text = path.read_text()
    path.write_text(text.replace("steps:\n", "steps:\n- {component: kubelet-node-3, do: restart}\n", 1))
    campaign(shop.parent)
    path.write_text(text.replace("steps:\n", f"steps:\n- {step}\n", 1))
    with pytest.raises(InputError, match=told) as refused:
        campaign(shop.parent)
    assert step.split()[1].rstrip(",") in str(refused.value)
