"""field-remove: a field is not there any more.

No parameters. The field may be a single value, a whole part of the object (`spec.selector`), one element of a list or
one key of a map. What Kubernetes reads in its place is the default of its type; nothing is defaulted again at rest.
"""

from __future__ import annotations

from injector.codec import Located, Place, remove
from injector.errors import FaultError
from injector.faults.model import Cause, Change, Origin, Parameters, Scope, Surroundings
from injector.faults.parameters import Declared

__all__ = ["FieldRemove"]


class FieldRemove(Declared):
    name = "field-remove"
    scope = Scope.PART
    causes = (
        Cause(
            Origin.SOFTWARE,
            "a client that does not know a field yet writes the object back without it (an older version's structs)",
        ),
        Cause(Origin.HUMAN, "a line that is missing from a manifest that replaces the object, a deleted label"),
        Cause(Origin.OPERATOR, "two controllers that apply the same object and take each other's fields away"),
    )
    incidents = (
        "daemonset-empty-selector-after-12-upgrade",
        "reddit-pi-day-2023",
        "bootkube-node-binding-empty-subjects",
        "calico-manifest-env-removed-2019",
        "aws-auth-node-roles-dropped",
    )

    def apply(
        self, value: bytes, located: Located | Place | None, parameters: Parameters, around: Surroundings
    ) -> Change:
        if not isinstance(located, Place):
            raise FaultError(f"{self.name} removes a field; the target names none")
        return Change(after=remove(value, located), span=located.span, field_before=located.value, field_after=None)
