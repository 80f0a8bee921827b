"""A Deployment that asks for a million pods because one bit is wrong: what the host guard's caps make of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import usage
from campaigns.clusters.sandbox.components import MAX_PODS_PER_NODE
from campaigns.clusters.sandbox.processes import children_of
from tests.soak.kept import Kept, raised
from tests.soak.rounds import Round
from tests.soak.victims import Victim

__all__ = ["MOST_BYTES", "Seen", "flip", "look", "million", "over"]

MOST_BYTES = 5 << 30
"""PSS of everything: the guard stops the controllers at 2 GiB of the components' RSS and kube-apiserver at 3; 120
containers of the catalogue have 0.5 GB. Arbitrary beyond that, for what comes between two looks."""
_IDENTITY, _FIELD, _REPLICAS = "Deployment/default/web", "spec.replicas", 3 ^ (1 << 20)


@dataclass(slots=True)
class Seen:
    """The most of everything so far."""

    containers: int = 0
    pss_bytes: int = 0
    pods: int = 0
    components: dict[str, int] = field(default_factory=dict)
    """PSS in bytes, now."""


def flip(kept: Kept) -> None:
    """Bit 20 of the Deployment's replicas, at rest: 3 becomes 1,048,579."""
    with kept.found() as inside:
        inside.run("python", "-m", "tests.sandbox.corrupt", str(inside.work), _IDENTITY, _FIELD, str(_REPLICAS))


def look(kept: Kept, seen: Seen) -> Seen:
    spawner, first = kept.find(Victim.SPAWNER), kept.find(Victim.FIRST_PROCESS)
    seen.components = usage.pss_bytes(first or 0)
    seen.pss_bytes = max(seen.pss_bytes, sum(seen.components.values()))
    seen.containers = max(seen.containers, len(children_of(spawner)) if spawner else 0)
    seen.pods = max(seen.pods, _pods(kept))
    return seen


def _pods(kept: Kept) -> int:
    """Of namespace default; 0 where the API does not answer."""
    listed = kept.kubectl("get", "--raw", "/api/v1/namespaces/default/pods?limit=1", "--request-timeout=5s")
    left = listed.stdout.partition('"remainingItemCount":')[2]
    return int(left.split("}")[0].split(",")[0]) + 1 if left else 0


def million(minutes: float, say: Callable[[str], None] = lambda _: None) -> Round:
    """Flips the bit and looks on for so long. The machine must hold, and `down` leave nothing."""
    began, wrong, seen = time.monotonic(), list[str](), Seen()
    with raised() as kept:
        flip(kept)
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until and not wrong:
            look(kept, seen)
            wrong += over(seen)
            memory = f"{seen.pss_bytes / 1e6:.0f} MB"
            say(f"{time.monotonic() - began:.0f} s: {seen.pods} pods, {seen.containers} containers, {memory}")
            time.sleep(2)
        capped = [line for line in (kept.folder / "logs/sandbox.log").read_text().splitlines() if "host guard" in line]
        say("; ".join(capped) or "the cap on memory was not hit")
        kept.down()
        wrong += kept.left(within_s=10)
        code = kept.command.poll()
    components = {f"memory of {name}, at the end": value for name, value in seen.components.items()}
    figures = {
        "pods": {"unit": "", "most": str(seen.pods)},
        "containers": {"unit": "", "most": str(seen.containers)},
        "memory, all": {"unit": "MB", "most": f"{seen.pss_bytes / 1e6:.0f}"},
        **{name: {"unit": "MB", "most": f"{value / 1e6:.0f}"} for name, value in components.items()},
    }
    return Round(
        what=f"a million replicas for {minutes:g} minutes", moment_s=0.0, seconds=time.monotonic() - began,
        exit_code=code, finished=len(capped), wrong=wrong, figures=figures,
    )  # fmt: skip


def over(seen: Seen) -> list[str]:
    """Caps that do not hold, in words."""
    wrong = []
    if seen.containers > 3 * MAX_PODS_PER_NODE:
        wrong.append(f"{seen.containers} containers")
    if seen.pss_bytes > MOST_BYTES:
        wrong.append(f"{seen.pss_bytes / 1e6:.0f} MB of memory")
    return wrong
