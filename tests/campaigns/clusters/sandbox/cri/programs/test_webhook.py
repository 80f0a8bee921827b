"""The admission webhook: what it refuses, and how it serves."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox import pki
from campaigns.clusters.sandbox.cri.programs.webhook import problems, review
from campaigns.workloads.objects import deployment
from tests.campaigns.clusters.sandbox.cri.programs.served import Asking, free_port, serving, write_tls
from tests.conftest import wait_until

PRIVILEGED = {"name": "c", "securityContext": {"privileged": True}}


def asked(thing: Any) -> bytes:
    request = {"uid": "u1", "operation": "CREATE", "object": thing}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"containers": [{"name": "c"}]}, []),
        ({"containers": [{"name": "c", "securityContext": {"privileged": False}}], "hostNetwork": False}, []),
        ({"containers": [{"name": "a"}, PRIVILEGED]}, ["containers"]),
        (
            {"initContainers": [PRIVILEGED], "ephemeralContainers": [PRIVILEGED]},
            ["initContainers", "ephemeralContainers"],
        ),
        ({"hostPID": True, "hostIPC": True, "hostNetwork": True}, ["hostNetwork", "hostPID", "hostIPC"]),
    ],
)
def test_a_pod_and_a_template_are_judged_alike(spec: dict[str, Any], wrong: list[str]) -> None:
    def paths(thing: dict[str, Any]) -> list[str]:
        return [problem.partition(":")[0] for problem in problems(thing)]

    assert paths({"kind": "Pod", "spec": spec}) == [f"spec.{path}" for path in wrong]
    assert paths({"kind": "Deployment", "spec": {"template": {"spec": spec}}}) == [
        f"spec.template.spec.{path}" for path in wrong
    ]


def test_the_golden_deployment_is_allowed_and_so_is_what_has_no_object() -> None:
    for thing in (deployment("web", "default", 6), None):
        response = {"uid": "u1", "allowed": True}
        assert review(asked(thing)) == {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        }


def test_a_refusal_says_everything_that_is_wrong() -> None:
    response = review(asked({"spec": {"hostPID": True, "containers": [PRIVILEGED]}}))["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u1", False, 403)
    assert response["status"]["message"] == (
        "spec.hostPID: pods may not share the node's namespaces; spec.containers: container 'c' may not be privileged"
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", asked({}).replace(b"v1", b"v1beta1"), asked([1])])
def test_what_is_no_admission_review_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        review(body)


def test_it_serves_over_tls_and_nobody_holds_up_the_others(tmp_path: Path) -> None:
    authority, port = pki.Authority("webhook-ca"), free_port()
    folder = write_tls(tmp_path / "certificates", authority)
    with serving("webhook", f"--port={port}", f"--certificates={folder}", log=tmp_path / "log"):
        client = Asking(port, authority, None, tmp_path)
        with socket.create_connection(("127.0.0.1", port)):  # says nothing, not even a handshake
            assert client.ask("GET", "/healthz") == (200, b"ok")
        status, answer = client.ask("POST", "/validate?timeout=5s", asked({"spec": {"containers": [PRIVILEGED]}}))
        assert (status, answer["response"]["allowed"]) == (200, False)
        assert client.ask("POST", "/validate", b"{}")[0] == 400
        assert client.ask("POST", "/validate", b"", Content_Length="99999999")[0] == 413
        assert client.ask("POST", "/other", b"{}")[0] == client.ask("GET", "/")[0] == 404
        with pytest.raises(ssl.SSLError):
            Asking(port, pki.Authority("other"), None, tmp_path).ask("GET", "/healthz")
        assert client.ask("GET", "/healthz") == (200, b"ok")
        wait_until(lambda: "refused: spec.containers" in (tmp_path / "log").read_text(), within_s=5, what="the log")
    assert "Traceback" not in (tmp_path / "log").read_text()
