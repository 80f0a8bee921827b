"""Faults in a test of one's own: a sandbox, and what is done to it. The fixtures `cluster` and `inject` of the pytest
plugin (mutineer.pytest_plugin) are made of it; other test runners can use it as it is.

    with Cluster.start("mine") as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
        with cluster.inject("value-set", "Service/default/web", field="spec.selector[app]", value="wax") as fault:
            assert fault.firing.field_before == "web"
            ...                                      # how does my controller take it?

A fault at rest (the default channel) is done at once. In the other channels it is armed and waits for a message that it
fits; one that never comes is an error (NotFired), never a test that passes. Leaving the `with` puts back what was
changed at rest and disarms what was armed; what an armed fault has done to a message stays, until `reset`. Only one
fault can be armed at a time.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from campaigns.clusters.sandbox import by_hand, outside
from campaigns.spec.cluster_spec import ClusterSpec, load_cluster
from campaigns.spec.fault_checks import check_fault, wrong_component
from injector.errors import InputError, NotFired, Problem
from injector.rules import Firing, JSONValue, Rule
from injector.rules_json import firing_from_json, rule_from_json

__all__ = ["Cluster", "Inject", "Injection"]

_KUBECTL_WITHIN_S = 120.0
"""For one call; `kubectl wait` and `rollout status` have time limits of their own."""
_FIRED_WITHIN_S = 30.0
"""For a message that fits to come, unless the caller says otherwise: a Deployment's pods are there after 3 s, a lease
is renewed every 2 s. Arbitrary beyond that."""
_FILE = "inject"
"""Where problems are said to be."""


class Injection:
    """One fault. As a context manager, it is there inside and undone at the end, and an armed one must have fired."""

    def __init__(self, folder: Path, rule: Rule, document: dict[str, JSONValue], *, within_s: float) -> None:
        self.rule = rule
        """What was asked for; at rest with the identity of the object that it was done to."""
        self._folder, self._document, self._within_s = folder, document, within_s
        self._firings: tuple[Firing, ...] = ()
        self._ended = self._told = False

    @property
    def at_rest(self) -> bool:
        return self.rule.channel.at_rest

    @property
    def firing(self) -> Firing:
        """What it did: the object, the bytes and the field's value before and after. Waits for it, as `wait`."""
        return self.firings[0] if self._firings else self.wait()

    @property
    def firings(self) -> tuple[Firing, ...]:
        """All that it did so far."""
        if not self.at_rest and not self._ended:
            self._see(by_hand.injected(self._folder))
        return self._firings

    def wait(self, within_s: float | None = None) -> Firing:
        """Until it has fired as often as it may; the first firing. NotFired, with the messages that nearly matched, if
        it has not fired at all by then; it is then disarmed."""
        limit = self._within_s if within_s is None else within_s
        if not self.at_rest and not self._ended:
            seen = by_hand.wait_fired(self._folder, self._document, within_s=limit)
            self._see(seen)
            if not self._firings:
                self._told = True
                self.end()
                raise NotFired(f"{self.rule.model} on {self.rule.target.named}: {_missed(limit, seen)}")
        if not self._firings:
            raise NotFired(f"{self.rule.model} on {self.rule.target.named} did not fire before it was disarmed")
        return self._firings[0]

    def end(self) -> None:
        """Disarms it, or puts back what it changed at rest. Idempotent."""
        if self._ended:
            return
        if not self.at_rest:
            by_hand.act(self._folder, "disarm")
            self._see(by_hand.injected(self._folder))  # by now etcd has answered
        self._ended = True
        if self.at_rest:
            by_hand.undo(self._folder, self.rule.id)

    def close(self) -> None:
        """Ends it. NotFired if it was armed and never fired, unless `wait` has said so already."""
        self.end()
        if not self._firings and not self._told:
            self._told = True
            raise NotFired(f"{self.rule.model} on {self.rule.target.named} was armed, and never fired")

    def __enter__(self) -> Injection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self.end()

    def _see(self, seen: dict[str, JSONValue]) -> None:
        firings = seen["firings"]
        assert isinstance(firings, list)
        self._firings = tuple(firing_from_json(each) for each in firings if isinstance(each, dict))


def _missed(within_s: float, seen: dict[str, JSONValue]) -> str:
    return by_hand.missed(within_s, seen["near_misses"])


