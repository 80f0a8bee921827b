"""Changes one field of one stored object in the file of a sandbox's stopped etcd. Run inside the sandbox:

python -m tests.sandbox.corrupt_silently WORK IDENTITY FIELD JSON-VALUE
python -m tests.sandbox.corrupt_silently WORK undo                          prints what was done
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from injector.at_rest_silent import AtRestSilent
from injector.rules import Rule
from injector.targets import Channel, Target
from tests.sandbox.corrupt import GROUPS


def main(work: str, *arguments: str) -> None:
    at_rest = AtRestSilent([Path(work) / "etcd/member/snap/db"], Path(work) / "undo-by-test")
    if arguments == ("undo",):
        print(*(at_rest.undo(record) for record in at_rest.pending()))
        return
    identity, field, value = arguments
    kind = identity.split("/")[0]
    target = Target(kind=kind, identity=identity, group=GROUPS.get(kind, ""), field=field)
    parameters = {"value": json.loads(value)}
    firing = at_rest.inject(
        Rule(id="test", channel=Channel.AT_REST_SILENT, model="value-set", target=target, parameters=parameters), r0=0
    )
    assert firing.field_before != firing.field_after and firing.revision is None


if __name__ == "__main__":
    main(*sys.argv[1:])
