"""The switches of the cluster config, on one real sandbox that has them all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.assets import Assets
from campaigns.clusters.sandbox import outside
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.config import BINARIES
from tests.sandbox.inside import Inside

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]

_STORED = """
import sys
from pathlib import Path
from campaigns.clusters.keyspace import KeySpace
from campaigns.clusters.sandbox import pki
keyspace = KeySpace(("127.0.0.1", 2379), pki.etcd_client(Path(sys.argv[1]) / "pki"))
for key in sys.argv[2:]:
    print(keyspace.dump(key)[key].value[:24])
"""


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory, binaries: Assets) -> Iterator[Inside]:
    with pytest.MonkeyPatch.context() as patch:
        home = Path(f"/tmp/mt-switches-{tmp_path_factory.getbasetemp().name}")
        home.mkdir(mode=0o700)
        patch.setenv("XDG_STATE_HOME", str(home))
        config = outside.prepare(
            "s",
            binaries={name: binaries[name] for name in BINARIES},
            nodes=1,
            profile=Profile.KUBEADM,
            encryption=True,
            etcd_tls=True,
            audit=True,
        )
        try:
            outside.up(config, lambda _: None)
            yield Inside("s")
        finally:
            if "s" in outside.running():
                outside.down("s")
            shutil.rmtree(home, ignore_errors=True)


def test_as_many_nodes_as_were_asked_for_with_kubeadms_timers(switched: Inside) -> None:
    assert switched.kubectl("get", "nodes", "-o", "name").split() == ["node/node-1"]
    lease = switched.kubectl("get", "lease", "-n", "kube-node-lease", "node-1", "-o", "jsonpath={.spec}")
    assert json.loads(lease)["leaseDurationSeconds"] == 40
    proxy = switched.kubectl("get", "configmap", "-n", "kube-system", "kube-proxy", "-o", "yaml")
    assert "minSyncPeriod: 0s" in proxy and "100ms" not in proxy


def test_secrets_are_encrypted_in_etcd_and_config_maps_are_not(switched: Inside) -> None:
    switched.kubectl("create", "secret", "generic", "word", "--from-literal=it=is-hidden")
    switched.kubectl("create", "configmap", "word", "--from-literal=it=is-not")
    keys = ("/registry/secrets/default/word", "/registry/configmaps/default/word")
    secret, plain = switched.run("python", "-c", _STORED, str(switched.work), *keys).splitlines()
    assert "k8s:enc:secretbox:v1:" in secret
    assert plain.startswith("b'k8s\\x00")
    value = switched.kubectl("get", "secret", "word", "-o", "jsonpath={.data.it}")
    assert value == "aXMtaGlkZGVu", "and the API reads them as ever"


def test_neither_etcd_nor_the_forwarder_talks_without_a_certificate(switched: Inside) -> None:
    for port in ("2379", "2381"):
        for url in (f"http://127.0.0.1:{port}/version", f"https://127.0.0.1:{port}/version"):
            ask = f"import ssl, urllib.request as u; u.urlopen({url!r}, context=ssl._create_unverified_context())"
            assert not switched.succeeds("python", "-c", ask), url
    through = switched.run("ss", "-Htnp", "state", "established", "dport", "=", ":2381")
    assert "kube-apiserver" in through, "the API goes through the forwarder, by TLS"


def test_every_request_is_in_the_audit_log(switched: Inside) -> None:
    switched.kubectl("create", "configmap", "audited")
    log = switched.config.logs / "audit.log"
    assert oct(log.stat().st_mode)[-3:] == "600"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    ours = [e for e in events if e.get("objectRef", {}).get("name") == "audited" and e["verb"] == "create"]
    assert ours and ours[0]["user"]["username"] == "kubernetes-admin" and ours[0]["responseStatus"]["code"] == 201


def test_it_is_rolled_back_like_any_other(switched: Inside) -> None:
    switched.kubectl("create", "secret", "generic", "left", "--from-literal=a=b")
    done = subprocess.run(
        [sys.executable, "-m", "mutineer", "sandbox", "reset", "--name", "s"],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not switched.succeeds("kubectl", "get", "secret", "left")
