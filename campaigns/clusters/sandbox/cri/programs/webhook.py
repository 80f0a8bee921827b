"""Image `mutineer/webhook:1`: a validating admission webhook (admission.k8s.io/v1) for Pods and Deployments.

    webhook [--port 9443] [--certificates /etc/webhook/certificates]

It refuses, as the Pod Security Standard "baseline" does in these points, privileged containers and pods in the node's
namespaces (network, pid, ipc). kube-apiserver posts an AdmissionReview to /validate over TLS; /healthz is for probes.
The folder holds tls.crt and tls.key, read once at the start. What is no AdmissionReview gets HTTP 400.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from campaigns.clusters.sandbox.cri.https import Handler, Server, exit_at_sigterm, server_context
from campaigns.clusters.sandbox.cri.in_cluster import say

__all__ = ["main", "problems", "review"]

_VERSION = "admission.k8s.io/v1"
_OF_THE_NODE = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def problems(thing: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a Pod, or with anything that has a pod template."""
    spec, path = thing.get("spec") or {}, "spec"
    if isinstance(spec.get("template"), Mapping):
        spec, path = spec["template"].get("spec") or {}, "spec.template.spec"
    for name in _OF_THE_NODE:
        if spec.get(name):
            yield f"{path}.{name}: pods may not share the node's namespaces"
    for kind in _CONTAINERS:
        for container in spec.get(kind) or ():
            if (container.get("securityContext") or {}).get("privileged"):
                yield f"{path}.{kind}: container {container.get('name')!r} may not be privileged"


def review(body: bytes) -> dict[str, Any]:
    """The answer to an AdmissionReview. ValueError in words where it is none."""
    try:
        document = json.loads(body)
        if (document["apiVersion"], document["kind"]) != (_VERSION, "AdmissionReview"):
            raise ValueError(f"expected an AdmissionReview of {_VERSION}")
        uid = str(document["request"]["uid"])
        found = list(problems(document["request"].get("object") or {}))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"expected an AdmissionReview of {_VERSION}: {error!r}") from error
    response: dict[str, Any] = {"uid": uid, "allowed": not found}
    if found:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": "; ".join(found)}
    return {"apiVersion": _VERSION, "kind": "AdmissionReview", "response": response}


class _Handler(Handler):
    def do_GET(self) -> None:  # noqa: N802 - http.server's names, here and below
        if self.path == "/healthz":
            self.answer(200, b"ok", "text/plain")
        else:
            self.answer(404, b"not found\n", "text/plain")

    def do_POST(self) -> None:  # noqa: N802
        if (body := self.body()) is None:
            return
        if self.path.partition("?")[0] != "/validate":
            self.answer(404, b"not found\n", "text/plain")
            return
        try:
            answer = review(body)
        except ValueError as error:
            self.answer(400, f"{error}\n".encode(), "text/plain")
            return
        if not answer["response"]["allowed"]:
            say(f"refused: {answer['response']['status']['message']}")
        self.answer(200, json.dumps(answer).encode())


def main(arguments: list[str]) -> None:
    exit_at_sigterm()
    parser = argparse.ArgumentParser(prog="webhook")
    parser.add_argument("--port", type=int, default=9443)
    parser.add_argument("--certificates", type=Path, default=Path("/etc/webhook/certificates"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        context = server_context(options.certificates)
    except OSError as error:
        say(f"fatal: {options.certificates}: {error}")
        sys.exit(1)
    server = Server(("0.0.0.0", options.port), _Handler, context)  # noqa: S104 - of the pod's own network
    say(f"serving on port {server.server_address[1]}")
    server.serve_forever(poll_interval=3600)


if __name__ == "__main__":
    main(sys.argv[1:])
