"""Run inside namespaces by test_inside.py: `python -m tests.campaigns.clusters.sandbox.cri.programs.inside FOLDER`.

Each scenario is a function that raises AssertionError where what it tells of does not hold; each runs in a child with
network and mount namespaces of its own, as a node's or a pod's. Programs are forked, as the runtime's spawner does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pyroute2 import IPRoute

from campaigns.clusters.sandbox import isolation
from campaigns.clusters.sandbox.cri.programs import client, routes
from tests.campaigns.clusters.sandbox.cri.programs.list_watch import StandIn

PORT = 6443
OWN, ADDRESS = "node-1", "172.30.0.11"


def until(condition: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}"
        time.sleep(0.01)


@dataclass
class Program:
    """A forked program; `said` is what it has printed so far."""

    pid: int
    output: Path

    @classmethod
    def start(cls, module: ModuleType, *arguments: str, output: Path, **env: str) -> Program:
        if (pid := os.fork()) == 0:
            code = 1
            try:
                os.environ.update(env)
                descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                sys.stdout = os.fdopen(descriptor, "w", buffering=1)
                module.main(list(arguments))
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except BaseException:  # noqa: BLE001 - as the interpreter would
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(code)
        return cls(pid, output)

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def says(self, words: str) -> None:
        until(lambda: words in self.said, f"{words!r} in:\n{self.said}")

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            ended.extend([status] if pid else [])
            return bool(pid)

        until(has_ended, "its end")
        return os.waitstatus_to_exitcode(ended[0])


def ip(*argv: str) -> str:
    return subprocess.run(["ip", *argv], capture_output=True, text=True, check=True, timeout=10).stdout


def ours() -> dict[str, str]:
    """podCIDR → gateway of the agent's routes."""
    listed = json.loads(ip("-json", "route", "show", "proto", str(routes.PROTOCOL)))
    return {route["dst"]: route.get("gateway", "") for route in listed}


class Node:
    """This namespace as a node of a stand-in cluster, with the agent's folders below `folder`."""

    def __init__(self, folder: Path, *, resync_s: float = 60) -> None:
        with IPRoute() as netlink:
            netlink.link("set", index=1, state="up")
            netlink.link("add", ifname="eth0", kind="bridge")
            index = netlink.link_lookup(ifname="eth0")[0]
            netlink.addr("add", index=index, address=ADDRESS, prefixlen=24)
            netlink.link("set", index=index, state="up")
        self.cni, self.config, self.credentials = folder / "net.d", folder / "config.json", folder / "secrets"
        self.cni.mkdir()
        self.config.write_text(json.dumps({"network": "10.244.0.0/16", "resyncSeconds": resync_s}))
        self.api = StandIn(self.credentials, port=PORT)
        self._output = folder / "output"
        for number in (1, 2, 3):
            self.api.put(f"node-{number}", f"10.244.{number}.0/24", f"172.30.0.1{number}")

    def agent(self, **env: str) -> Program:
        """Before the stand-in's threads: a fork goes on with one."""
        where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(PORT), "NODE_NAME": OWN}
        paths = (f"--config={self.config}", f"--credentials={self.credentials}", f"--cni-folder={self.cni}")
        return Program.start(routes, *paths, output=self._output, **{**where, **env})

    def start(self) -> Program:
        """Agent and API, up to where it watches and has set its routes."""
        agent = self.agent()
        self.api.start()
        until(lambda: self.api.watchers == 1 and len(ours()) == 2 and self.conflist.exists(), "the agent to be set up")
        return agent

    @property
    def conflist(self) -> Path:
        return self.cni / "10-mutineer.conflist"

    @property
    def subnet(self) -> str:
        return str(json.loads(self.conflist.read_text())["plugins"][0]["ipam"]["subnet"])


BOTH = {"10.244.2.0/24": "172.30.0.12", "10.244.3.0/24": "172.30.0.13"}


