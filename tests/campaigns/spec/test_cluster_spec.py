from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import ImageConfig, SandboxConfig
from campaigns.clusters.sandbox.outside import Settings
from campaigns.spec import cluster_spec
from campaigns.spec.campaign_spec import load_spec
from campaigns.spec.cluster_spec import FURNITURE, ClusterSpec, load_cluster, parse_cluster
from injector.errors import InputError

SCHEMA = Path(cluster_spec.__file__).parents[2] / "mutineer/schemas/cluster.schema.json"

FULL = """\
kind: sandbox
nodes: 2
profile: kubeadm
images:
  example.com/operator:1: ["./bin/manager", "--leader-elect=false"]
  example.com/site:
    command: [python3, -m, http.server, "8080"]
    files: {/srv: public}
encryption: true
etcd_tls: true
feature_gates: {CBORServingAndStorage: true}
component_channels: true
audit: true
furniture: [webhook, quota]
"""


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with what FULL names."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "public").mkdir()
    manager = tmp_path / "bin" / "manager"
    manager.write_text("#!/bin/sh\n")
    manager.chmod(0o755)
    (tmp_path / "cluster.yaml").write_text(FULL)
    return tmp_path


def problems(text: str, folder: Path | None = None) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse_cluster(text, file="c.yaml", folder=folder)
    return [str(problem) for problem in raised.value.problems]


def test_a_whole_file_becomes_what_a_sandbox_is_made_of(beside: Path) -> None:
    settings = load_cluster(beside / "cluster.yaml").to_sandbox_settings(beside)
    assert settings == {
        "nodes": 2,
        "profile": Profile.KUBEADM,
        "images": {
            "example.com/operator:1": ImageConfig(
                command=("/manager", "--leader-elect=false"), files={"/manager": str(beside / "bin/manager")}
            ),
            "example.com/site:latest": ImageConfig(
                command=("python3", "-m", "http.server", "8080"), files={"/srv": str(beside / "public")}
            ),
        },
        "encryption": True,
        "etcd_tls": True,
        "feature_gates": {"CBORServingAndStorage": True},
        "component_channels": True,
        "audit": True,
        "furniture": ("quota", "webhook"),
    }
    config = SandboxConfig(name="a", folder=beside, binaries={}, **settings)
    assert SandboxConfig.from_json(config.to_json()) == config, "it travels into the namespace"


def test_without_anything_a_sandbox_is_what_it_is_by_default() -> None:
    settings = ClusterSpec.model_validate({}).to_sandbox_settings(Path())
    here = Path("/x")
    assert SandboxConfig(name="a", folder=here, binaries={}, **settings) == SandboxConfig(
        name="a", folder=here, binaries={}
    )
    assert set(settings) == set(Settings.__annotations__) - {"workloads"}, "which are a campaign's"


def test_the_same_stands_below_cluster_in_a_campaigns_file_with_paths_from_there(beside: Path) -> None:
    indented = "".join(f"  {line}\n" for line in FULL.splitlines())
    (beside / "campaign.yaml").write_text(f"name: a\ncluster:\n{indented}")
    spec, _ = load_spec(beside / "campaign.yaml")
    assert spec.cluster == load_cluster(beside / "cluster.yaml")
    (beside / "bin" / "manager").unlink()
    with pytest.raises(InputError, match=r"campaign\.yaml: cluster\.images\[example\.com/operator:1\]\.command: .*no "):
        load_spec(beside / "campaign.yaml")


def test_an_absolute_path_of_this_machine_is_shown_under_its_name_and_one_below_usr_is_there_anyway(
    beside: Path,
) -> None:
    text = f'images: {{a: ["{beside}/bin/manager"], b: [/usr/bin/env, x], c: [/bin/sh]}}'
    images = parse_cluster(text, file="c", folder=beside).to_sandbox_settings(beside)["images"]
    assert images["a:latest"] == ImageConfig(command=("/manager",), files={"/manager": str(beside / "bin/manager")})
    assert images["b:latest"] == ImageConfig(command=("/usr/bin/env", "x"))
    assert images["c:latest"] == ImageConfig(command=("/bin/sh",))


def test_a_path_inside_shown_files_is_the_containers(beside: Path) -> None:
    text = "images: {'a:1': {command: [/app/run], files: {/app: bin}}, 'b:1': {command: [/usr/x], files: {/usr: bin}}}"
    images = parse_cluster(text, file="c", folder=beside).to_sandbox_settings(beside)["images"]
    assert images["a:1"] == ImageConfig(command=("/app/run",), files={"/app": str(beside / "bin")})
    assert images["b:1"].command == ("/usr/x",), "a /usr of its own"


def test_a_link_is_shown_as_what_it_leads_to_under_its_own_name(beside: Path) -> None:
    (beside / "op").symlink_to("bin/manager")
    image = parse_cluster("images: {'a@sha256:1': [./op]}", file="c", folder=beside).images["a@sha256:1"]
    assert image.resolved(beside) == ImageConfig(command=("/op",), files={"/op": str(beside / "bin/manager")})


