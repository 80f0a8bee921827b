"""A sandbox used by hand, from outside: started, reset, and faults put into it. `mutineer sandbox`, `mutineer inject`
and the fixtures of mutineer.testing are made of it.

Faults go the way of campaigns.clusters.sandbox.injections; documents are those that it describes. One rule can be armed
in a sandbox at a time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from campaigns import assets, environment
from campaigns.clusters.sandbox import control, outside
from campaigns.clusters.sandbox.config import BINARIES, SandboxConfig
from campaigns.clusters.sandbox.outside import Settings
from campaigns.spec.fault_checks import preferred_group
from injector.errors import ClusterError
from injector.rules import JSONValue

__all__ = [
    "Clean",
    "Started",
    "act",
    "armed",
    "fault",
    "held_s",
    "inject",
    "injected",
    "may_fire",
    "missed",
    "reset",
    "start",
    "undo",
    "wait_fired",
]

RULE_ID = "by-hand"

_ASK_WITHIN_S = 60.0
"""A value at rest is changed within a second; a silent edit and a rule with `reread` restart kube-apiserver (10 s)."""
_RESET_WITHIN_S = 120.0
"""More than what the keeper itself waits for (its rollback, and twice for every component to be healthy)."""
_LOOK_S = 0.2
"""How often a rule that is armed is asked whether it has fired."""
_DELAY_S = 5.0
"""injector.faults.delay's default."""
_OVERTAKEN_WITHIN_S = 5.0
"""For others to overtake a message: every component writes every 2 s (its lease), kube-apiserver all the time. Of watch
events there may be none; the rest then goes on in its old order."""


@dataclass(frozen=True, slots=True)
class Started:
    """`seconds`: of the start, once the binaries were there. `kubernetes`: its version."""

    config: SandboxConfig
    seconds: float
    kubernetes: str


def start(
    name: str,
    settings: Settings,
    say: Callable[[str], None] = lambda _: None,
    *,
    port: int = 0,
    owner: int | None = None,
    source: str | None = None,
) -> Started:
    """A new sandbox in the background, ready to use. `port`, `owner`: as campaigns.clusters.sandbox.outside.up.
    InputError if the name is taken, EnvironmentFailure if the machine lacks something."""
    outside.reap()
    outside.require_free(name)
    environment.require_sandbox()
    binaries = assets.ensure(BINARIES, source=source)
    prepared = outside.prepare(name, binaries=binaries, **settings)
    seconds = outside.up(prepared, say, port=port, owner=owner)
    return Started(prepared, seconds, binaries.entries["kube-apiserver"].version)


@dataclass(frozen=True, slots=True)
class Clean:
    """A sandbox is as it was when it came up. `proof`: what was compared; None: it could not be proven, and the sandbox
    was started anew."""

    seconds: float
    proof: str | None


def reset(name: str, say: Callable[[str], None] = lambda _: None) -> Clean:
    """Makes a sandbox as it was when it came up: in place, or else anew (its port stays, its certificates do not)."""
    found = outside.find_running(name)
    try:
        done = control.ask(found.config.folder, {"do": "reset"}, within_s=_RESET_WITHIN_S)
    except ClusterError as error:
        say(f"can not be proven to be as it was: {error}")
        say("starting it anew")
        return Clean(outside.recreate(name, say), None)
    assert isinstance(done, dict)
    seconds = done["seconds"]
    assert isinstance(seconds, (int, float))
    return Clean(float(seconds), str(done["proof"]))


# faults