def routes_and_conflist_are_made_and_stay_at_the_end(folder: Path) -> None:
    node = Node(folder)
    agent = node.start()
    assert ours() == BOTH
    assert os.listdir(node.cni) == ["10-mutineer.conflist"] and node.subnet == "10.244.1.0/24"
    first, second = node.api.asked
    assert first == {"resourceVersion": "0"}
    assert second == {**second, "watch": "1", "resourceVersion": "103", "allowWatchBookmarks": "true"}
    assert 300 <= int(second["timeoutSeconds"]) < 600
    assert agent.stop() == 0
    assert (ours(), node.subnet) == (BOTH, "10.244.1.0/24")


def events_change_routes_and_conflist(folder: Path) -> None:
    node = Node(folder)
    agent = node.start()
    node.api.put("node-2", "10.244.9.0/24", "172.30.0.12")
    until(lambda: ours() == {"10.244.9.0/24": "172.30.0.12", "10.244.3.0/24": "172.30.0.13"}, "a podCIDR to change")
    node.api.put("node-2", "10.244.9.0/24", "172.30.0.99")
    until(lambda: ours()["10.244.9.0/24"] == "172.30.0.99", "an address to change")
    node.api.put("node-4", "10.244.4.0/24", "172.30.0.14")
    node.api.delete("node-3")
    until(lambda: ours() == {"10.244.9.0/24": "172.30.0.99", "10.244.4.0/24": "172.30.0.14"}, "one to come, one to go")
    node.api.put("node-4", "10.244.9.0/24", "172.30.0.14")
    until(lambda: ours() == {"10.244.9.0/24": "172.30.0.14"}, "the later of two claims to win")
    node.api.put(OWN, "10.244.5.0/24", ADDRESS)
    until(lambda: node.subnet == "10.244.5.0/24", "the conflist to follow")
    assert len([query for query in node.api.asked if "watch" not in query]) == 1, "all by one watch"
    agent.stop()


def routes_that_others_change_are_mended_at_a_resync(folder: Path) -> None:
    node = Node(folder, resync_s=0.05)
    node_route = ("10.244.7.0/24", "via", "172.30.0.17", "proto")
    ip("route", "add", *node_route, str(routes.PROTOCOL))  # ours, of before a restart
    ip("route", "add", "10.244.8.0/24", "via", "172.30.0.18")  # somebody else's
    ip("route", "add", "10.244.2.0/24", "via", "172.30.0.77")  # somebody else's, in our way
    ip("route", "add", "10.244.3.0/24", "via", "172.30.0.13")  # somebody else's that is as ours should be
    elsewhere = ("proto", str(routes.PROTOCOL), "table", "77")
    ip("route", "add", "10.244.6.0/24", "via", "172.30.0.16", *elsewhere)
    ip("route", "add", "10.244.2.0/24", "via", "172.30.0.12", *elsewhere)
    agent = node.agent()
    node.api.start()
    until(lambda: ours() == BOTH, "the stale one to be removed, and what is in the way to be replaced")
    ip("route", "del", "10.244.2.0/24")
    until(lambda: ours() == BOTH, "what was removed to come back")
    ip("route", "replace", "10.244.3.0/24", "via", "172.30.0.77")
    until(lambda: ours() == BOTH, "what was replaced to come back")
    node.conflist.unlink()
    until(node.conflist.exists, "the conflist to come back")
    node.conflist.write_text("{}")
    until(lambda: "10.244.1.0/24" in node.conflist.read_text(), "the conflist to be mended")
    assert "10.244.8.0/24 via 172.30.0.18" in ip("route") and "10.244.6.0/24" in ip("route", "show", "table", "77")
    agent.stop()


