"""Changes one field of one stored object in a sandbox's etcd, and can put it back. Run inside the sandbox:

python -m tests.sandbox.corrupt WORK IDENTITY FIELD JSON-VALUE      e.g. Node/node-2 spec.podCIDR '"10.244.0.0/24"'
python -m tests.sandbox.corrupt WORK undo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from injector.at_rest import AtRest
from injector.rules import Rule
from injector.targets import Channel, Target

GROUPS = {"Deployment": "apps", "DaemonSet": "apps"}


def main(work: str, *arguments: str) -> None:
    at_rest = AtRest(("127.0.0.1", 2379), Path(work) / "undo-by-test")
    if arguments == ("undo",):
        for record in sorted((Path(work) / "undo-by-test").iterdir()):
            at_rest.undo(record)
        return
    identity, field, value = arguments
    kind = identity.split("/")[0]
    target = Target(kind=kind, identity=identity, group=GROUPS.get(kind, ""), field=field)
    parameters = {"value": json.loads(value)}
    firing = at_rest.inject(
        Rule(id="test", channel=Channel.AT_REST_WRITE, model="value-set", target=target, parameters=parameters), r0=0
    )
    assert firing.field_before != firing.field_after


if __name__ == "__main__":
    main(*sys.argv[1:])
