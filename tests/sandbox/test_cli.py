"""`mutineer sandbox` as a person uses it, on a real cluster: one for the whole file, with an image of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from kubernetes import client, config, watch

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from tests.conftest import wait_until

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CLUSTER = """\
nodes: 2
images:
  example.com/site:1: ["./bin/site", "8080"]
"""
SITE = """#!/bin/sh
echo "serving on $1"
exec python3 -m http.server "$1"
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: site}
spec:
  replicas: 2
  selector: {matchLabels: {app: site}}
  template:
    metadata: {labels: {app: site}}
    spec:
      containers:
        - name: site
          image: example.com/site:1
          readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
"""


@dataclass(frozen=True)
class Session:
    """A person's shell: a folder with files, and a sandbox named `s`."""

    folder: Path
    up: str
    """What `up` printed."""

    def mutineer(self, command: str, *argv: str, name: str = "s") -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "mutineer", "sandbox", command, "--name", name, *argv]
        return subprocess.run(whole, cwd=self.folder, capture_output=True, text=True, timeout=200, check=False)

    def says(self, command: str, *argv: str) -> str:
        done = self.mutineer(command, *argv)
        assert done.returncode == 0, f"{command} {argv}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def kubeconfig(self) -> str:
        return next(line for line in self.up.splitlines() if "KUBECONFIG=" in line).split("=", 1)[1]

    def api(self) -> client.CoreV1Api:
        return client.CoreV1Api(config.new_client_from_config(self.kubeconfig))


