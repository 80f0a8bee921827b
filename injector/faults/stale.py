"""stale: the object's previous version takes the place of this one.

No parameters. Of a write that is what a client with an old cache stores; of a read, what a member that lags behind
serves.
"""

from __future__ import annotations

from injector.codec import Located, Place
from injector.errors import FaultError
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared

__all__ = ["Stale"]


class Stale(Declared):
    name = "stale"
    scope = Scope.MESSAGE
    causes = (
        Cause(
            Origin.SOFTWARE,
            "a watch cache that lags behind, a controller that writes back what it had read "
            "before someone else's change",
        ),
        Cause(Origin.NETWORK, "a member that answers from before the partition"),
        Cause(Origin.HUMAN, "a snapshot that is restored: clients have seen later revisions"),
    )
    incidents = (
        "cassandra-operator-stale-read-deletes-pvc-2021",
        "kuberay-stale-cache-extra-pods-2022",
        "etcd-350-revision-behind-production",
        "apiserver-cache-fights-restored-store",
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        previous = around.previous()
        if previous is None:
            raise FaultError("no earlier version of this object is known; stale needs one")
        if previous == value:
            raise FaultError("the earlier version of this object has the same bytes; stale changes nothing")
        return Change(after=previous, span=(0, len(value)))