def fault(
    target: str,
    *,
    channel: str,
    model: str | None,
    parameters: Mapping[str, JSONValue],
    group: str | None = None,
    field: str | None = None,
    operation: str | None = None,
    occurrence: int = 1,
    **chosen: str | None,
) -> dict[str, JSONValue]:
    """A fault as a campaign's spec has it, to be checked by campaigns.spec.fault_checks.check_fault. `target` is
    KIND/NAMESPACE/NAME, KIND/NAME, or KIND alone; `chosen` are a target's texts (labels, role, …)."""
    kind, slash, _ = target.partition("/")
    one = slash or kind.startswith("etcd:")
    return {
        "channel": channel,
        "model": model,
        "parameters": dict(parameters),
        "target": {
            "kind": kind,
            "group": preferred_group(kind) if group is None else group,
            **({"identity": target} if one else {}),
            "field": field,
            **{name: text for name, text in chosen.items() if text is not None},
            "operation": operation,
            "occurrence": occurrence,
        },
    }


def inject(
    folder: Path,
    checked: Mapping[str, JSONValue],
    *,
    times: int | None,
    reread: bool,
    dry_run: bool = False,
    identifier: str = RULE_ID,
) -> dict[str, JSONValue]:
    """Does a fault at rest, or arms it: {"rule", "firing", "armed"}. `times` None: always. `identifier`: of the rule,
    by which it can be undone alone. ClusterError in words."""
    rule: dict[str, JSONValue] = {"id": identifier, **checked, "times": times, "reread": reread}
    request: dict[str, JSONValue] = {"do": "inject", "rule": rule, "dry_run": dry_run}
    return _mapping(control.ask(folder, request, within_s=_ASK_WITHIN_S))


def act(folder: Path, what: str) -> JSONValue:
    """The answer to `injected` (what is armed, and what it did), `disarm` or `undo` (of everything)."""
    return control.ask(folder, {"do": what}, within_s=_ASK_WITHIN_S)


def undo(folder: Path, identifier: str) -> None:
    """Puts back what the rule of that name has changed at rest."""
    control.ask(folder, {"do": "undo", "rule": identifier}, within_s=_ASK_WITHIN_S)


def injected(folder: Path) -> dict[str, JSONValue]:
    """What is armed, and what it did: {"armed", "firings", "near_misses"}."""
    return _mapping(act(folder, "injected"))


def _mapping(answer: JSONValue) -> dict[str, JSONValue]:
    assert isinstance(answer, dict)
    return answer


@contextlib.contextmanager
def armed(folder: Path) -> Iterator[None]:
    """Whatever happens inside, the rule is disarmed in the end."""
    try:
        yield
    finally:
        act(folder, "disarm")


def wait_fired(folder: Path, rule: Mapping[str, JSONValue], *, within_s: float) -> dict[str, JSONValue]:
    """Until the armed rule has fired as often as it may, and what it holds back had the time to go, or until the time
    is over; then what there is to be seen, as `injected` has it."""
    deadline = time.monotonic() + within_s
    seen = injected(folder)
    while may_fire(rule, seen["firings"]) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        seen = injected(folder)
    if seen["firings"]:
        time.sleep(min(held_s(rule), max(0.0, deadline - time.monotonic())))
    return seen


def may_fire(rule: Mapping[str, JSONValue], firings: JSONValue) -> bool:
    """Whether it may fire again; `times` None is always (as injector.rules_json has it)."""
    times = rule.get("times", 1)
    return not isinstance(times, int) or not isinstance(firings, list) or len(firings) < times


def held_s(rule: Mapping[str, JSONValue]) -> float:
    """How long a message that the rule fired on is held back at most; disarming lets go what waits for others."""
    match rule:
        case {"model": "delay", "parameters": {"seconds": int() | float() as seconds}}:
            return float(seconds) + _LOOK_S
        case {"model": "delay"}:
            return _DELAY_S + _LOOK_S
        case {"model": "reorder"}:
            return _OVERTAKEN_WITHIN_S
    return 0.0


def missed(within_s: float, near: JSONValue) -> str:
    """What to say of a rule that has not fired."""
    assert isinstance(near, list)
    words = f"no message matched within {within_s:g} s, and the rule was disarmed"
    told = [f"{miss['identity']}: {miss['why']} ({miss['times']}x)" for miss in near[:3] if isinstance(miss, dict)]
    return f"{words}; nearest: {'; '.join(told)}" if told else words