def test_every_mistake_comes_at_once_with_its_place_in_the_files_order(beside: Path) -> None:
    (beside / "plain").write_text("")
    text = """
nodes: 11
imagse: {}
images:
  A/b: [sh]
  a/b:1: []
  a/b:2: [./missing]
  a/b:3: [./plain]
  a/b:4: [bin/]
  a/b:5: [no-such-command]
  a/b:6: {command: [sh, 8080], files: {srv: public, /proc/x: public, /srv: nowhere}, comand: x}
  a/b:7: 7
audit: maybe
furniture: [qouta]
"""
    assert problems(text, beside) == [
        "c.yaml: nodes: expected a number <= 10, got 11",
        "c.yaml: imagse: unknown key; did you mean 'images'?",
        "c.yaml: images[A/b]: expected a text that matches ^[a-z0-9][A-Za-z0-9._/:@-]*$, got 'A/b'",
        "c.yaml: images[a/b:1].command: expected at least one entry, got none",
        f"c.yaml: images[a/b:2].command: expected an executable, got './missing': there is no {beside}/missing; "
        "is it built?",
        f"c.yaml: images[a/b:3].command: './plain' is not executable: chmod +x {beside}/plain",
        "c.yaml: images[a/b:4].command: 'bin/' would be /bin in the container, which has that already; "
        "name it otherwise",
        "c.yaml: images[a/b:5].command: no command 'no-such-command' below /usr, which is all that a container sees "
        "of this machine; a file of yours is named by its path: ./no-such-command",
        "c.yaml: images[a/b:6].command[1]: expected a text, got 8080",
        "c.yaml: images[a/b:6].files.srv: expected an absolute path in the container, got 'srv'",
        "c.yaml: images[a/b:6].files[/proc/x]: /proc is the container's own; expected a path elsewhere, e.g. /srv, "
        "got '/proc/x'",
        "c.yaml: images[a/b:6].files[/srv]: expected a file or folder of this machine, got 'nowhere': "
        f"there is no {beside}/nowhere",
        "c.yaml: images[a/b:6].comand: unknown key; did you mean 'command'?",
        "c.yaml: images[a/b:7]: expected a mapping, got 7",
        "c.yaml: audit: expected true or false, got 'maybe'",
        "c.yaml: furniture[0]: expected pod-disruption-budget, quota, admission-policy, webhook, operator, volumes, "
        "metrics or all, got 'qouta'; did you mean 'quota'?",
    ]


def test_files_are_not_looked_at_where_the_files_folder_is_not_known() -> None:
    assert parse_cluster(FULL, file="c").images["example.com/operator:1"].command[0] == "./bin/manager"


@pytest.mark.parametrize("text", ["", "- 1", "7"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert problems(text)[0].startswith("c.yaml: expected a mapping with nodes, profile, images, …, got ")


def test_a_file_that_is_not_there_is_a_problem_of_that_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: can't be read"):
        load_cluster(tmp_path / "nothing.yaml")


def test_furniture_can_be_had_altogether_but_nothing_twice() -> None:
    assert parse_cluster("furniture: [all]", file="c").wanted_furniture == FURNITURE
    assert problems("furniture: [quota, quota]") == ["c.yaml: furniture: 'quota' named twice"]


def test_ids_are_made_of_what_differs_from_the_first_version_and_of_nothing_of_this_machine(beside: Path) -> None:
    old = {"kind": "sandbox", "nodes": 3, "profile": "fast"}
    assert ClusterSpec.model_validate({}).content() == old
    written = parse_cluster("audit: false\nimages: {}\nfurniture: []\nencryption: false\netcd_tls: false", file="c")
    assert written.content() == old
    everything = parse_cluster("furniture: [all]", file="c").content()
    assert everything == {**old, "furniture": list(FURNITURE)}
    content = json.dumps(load_cluster(beside / "cluster.yaml").content())
    assert str(beside) not in content and '"./bin/manager"' in content
    assert parse_cluster("furniture: [webhook, quota]", file="c").content() == (
        parse_cluster("furniture: [quota, webhook]", file="c").content()
    )


def test_the_shipped_schema_is_the_models_and_takes_both_forms_of_an_image() -> None:
    shipped = json.loads(SCHEMA.read_text())
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ClusterSpec.model_json_schema()}
    assert shipped == made, "write it anew: see this test"
    jsonschema.validate(yaml.safe_load(FULL), shipped)
    for wrong in ({"images": {"a": "sh"}}, {"images": {"a": {"files": {}}}}, {"furniture": ["x"]}, {"node": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, shipped)


def test_the_example_is_a_cluster_config() -> None:
    shown = load_cluster(Path(__file__).parents[3] / "examples/cluster.yaml")
    assert shown.nodes == 2 and shown.encryption and shown.wanted_furniture
