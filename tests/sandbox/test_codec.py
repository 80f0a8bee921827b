"""Everything that a real cluster stores: read, written, and compared with what its own API says of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import control, outside
from injector.codec import Storage, locate, read, to_bytes, to_tree
from injector.rules import JSONValue
from mutineer.documents import ORIGINAL, document_of
from mutineer.stored_values import keys_below
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CLUSTER = "nodes: 1\nfurniture: [all]\nfeature_gates: {CBORServingAndStorage: true}\n"
MORE = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: mutineer/web:1}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: mutineer/web:1}]}}}
---
apiVersion: v1
kind: Secret
metadata: {name: s3cret}
stringData: {password: correct horse}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec: {defaultBackend: {service: {name: db, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: none}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: db}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: db}}
---
apiVersion: demo.mutineer.dev/v1
kind: Site
metadata: {name: shop}
spec: {replicas: 1}
"""
SITE = "/registry/demo.mutineer.dev/sites/default/shop"
"""The cluster's feature gate has custom resources stored as CBOR."""
COMPONENTS_OWN = ("/registry/ranges/", "/registry/masterleases/", "/registry/peerserverleases/")
"""What kube-apiserver keeps there for itself: no client can ask for it."""
CHANGES = ("/registry/events/", "/registry/leases/", "/registry/horizontalpodautoscalers/")
"""What is written again and again (the last every 2 s in profile `fast`): asked a moment later the API may say what is
newer."""


@dataclass(frozen=True)
class Cluster:
    folder: Path

    def mutineer(self, *argv: str, told: bytes = b"") -> bytes:
        command = [sys.executable, "-m", "mutineer", *argv]
        done = subprocess.run(command, input=told, capture_output=True, cwd=ROOT, timeout=100, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout!r} {done.stderr!r}"
        return done.stdout

    def kubectl(self, *argv: str, told: bytes = b"") -> bytes:
        return self.mutineer("sandbox", "kubectl", "--name", "c", *argv, told=told)

    def value(self, key: str) -> bytes:
        return base64.b64decode(str(control.ask(self.folder, {"do": "value", "key": key}, within_s=20)))

    def dump(self) -> dict[str, bytes]:
        return {key: self.value(key) for key in keys_below("c", "/registry/")}


@pytest.fixture(scope="module")
def cluster(binaries: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    state, folder = Path(f"/tmp/mt-{os.getpid()}-c"), tmp_path_factory.mktemp("codec")
    state.mkdir(mode=0o700)
    (folder / "cluster.yaml").write_text(CLUSTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("PYTHONPATH", str(ROOT))
        try:
            Cluster(folder).mutineer("sandbox", "up", "--name", "c", "--config", str(folder / "cluster.yaml"))
            found = Cluster(outside.find_running("c").config.folder)
            found.kubectl("apply", "-f", "-", told=MORE.encode())
            found.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
            found.kubectl("wait", "site/shop", "--for=condition=Ready", "--timeout=60s")
            yield found
        finally:
            for name in outside.running():
                outside.down(name)
            shutil.rmtree(state)


def test_everything_that_is_stored_is_written_again_byte_for_byte(cluster: Cluster) -> None:
    dump = cluster.dump()
    kinds = {str(to_tree(value)["kind"]) for value in dump.values()}
    assert len(dump) > 300 and kinds >= {
        "Pod", "StatefulSet", "CronJob", "Secret", "Ingress", "NetworkPolicy", "HorizontalPodAutoscaler", "Node",
        "ControllerRevision", "CustomResourceDefinition", "APIService", "ValidatingAdmissionPolicy", "RangeAllocation",
    }  # fmt: skip
    cbor = {key for key, value in dump.items() if read(value).storage is Storage.CBOR}
    assert SITE in cbor
    differing = {key for key, value in dump.items() if to_bytes(to_tree(value)) != value}
    assert differing == cbor, "a tree does not say how it was stored"
    assert {key for key, value in dump.items() if ORIGINAL in document_of(value)} == cbor


def test_the_api_says_the_same_of_everything(cluster: Cluster) -> None:
    """Each stored object beside GET of the same one, in the version in which it is stored: nothing is converted then,
    and what defaulting at reading would add was added before it was stored. What else the API adds, or leaves out where
    it is empty, is in `_plain`."""
    said = dict(_api_objects(cluster))
    asked = {key[:2] for key in said}
    compared: set[str] = set()
    for key, value in cluster.dump().items():
        tree: Any = to_tree(value)
        identity = _identity(tree)
        if key.startswith((*COMPONENTS_OWN, *CHANGES)) or identity[:2] not in asked:
            continue
        assert _plain(said[identity]) == _plain(tree), key
        compared.add(tree["kind"])
    assert len(compared) > 30, compared


def _api_objects(cluster: Cluster) -> Iterator[tuple[tuple[str, ...], JSONValue]]:
    listed = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").decode().split()
    wanted = ",".join(name for name in listed if not name.startswith("events"))
    found = json.loads(cluster.kubectl("get", wanted, "-A", "-o", "json", "--show-managed-fields"))
    for each in found["items"]:
        yield _identity(each), each


def _identity(tree: Any) -> tuple[str, ...]:
    metadata = tree.get("metadata", {})
    return tree["kind"], tree["apiVersion"], metadata.get("namespace", ""), metadata.get("name", "")


def _plain(value: Any) -> Any:
    """Without nulls, empty mappings and lists, and without the resourceVersion: it is etcd's revision, in no value."""
    if isinstance(value, dict):
        found = {key: _plain(each) for key, each in value.items() if key not in ("resourceVersion", "selfLink")}
        return {key: each for key, each in found.items() if each not in (None, {}, [])}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def test_a_key_is_decoded_edited_and_encoded_and_the_cluster_takes_it(cluster: Cluster) -> None:
    key = "/registry/configmaps/default/settings"
    cluster.kubectl("create", "configmap", "settings", "--from-literal=hello=world")
    text = cluster.mutineer("decode", "--cluster", "c", "--key", key)
    assert b"hello: world" in text
    assert cluster.mutineer("encode", told=text) == cluster.value(key)
    rows = json.loads(cluster.mutineer("fields", "--cluster", "c", "--key", key, "--json"))
    assert [each["value"] for each in rows if each["path"] == "data[hello]"] == ["world"]
    cluster.kubectl("delete", "configmap", "settings")
    wait_until(lambda: key not in keys_below("c", key), within_s=10, what="it to be gone")


def test_a_custom_resource_stored_as_cbor_is_changed_in_one_field_and_the_cluster_reads_it(cluster: Cluster) -> None:
    inject = ("inject", "--cluster", "c", "Site/default/shop", "--group", "demo.mutineer.dev")
    done = json.loads(cluster.mutineer(*inject, "--field", "spec.replicas", "--value", "2", "--json"))
    assert done["firing"]["field_before"] == 1 and done["firing"]["accepted"]
    replicas = cluster.kubectl("get", "site", "shop", "-o", "jsonpath={.spec.replicas}")
    assert replicas == b"2" and read(cluster.value(SITE)).storage is Storage.CBOR
    cluster.mutineer("inject", "--cluster", "c", "--undo")
    assert locate(cluster.value(SITE), "spec.replicas").value == 1
    cluster.kubectl("wait", "site/shop", "--for=condition=Ready", "--timeout=60s")
