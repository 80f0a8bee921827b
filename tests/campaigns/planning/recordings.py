"""Recordings for tests: the one that ships, and small ones made of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from campaigns.planning.recording import Recording, build, read_recording
from campaigns.planning.recordings_found import SHIPPED
from campaigns.spec.campaign_spec import ClusterSpec
from injector.channels.recording import Message, Recorded
from injector.targets import Channel

__all__ = ["VERSIONS", "WRITES", "message", "of_runs", "recorded", "shipped"]

WRITES = Channel.APISERVER_TO_ETCD
VERSIONS = {"kube-apiserver": "1.36.3"}


@cache
def shipped(workload: str = "deploy") -> Recording:
    return read_recording(SHIPPED / f"{workload}.recording")


def message(
    identity: str, value: int | None, *, group: str = "", operation: str = "put", component: str = ""
) -> Message:
    """About an object; `value` is an index into the values."""
    kind, *namespace, _ = identity.split("/")
    return Message(kind, group, identity, namespace[0] if namespace else "", operation, component, value, 0.0)


def recorded(messages: Sequence[Message], values: Sequence[bytes]) -> Recorded:
    return Recorded(tuple(messages), tuple(values))


def of_runs(
    runs: Sequence[Recorded], *, channel: Channel = WRITES, baseline: Mapping[str, bytes] | None = None
) -> Recording:
    told = [({channel: run}, 7.0 + number) for number, run in enumerate(runs)]
    return build("deploy", ClusterSpec.model_validate({}), VERSIONS, told, baseline or {})