class Inject(Protocol):
    """The type of the fixture `inject`, and of Cluster.inject, which tells what the arguments are."""

    def __call__(
        self,
        model: str,
        target: str,
        /,
        *,
        field: str | None = None,
        role: str | None = None,
        channel: str = "at-rest-write",
        group: str | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        by: str | None = None,
        after: str | None = None,
        operation: str | None = None,
        component: str | None = None,
        occurrence: int = 1,
        times: int | None = 1,
        reread: bool = False,
        within_s: float = _FIRED_WITHIN_S,
        **parameters: JSONValue,
    ) -> Injection: ...


class Cluster:
    """A sandbox: a real Kubernetes on this machine. As a context manager, it is ended at the end."""

    def __init__(self, name: str, folder: Path, kubeconfig: Path, kubectl: Path, nodes: int) -> None:
        self.name = name
        """As `mutineer sandbox … --name` has it."""
        self.kubeconfig = kubeconfig
        """The administrator's, for any client on this machine; written anew where `reset` had to start it anew."""
        self._folder, self._kubectl, self._nodes = folder, kubectl, nodes
        self._injected = itertools.count(1)

    @classmethod
    def start(
        cls,
        name: str,
        *,
        config: Path | None = None,
        keep: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> Cluster:
        """A new sandbox; returns when it is ready. It ends with this process, however that ends, unless it is to be
        kept. `config`: as `mutineer sandbox up --config`. InputError, EnvironmentFailure or ClusterError in words."""
        spec = load_cluster(config) if config is not None else ClusterSpec.model_validate({})
        settings = spec.to_sandbox_settings(config.parent if config is not None else Path())
        made = by_hand.start(name, settings, say, owner=None if keep else os.getpid()).config
        return cls(name, made.folder, outside.find_running(name).kubeconfig, made.binaries["kubectl"], made.nodes)

    def kubectl(self, *arguments: str, stdin: str | None = None, within_s: float = _KUBECTL_WITHIN_S) -> str:
        """What the cluster's own kubectl prints. subprocess.CalledProcessError if it fails, with what it said."""
        done = subprocess.run(
            [str(self._kubectl), *arguments],
            input=stdin if stdin is not None else "",
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, ["kubectl", *arguments], done.stdout, done.stderr)
            error.add_note(done.stderr.strip())
            raise error
        return done.stdout

    def inject(
        self,
        model: str,
        target: str,
        /,
        *,
        field: str | None = None,
        role: str | None = None,
        channel: str = "at-rest-write",
        group: str | None = None,
        namespace: str | None = None,
        labels: str | None = None,
        by: str | None = None,
        after: str | None = None,
        operation: str | None = None,
        component: str | None = None,
        occurrence: int = 1,
        times: int | None = 1,
        reread: bool = False,
        within_s: float = _FIRED_WITHIN_S,
        **parameters: JSONValue,
    ) -> Injection:
        """One fault, now: `model` (`mutineer faults list`) with its `parameters`, on `target` (KIND/NAMESPACE/NAME,
        KIND/NAME, or KIND alone with namespace and labels). The other arguments are the options of `mutineer inject`;
        `times` None is always, `within_s` how long `wait` waits. InputError with everything that is wrong with them."""
        chosen = {"role": role, "namespace": namespace, "labels": labels, "by": by, "after": after}
        fault = by_hand.fault(
            target,
            channel=channel,
            model=model,
            parameters=parameters,
            group=group,
            field=field,
            operation=operation,
            occurrence=occurrence,
            component=component,
            **chosen,
        )
        problems = [_of_argument(problem) for problem in check_fault(fault, file=_FILE, where="")]
        if component is not None and (why := wrong_component(component, self._nodes)) is not None:
            problems.append(Problem(_FILE, "component", why))
        if problems:
            raise InputError(dict.fromkeys(problems))
        identifier = f"test-{next(self._injected)}"  # each its own, so that each is undone by itself
        done = by_hand.inject(self._folder, fault, times=times, reread=reread, identifier=identifier)
        document, firing = done["rule"], done["firing"]
        assert isinstance(document, dict)
        made = Injection(self._folder, rule_from_json(document), document, within_s=within_s)
        if isinstance(firing, dict):
            made._firings = (firing_from_json(firing),)
        return made

    def reset(self) -> None:
        """As it was when it came up, proven key by key, within seconds; where that can't be proven, anew (10 s)."""
        by_hand.reset(self.name)

    def end(self) -> None:
        """Nothing of it is left."""
        outside.down(self.name)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _of_argument(problem: Problem) -> Problem:
    """Where in a spec → which argument says it here."""
    where = problem.path.lstrip(".")
    if where in ("target.identity", "target.kind"):
        return Problem(problem.file, "target", problem.message)
    return Problem(problem.file, where.removeprefix("target.").removeprefix("parameters."), problem.message)