@pytest.fixture(scope="module")
def session(binaries: Assets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    state, folder = Path(f"/tmp/mt-{os.getpid()}-s"), tmp_path_factory.mktemp("session")
    state.mkdir(mode=0o700)
    (folder / "bin").mkdir()
    (folder / "cluster.yaml").write_text(CLUSTER)
    (folder / "deployment.yaml").write_text(DEPLOYMENT)
    (folder / "bin" / "site").write_text(SITE)
    (folder / "bin" / "site").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("PYTHONPATH", str(ROOT))
        try:
            up = Session(folder, "").mutineer("up", "--config", "cluster.yaml")
            assert up.returncode == 0, up.stderr
            yield Session(folder, up.stdout)
        finally:
            for name in outside.running():
                outside.down(name)
            shutil.rmtree(state)


def test_any_client_uses_the_kubeconfig_from_outside(session: Session) -> None:
    api = session.api()
    assert [node.metadata.name for node in api.list_node().items] == ["node-1", "node-2"]
    api.create_namespaced_config_map("default", {"metadata": {"name": "seen"}})
    for event in watch.Watch().stream(api.list_namespaced_config_map, "default", timeout_seconds=20):
        if event["object"].metadata.name == "seen":
            break
    else:
        pytest.fail("no event through the door")
    api.delete_namespaced_config_map("seen", "default")
    api.api_client.close()


def test_nobody_gets_in_without_the_key(session: Session) -> None:
    cluster = yaml.safe_load(Path(session.kubeconfig).read_text())["clusters"][0]["cluster"]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{cluster['server']}/api/v1/secrets", context=context, timeout=10)
    assert refused.value.code in (401, 403)
    refused.value.close()
    assert Path(session.kubeconfig).stat().st_mode & 0o777 == 0o600


def test_an_image_of_the_users_own_runs_from_a_file_in_the_users_folder(session: Session) -> None:
    assert "deployment.apps/site created" in session.says("kubectl", "apply", "-f", "./deployment.yaml")
    session.says("kubectl", "rollout", "status", "deployment/site", "--timeout=60s")
    wait_until(
        lambda: "serving on 8080" in session.says("kubectl", "logs", "deployment/site"), within_s=20, what="its log"
    )
    session.says("reset")


def inject(session: Session, *argv: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "mutineer", "inject", "--cluster", "s", *argv]
    return subprocess.run(whole, cwd=session.folder, capture_output=True, text=True, timeout=100, check=False)


def test_a_value_is_changed_by_hand_and_put_back(session: Session) -> None:
    of_dns = ("get", "service", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.spec.selector.k8s-app}")
    fault = ("Service/kube-system/kube-dns", "--field", "spec.selector[k8s-app]", "--value", "kube-dnt")
    dry = inject(session, *fault, "--dry-run")
    assert dry.returncode == 0 and '"kube-dns" → "kube-dnt"' in dry.stdout, dry.stderr
    assert session.says("kubectl", *of_dns) == "kube-dns"
    done = inject(session, *fault)
    assert "accepted at revision" in done.stdout, done.stderr
    wait_until(lambda: session.says("kubectl", *of_dns) == "kube-dnt", within_s=10, what="the API to tell it")
    assert "by-hand: restored" in inject(session, "--undo").stdout
    wait_until(lambda: session.says("kubectl", *of_dns) == "kube-dns", within_s=10, what="the API to tell it")


def test_the_next_write_that_matches_is_changed_on_its_way(session: Session) -> None:
    flight = ("--channel", "apiserver-to-etcd")
    armed = inject(session, "ConfigMap/default/told", "--field", "data[a]", "--value", "z", *flight, "--wait", "0")
    assert armed.stdout.startswith("armed"), armed.stderr
    session.says("kubectl", "create", "configmap", "told", "--from-literal", "a=b")
    assert session.says("kubectl", "get", "configmap", "told", "-o", "jsonpath={.data.a}") == "z"
    assert '"b" → "z"' in inject(session, "--status").stdout
    assert inject(session, "--disarm").stdout == "disarmed\n"
    none = inject(session, "ConfigMap/default/never", "--model", "drop", *flight, "--wait", "0.5")
    assert none.returncode == 4 and "no message matched within 0.5 s" in none.stderr
    session.says("reset")


def test_what_kube_apiserver_is_told_wrongly_is_stored_by_an_unrelated_write(session: Session) -> None:
    cached = ("get", "--raw", "/api/v1/namespaces/default/configmaps/heard?resourceVersion=0")
    session.says("kubectl", "create", "configmap", "heard", "--from-literal", "a=b")
    fault = ("ConfigMap/default/heard", "--field", "data[a]", "--value", "z")
    armed = inject(session, *fault, "--channel", "etcd-to-apiserver", "--operation", "watch", "--wait", "0")
    assert armed.returncode == 0, armed.stderr
    session.says("kubectl", "annotate", "configmap", "heard", "touched=1")
    wait_until(
        lambda: json.loads(session.says("kubectl", *cached))["data"] == {"a": "z"}, within_s=10, what="the cache"
    )
    # a get by name asks etcd
    assert session.says("kubectl", "get", "configmap", "heard", "-o", "jsonpath={.data.a}") == "b"
    assert inject(session, "--disarm").returncode == 0
    session.says("kubectl", "label", "configmap", "heard", "other=1")
    assert session.says("kubectl", "get", "configmap", "heard", "-o", "jsonpath={.data.a}") == "z"
    session.says("reset")


def test_a_silent_change_is_seen_by_a_get_by_name_undone_and_costs_the_cluster_at_the_reset(session: Session) -> None:
    by_name = ("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}")
    cached = ("get", "--raw", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt?resourceVersion=0")
    true = session.says("kubectl", *by_name)
    fault = ("ConfigMap/default/kube-root-ca.crt", "--field", "data[ca.crt]", "--value", "nothing")
    done = inject(session, *fault, "--channel", "at-rest-silent")
    assert "silent, accepted" in done.stdout, done.stderr
    assert session.says("kubectl", *by_name) == "nothing"
    assert json.loads(session.says("kubectl", *cached))["data"] == {"ca.crt": true}
    assert "by-hand: restored" in inject(session, "--undo").stdout
    assert session.says("kubectl", *by_name) == true
    assert "is new, after" in session.says("reset")


def test_exit_codes_are_the_commands(session: Session) -> None:
    assert session.mutineer("exec", "--", "sh", "-c", "exit 7").returncode == 7
    failed = session.mutineer("kubectl", "get", "nosuch")
    assert failed.returncode == 1 and "doesn't have a resource type" in failed.stderr


def test_inside_kubectl_is_there_too(session: Session) -> None:
    assert session.says("exec", "--", "kubectl", "get", "nodes", "-o", "name").split() == ["node/node-1", "node/node-2"]


def test_what_was_created_and_what_was_stopped_is_put_back_by_a_reset(session: Session) -> None:
    before = outside.find_running("s").pid
    session.says("component", "kube-scheduler", "stop")
    states = {c["name"]: c["alive"] for c in json.loads(session.says("status", "--json"))["components"]}
    assert [name for name, alive in states.items() if not alive] == ["kube-scheduler"]
    session.says("kubectl", "create", "deployment", "web", "--image=mutineer/web:1", "--replicas=2")
    pods = ("kubectl", "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}")
    wait_until(lambda: session.says(*pods).split() == ["Pending"] * 2, within_s=20, what="pods that nobody places")
    assert " keys equal to the baseline" in session.says("reset")
    assert session.says("kubectl", "get", "deployments,pods", "-o", "name") == ""
    states = {c["name"]: c["alive"] for c in json.loads(session.says("status", "--json"))["components"]}
    assert all(states.values())
    assert outside.find_running("s").pid == before, "in place"


def test_a_node_whose_plug_is_pulled_is_missed_and_comes_back(session: Session) -> None:
    def ready() -> list[str]:
        path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        return session.says("kubectl", "get", "nodes", "-o", path).split()

    session.says("node", "node-2", "kill")
    wait_until(lambda: ready() == ["True", "Unknown"], within_s=40, what="node-2 to be missed")
    session.says("node", "node-2", "start")
    wait_until(lambda: ready() == ["True", "True"], within_s=40, what="node-2 to be back")
    session.says("reset")


def test_a_component_that_is_killed_is_started_again(session: Session) -> None:
    session.says("component", "kube-controller-manager", "kill")

    def restarted() -> bool:
        components = json.loads(session.says("status", "--json"))["components"]
        found = next(each for each in components if each["name"] == "kube-controller-manager")
        return bool(found["restarts"] and found["ready"])

    wait_until(restarted, within_s=40, what="it to be ready again")


def test_the_door_is_closed_while_nobody_answers_inside_and_open_again_later(session: Session) -> None:
    session.says("component", "kube-apiserver", "stop")
    assert session.mutineer("kubectl", "get", "nodes").returncode == 1
    session.says("component", "kube-apiserver", "start")
    wait_until(lambda: session.mutineer("kubectl", "get", "nodes").returncode == 0, within_s=40, what="an answer")


def test_logs_are_of_the_component(session: Session) -> None:
    assert "secure_serving" in session.says("logs", "kube-apiserver")
    assert len(session.says("logs", "kube-apiserver", "--tail", "3").splitlines()) == 3


def test_a_sandbox_ends_with_its_owner(session: Session) -> None:
    with subprocess.Popen(["sleep", "300"]) as owner:
        up = session.mutineer("up", "--nodes", "1", "--owner", str(owner.pid), name="owned")
        assert up.returncode == 0, up.stderr
        pid = outside.find_running("owned").pid
        owner.kill()
    wait_until(lambda: "owned" not in outside.running(), within_s=10, what="its end")
    assert not Path(f"/proc/{pid}").exists()
    listed = subprocess.run(
        [sys.executable, "-m", "mutineer", "sandbox", "list"], capture_output=True, text=True, check=True, timeout=60
    )
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["s"]
    assert listed.stderr == "removed what was left of owned\n"


def test_down_leaves_neither_port_nor_file(session: Session) -> None:
    found = outside.find_running("s")
    assert session.says("down") == "sandbox 's' is gone\n"
    assert not found.config.folder.exists()
    assert found.port is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", found.port), timeout=5)
