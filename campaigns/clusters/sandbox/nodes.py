"""A node of the sandbox: its root file system, its kubelet's files, and what can happen to a whole machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from campaigns.clusters.sandbox import components, pki
from campaigns.clusters.sandbox.addresses import NodeNetwork
from campaigns.clusters.sandbox.components import Profile
from campaigns.clusters.sandbox.cri.containers import RUNNING, processes_below
from campaigns.clusters.sandbox.cri.protocol import methods, new
from campaigns.clusters.sandbox.roots import make_node_root
from injector.errors import ClusterError

__all__ = ["Node", "Runtime", "kubelet_command", "make_node"]

_TIMEOUT_S = 20
_HOSTS = "127.0.0.1\tlocalhost\n{address}\t{name}\n"


@dataclass(frozen=True, slots=True)
class Node:
    """`root` is the folder that is the node's root file system."""

    network: NodeNetwork
    root: Path

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def socket(self) -> Path:
        return self.root / "run/cri.sock"

    @property
    def kubelet(self) -> str:
        """The component's name."""
        return f"kubelet-{self.name}"


def make_node(
    network: NodeNetwork,
    root: Path,
    *,
    kubeconfig: bytes,
    authority: bytes,
    profile: Profile,
    feature_gates: Mapping[str, bool] = components.NO_GATES,
) -> Node:
    """Fills `root`, an empty folder in a tmpfs, with what kubeadm leaves on a node."""
    # nobody listens there: a cluster without an outside still has a resolver configured
    etc = {
        "hostname": f"{network.name}\n",
        "machine-id": f"{uuid.uuid5(uuid.NAMESPACE_DNS, network.name).hex}\n",
        "hosts": _HOSTS.format(address=network.address, name=network.name),
        "resolv.conf": f"nameserver {components.CONTROL_PLANE_ADDRESS}\n",
    }
    root.mkdir(parents=True)
    make_node_root(root, files={}, etc=etc)
    for folder in ("etc/kubernetes/pki", "etc/kubernetes/manifests", "etc/cni/net.d", "var/lib/kubelet"):
        (root / folder).mkdir(parents=True, mode=0o700)
    pki.write_private(root / "etc/kubernetes/kubelet.conf", kubeconfig)
    pki.write_private(root / "etc/kubernetes/pki/ca.crt", authority)
    config = components.kubelet_config(network, profile, feature_gates=feature_gates)
    (root / "var/lib/kubelet/config.yaml").write_text(yaml.safe_dump(config))
    return Node(network, root)


def kubelet_command(node: Node, binary: Path) -> list[str]:
    """Started from outside: in the node's network and root."""
    launch = str(Path(__file__).with_name("launch.py"))
    inside = [sys.executable, "-I", "-S", launch, "--net", str(node.network.path), "--root", str(node.root)]
    return [*inside, "--", str(binary), *components.kubelet(node.network)[1:]]


class Runtime:
    """A client of one node's container runtime, as crictl is: for what happens to a whole node. ClusterError where it
    does not answer."""

    def __init__(self, node: Node) -> None:
        self._socket = node.socket
        self._methods = methods("RuntimeService")

    def containers(self) -> Mapping[str, int]:
        """Running containers' ids → their first process."""
        running = new("ContainerFilter", state=new("ContainerStateValue", state=RUNNING))
        with self._connected() as call:
            found = {}
            for container in call("ListContainers", filter=running).containers:
                with contextlib.suppress(grpc.RpcError):  # it was removed meanwhile
                    status = call("ContainerStatus", container_id=container.id, verbose=True)
                    if pid := json.loads(status.info["info"]).get("pid"):
                        found[container.id] = pid
            return found

    def kill_pods(self) -> None:
        """Ends every pod of the node without notice and forgets it, as a reboot does."""
        with self._connected() as call:
            for pod in call("ListPodSandbox").items:
                call("StopPodSandbox", pod_sandbox_id=pod.id)
                call("RemovePodSandbox", pod_sandbox_id=pod.id)

    def signal(self, number: signal.Signals) -> None:
        """To every process of every container of the node."""
        for first in self.containers().values():
            for pid in processes_below(first):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        with grpc.insecure_channel(f"unix://{self._socket}") as channel:

            def call(name: str, **fields: Any) -> Any:
                request, response, _ = self._methods[name]
                method = channel.unary_unary(
                    f"/runtime.v1.RuntimeService/{name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )
                return method(new(request.DESCRIPTOR.name, **fields), timeout=_TIMEOUT_S)

            try:
                yield call
            except grpc.RpcError as error:
                raise ClusterError(f"the container runtime at {self._socket} does not answer: {error}") from error
