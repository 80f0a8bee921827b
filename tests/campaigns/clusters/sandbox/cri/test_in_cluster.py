"""The in-cluster client and its endless watch, against a stand-in that behaves as an API server under stress."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.clusters.sandbox.cri.in_cluster import Api, Event, Gone, Refused, follow
from tests.campaigns.clusters.sandbox.cri.programs.list_watch import StandIn
from tests.conftest import wait_until

NODES = "/api/v1/nodes"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    standing_in = StandIn(tmp_path / "secrets", port=0)
    standing_in.put("node-1", "10.244.1.0/24", "172.30.0.11")
    standing_in.start()
    yield standing_in
    standing_in.end_watches()
    standing_in._server.shutdown()
    standing_in._server.server_close()


@pytest.fixture
def api(server: StandIn, tmp_path: Path) -> Api:
    return Api("127.0.0.1", server.port, tmp_path / "secrets", agent="test")


class Over(BaseException):
    """Nothing that `follow` would catch."""


class Told:
    """What `follow` told, in a thread that ends with the block."""

    def __init__(self) -> None:
        self.events: list[tuple[str, list[str]]] = []
        self._over = False

    def __call__(self, event: Event) -> None:
        if self._over:
            raise Over
        self.events.append((event.kind, [thing["metadata"].get("name", "") for thing in event.objects]))

    def tells(self, *wanted: tuple[str, list[str]]) -> None:
        wait_until(lambda: self.events == [*wanted], within_s=10, what=f"{wanted}, got {self.events}")

    @contextlib.contextmanager
    def following(self, server: StandIn, api: Api) -> Iterator[Told]:
        thread = threading.Thread(target=self._follow, args=(api,))
        thread.start()
        try:
            yield self
        finally:
            self._over = True
            while thread.is_alive():
                server.end_watches()
                thread.join(0.05)

    def _follow(self, api: Api) -> None:
        with contextlib.suppress(Over):
            follow(api, NODES, self, {"labelSelector": "a"})


def test_a_watch_tells_what_there_is_what_changes_and_begins_again_where_it_was(server: StandIn, api: Api) -> None:
    with Told().following(server, api) as told:
        told.tells(("LISTED", ["node-1"]))
        wait_until(lambda: server.watchers == 1, within_s=10, what="the watch")
        server.put("node-2", None, "172.30.0.12")
        server.delete("node-1")
        told.tells(("LISTED", ["node-1"]), ("ADDED", ["node-2"]), ("DELETED", ["node-1"]))
        version = server.bookmark()
        wait_until(lambda: told.events[-1][0] == "BOOKMARK", within_s=10, what="the bookmark")
        server.end_watches()
        wait_until(lambda: len(server.asked) == 4, within_s=10, what="a list and a watch after the end")
        wait_until(lambda: server.watchers == 1, within_s=10, what="the watch to be served")
        assert server.asked[0] == {"labelSelector": "a", "resourceVersion": "0"}
        assert server.asked[1]["watch"] == "1" and server.asked[1]["labelSelector"] == "a"
        assert server.asked[2] == {"labelSelector": "a", "resourceVersion": version}, "as fresh as what was seen"
        told.events.clear()
        server.expire()
        told.tells(("LISTED", ["node-2"]))
        assert server.asked[4] == {"labelSelector": "a"}, "too old: the latest that there is"


def test_failures_are_said_once_and_got_over(
    server: StandIn, api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refuse(500, 500, 500)
    with Told().following(server, api) as told:
        told.tells(("LISTED", ["node-1"]))
    said = capsys.readouterr().out
    assert said.count("can't be watched") == 1 and "HTTP 500" in said


def test_the_token_is_read_anew_and_a_refusal_says_why(server: StandIn, api: Api, tmp_path: Path) -> None:
    assert len(api.send("GET", NODES)["items"]) == 1
    server.token = "second"
    with pytest.raises(Refused) as caught:
        api.send("GET", NODES)
    assert (caught.value.status, str(caught.value)) == (
        401,
        'GET /api/v1/nodes: HTTP 401: {"kind": "Status", "code": 401}',
    )
    (tmp_path / "secrets/token").write_text("second\n")
    assert len(api.send("GET", NODES)["items"]) == 1


@pytest.mark.parametrize(("status", "kind"), [(410, Gone), (504, Refused)])
def test_only_a_version_that_is_gone_is_gone(server: StandIn, api: Api, status: int, kind: type[Exception]) -> None:
    server.refuse(status)
    with pytest.raises(kind):
        api.send("GET", NODES)


def test_another_authority_is_not_believed(server: StandIn, api: Api, tmp_path: Path) -> None:
    from campaigns.clusters.sandbox import pki

    (tmp_path / "secrets/ca.crt").write_bytes(pki.Authority("other").identity.certificate)
    with pytest.raises(OSError, match="certificate verify failed"):
        api.send("GET", NODES)


def test_outside_a_pod_there_is_no_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ValueError, match="KUBERNETES_SERVICE_HOST"):
        Api.of_pod("x")
    environment: dict[str, Any] = {"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "x"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="'x'"):
        Api.of_pod("x")