def watches_that_end_are_begun_again(folder: Path) -> None:
    node = Node(folder)
    agent = node.start()
    version = node.api.bookmark()
    node.api.put("node-2", "10.244.20.0/24", "172.30.0.12", silently=True)
    node.api.end_watches()
    until(lambda: "10.244.20.0/24" in ours(), "a list after the watch's end")
    until(lambda: node.api.watchers == 1, "a new watch")
    assert node.api.asked[2] == {"resourceVersion": version}, "at least as fresh as what was seen"
    node.api.put("node-2", "10.244.21.0/24", "172.30.0.12", silently=True)
    node.api.expire()
    until(lambda: "10.244.21.0/24" in ours(), "a list after 410 Gone")
    until(lambda: node.api.watchers == 1, "a new watch")
    assert node.api.asked[4] == {}, "the latest that there is"
    node.api.refuse(500, 504)
    node.api.put("node-2", "10.244.22.0/24", "172.30.0.12", silently=True)
    node.api.end_watches()
    until(lambda: "10.244.22.0/24" in ours(), "a list after errors")
    assert "HTTP 500" in agent.said
    assert "resourceVersion" in node.api.asked[7] and node.api.asked[8] == {}, "504: newer than the server knows"
    agent.stop()


def tokens_are_read_anew_for_every_connection(folder: Path) -> None:
    node = Node(folder)
    agent = node.start()
    node.api.token = "second"
    node.api.put("node-2", "10.244.20.0/24", "172.30.0.12", silently=True)
    node.api.end_watches()
    until(lambda: node.api.unauthorized > 0, "the old token to be refused")
    assert ours() == BOTH
    (node.credentials / "token").write_text("second\n")
    until(lambda: "10.244.20.0/24" in ours(), "the new token to be used")
    agent.says("HTTP 401")
    agent.stop()


def nothing_is_touched_before_the_api_has_answered(folder: Path) -> None:
    node = Node(folder, resync_s=0.02)
    ip("route", "add", "10.244.7.0/24", "via", "172.30.0.17", "proto", str(routes.PROTOCOL))
    certificate = (node.credentials / "ca.crt").read_bytes()
    (node.credentials / "ca.crt").write_text("")
    (node.credentials / "token").rename(node.credentials / "late")
    agent = node.agent()
    agent.says("nodes can't be watched: FileNotFoundError")
    (node.credentials / "late").rename(node.credentials / "token")
    agent.says("nodes can't be watched: SSLError")
    (node.credentials / "ca.crt").write_bytes(certificate)
    assert ours() == {"10.244.7.0/24": "172.30.0.17"} and not node.conflist.exists()
    node.api.start()
    until(lambda: ours() == BOTH and node.conflist.exists(), "the API's answer")
    agent.stop()


def what_makes_no_sense_is_said_once_and_skipped(folder: Path) -> None:
    node = Node(folder, resync_s=0.02)
    agent = node.start()
    node.api.put("node-2", "10.244.2.0/24", "192.0.2.1")
    agent.says("route 10.244.2.0/24 via 192.0.2.1 (replace): Network is unreachable")
    node.api.put("node-4", "10.244.0.0", "172.30.0.14")
    agent.says("node 'node-4': podCIDR: expected an IPv4 network")
    node.api.put(OWN, "10.9.0.0/24", ADDRESS)
    agent.says("10-mutineer.conflist is left as it is: 10.9.0.0/24 is not within 10.244.0.0/16")
    node.api.put(OWN, None, ADDRESS)
    agent.says("10-mutineer.conflist is left as it is: node 'node-1' has no podCIDR and InternalIP")
    assert node.subnet == "10.244.1.0/24"
    node.api.put("node-4", "10.244.4.0/24", "172.30.0.14")
    until(lambda: "10.244.4.0/24" in ours(), "the rest to go on")
    assert agent.said.count("Network is unreachable") == 1
    node.conflist.unlink()
    node.cni.rmdir()
    node.api.put(OWN, "10.244.1.0/24", ADDRESS)
    agent.says(f"{node.conflist} can't be written")
    node.cni.mkdir()
    until(node.conflist.exists, "the conflist")
    agent.stop()


def wrong_settings_end_it_in_words(folder: Path) -> None:
    node = Node(folder)
    node.config.write_text('{"network": "10.244.0.0"}')
    agent = node.agent()
    assert agent.wait() == 1 and f"fatal: {node.config}: expected an IPv4 network" in agent.said
    agent = node.agent(KUBERNETES_SERVICE_PORT="tcp://")
    assert agent.wait() == 1 and "fatal: " in agent.said
    del os.environ["PATH"]
    node.config.unlink()
    agent = node.agent()
    assert agent.wait() == 1 and f"fatal: {node.config}: " in agent.said and "No such file" in agent.said


