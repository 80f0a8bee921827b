"""What a fault is done to: an object by its stable identity or its labels, one of its fields, one of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "OPERATIONS",
    "Channel",
    "Target",
    "fits_component",
    "fits_operation",
    "is_told",
    "plain_operation",
    "wrong_operation",
]


class Channel(StrEnum):
    """Where the fault enters (docs: design.md, "Words")."""

    APISERVER_TO_ETCD = "apiserver-to-etcd"
    ETCD_TO_APISERVER = "etcd-to-apiserver"
    COMPONENT_TO_APISERVER = "component-to-apiserver"
    APISERVER_TO_COMPONENT = "apiserver-to-component"
    AT_REST_WRITE = "at-rest-write"
    AT_REST_SILENT = "at-rest-silent"

    @property
    def at_rest(self) -> bool:
        """Whether the fault is done to what is stored, and not to a message on its way."""
        return self in (Channel.AT_REST_WRITE, Channel.AT_REST_SILENT)

    @property
    def of_components(self) -> bool:
        """Whether the message goes between kube-apiserver and one of its clients."""
        return self in (Channel.COMPONENT_TO_APISERVER, Channel.APISERVER_TO_COMPONENT)


OPERATIONS: Mapping[Channel, tuple[str, ...]] = {
    Channel.APISERVER_TO_ETCD: ("put", "delete"),
    Channel.ETCD_TO_APISERVER: ("range", "watch", "txn-range"),
    Channel.COMPONENT_TO_APISERVER: ("create", "update", "patch", "delete", "bind"),
    Channel.APISERVER_TO_COMPONENT: ("get", "list", "watch", "answer"),
}
"""What messages about objects do, by channel; at rest there are none. In the channels of components a subresource may
stand behind it: `update/status`."""

_TOLD = frozenset((*OPERATIONS[Channel.ETCD_TO_APISERVER], *OPERATIONS[Channel.APISERVER_TO_COMPONENT]))

_SUBRESOURCES = ("status", "scale", "approval", "finalize", "ephemeralcontainers", "resize", "eviction", "token")
"""Those that built-in kinds have, but for a pod's binding, and streams such as `exec`, which are no exchange."""


def is_told(operation: str) -> bool:
    """Whether messages of that operation tell what is there, rather than ask for something."""
    return plain_operation(operation) in _TOLD


def plain_operation(operation: str) -> str:
    """Without its subresource."""
    return operation.partition("/")[0]


def fits_operation(wanted: str | None, operation: str) -> bool:
    """Whether a target's `operation` means that one: without a subresource it stands for all of them."""
    return wanted in (None, operation, plain_operation(operation))


def wrong_operation(channel: Channel, operation: str) -> str | None:
    """Why no message in `channel` is a `operation`, in words; None if some are."""
    if channel not in OPERATIONS:
        return f"at rest there is no message: expected none, got {operation!r}"
    plain, slash, subresource = operation.partition("/")
    known = OPERATIONS[channel]
    if plain not in known or (slash and not channel.of_components):
        return f"{channel} has {', '.join(known)}; got {operation!r}"
    if slash and subresource not in _SUBRESOURCES:
        return f"expected a subresource such as {', '.join(_SUBRESOURCES)}, got {operation!r}"
    return None


def fits_component(wanted: str, name: str) -> bool:
    """Whether a target's `component` means that one: a `*` at its end stands for whatever follows."""
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One field of one object in one message. The object is named by its identity, chosen by its labels, or any of its
    kind; occurrences then count over all that are meant. Texts are "" where nothing is asked.

    identity    `KIND/NAMESPACE/STEM`, `KIND/STEM` for cluster-scoped objects, with `#N` (1-based order of creation
                since the rule was armed) where the name is generated or the object has a controller
                (see injector.identity)
    namespace   without an identity: only objects in it
    labels      without an identity: only objects whose labels, before the fault, fit this selector (injector.selectors)
    group       API group, "" for core
    field       path such as `spec.selector[app]`; None for a fault that hits the whole message
    role        instead of a field: the first field of that role that the message carries and the model fits
                (injector.roles: a Role or a Dependency)
    operation   only messages of that operation count (`OPERATIONS`). None: any
    component   component channels: only messages of that component, e.g. `kube-scheduler`, `kubelet-node-1`; a `*` at
                its end stands for whatever follows (`kubelet-*`)
    by          only what was written by a field manager whose name begins so (injector.writers)
    after       count only from when that condition was seen (injector.conditions)
    occurrence  1-based: the n-th write of the object that carries `field` (n-th write at all if field is None)
    """

    kind: str
    identity: str = ""
    group: str = ""
    field: str | None = None
    operation: str | None = None
    occurrence: int = 1
    component: str = ""
    namespace: str = ""
    labels: str = ""
    role: str = ""
    by: str = ""
    after: str = ""

    @property
    def named(self) -> str:
        """The object or objects, in words: `Service/default/web`, `any Pod in default with app=web`."""
        if self.identity:
            return self.identity
        where = f" in {self.namespace}" if self.namespace else ""
        return f"any {self.kind}{where}" + (f" with {self.labels}" if self.labels else "")