def the_client_asks_the_pods_own_resolver(folder: Path) -> None:
    with IPRoute() as netlink:
        netlink.link("set", index=1, state="up")
    resolver = folder / "resolv.conf"
    resolver.write_text("search default.svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n")
    isolation._call("mount", bytes(resolver), b"/etc/resolv.conf", None, isolation.MS_BIND, None)
    output = folder / "output"
    program = Program.start(
        client,
        "--url",
        "http://web.default.svc.cluster.local/",
        "--interval",
        "0.05",
        "--timeout",
        "0.3",
        output=output,
    )
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))  # a resolver that says nothing, at first
    program.says("error dns")
    until(lambda: program.said.count("error dns") >= 3, "attempts to go on while no name is found")
    threads = len(os.listdir(f"/proc/{program.pid}/task"))
    assert threads == 2, "one lookup at a time"
    asked: list[str] = []
    threading.Thread(target=_resolve, args=(names, asked), daemon=True).start()
    program.says("error refused")
    web = socket.create_server(("127.0.0.1", 80))
    threading.Thread(target=_serve, args=(web,), daemon=True).start()
    program.says(" ok ")
    assert "web.default.svc.cluster.local.default.svc.cluster.local" in asked, "ndots and search are followed"
    assert program.stop() == 0
    last = program.said.splitlines()[-1]
    counts = {word: program.said.count(f" error {word}\n") for word in ("dns", "refused")}
    assert last.endswith(f" end: {program.said.count('ms')} ok, {counts['dns']} dns, {counts['refused']} refused"), last


def _resolve(names: socket.socket, asked: list[str]) -> None:
    """A DNS server (RFC 1035) that knows one A record."""
    while True:
        query, peer = names.recvfrom(512)
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question, kind = query[12 : at + 5], query[at + 1 : at + 3]
        asked.append(name := ".".join(labels))
        known = name == "web.default.svc.cluster.local"
        found = known and kind == b"\0\1"
        flags = b"\x81\x80" if known else b"\x81\x83"  # NXDOMAIN
        record = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1" if found else b""
        header = query[:2] + flags + b"\0\1" + (b"\0\1" if found else b"\0\0") + bytes(4)
        names.sendto(header + question + record, peer)


def _serve(web: socket.socket) -> None:
    while True:
        connection, _ = web.accept()
        with connection:
            request = connection.recv(4096)
            assert b"\r\nHost: web.default.svc.cluster.local\r\n" in request, request
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


SCENARIOS: dict[str, Callable[[Path], None]] = {
    each.__name__: each
    for each in (
        routes_and_conflist_are_made_and_stay_at_the_end,
        events_change_routes_and_conflist,
        routes_that_others_change_are_mended_at_a_resync,
        watches_that_end_are_begun_again,
        tokens_are_read_anew_for_every_connection,
        nothing_is_touched_before_the_api_has_answered,
        what_makes_no_sense_is_said_once_and_skipped,
        wrong_settings_end_it_in_words,
        the_client_asks_the_pods_own_resolver,
    )
}


def run(folder: Path) -> None:
    """All scenarios, side by side: they mostly wait."""
    children = {}
    for name, scenario in SCENARIOS.items():
        if (child := os.fork()) == 0:
            code = 1
            try:
                isolation._call("unshare", isolation.CLONE_NEWNET | isolation.CLONE_NEWNS)
                (folder / name).mkdir()
                scenario(folder / name)
                code = 0
            except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
                output = folder / name / "output"
                said = output.read_text() if output.exists() else ""
                (folder / f"{name}.failed").write_text(f"{traceback.format_exc()}\nit said:\n{said}")
            finally:
                os._exit(code)
        children[child] = name
    while children:
        child, status = os.wait()
        if (name := children.pop(child, "")) and status == 0:
            (folder / f"{name}.passed").touch()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
