"""One experiment on one clean cluster: prepare, arm, drive, observe, canary, collect. Resetting and judging are the
caller's.

The order is design.md's, "One experiment". What a workload prepares is there, and at rest, before time zero, the rule
and the history's r0: the stored state as it is then is what they start from. What the cluster does is never an
exception here; a ClusterError means that our own machinery failed, and the experiment is then an *error*, not a
finding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from campaigns.clusters.keyspace import KeySpace, Stored
from campaigns.clusters.protocol import CANARY_NAMESPACE, HARNESS_COMPONENTS, Cluster
from campaigns.clusters.silent import edit_silently, read_anew
from campaigns.observers.canary import CANARY_STEPS, run_canary
from campaigns.observers.clients import Clients
from campaigns.observers.components import ComponentSampler, once_well, since_then
from campaigns.observers.events import events_of
from campaigns.observers.history import History
from campaigns.observers.logs import AuditReader, LogReader
from campaigns.observers.metrics import MetricsReader
from campaigns.observers.observer import Observer, watching
from campaigns.observers.stored import is_unspoken
from campaigns.observers.system import system_components
from campaigns.observers.volatile import is_volatile
from campaigns.record import Limits
from campaigns.redaction import is_secret_rule
from campaigns.running.consumption import later_writes
from campaigns.running.end_state import EndState
from campaigns.running.healing import Healing
from campaigns.workloads import Workload
from campaigns.workloads.driving import drive, learn
from campaigns.workloads.goals import all_hold, missing
from campaigns.workloads.steps import ObjectName
from campaigns.workloads.user import FIELD_MANAGER, PATIENCE_S, User
from classifiers.observation import CanaryRecord, ComponentHealth, Handled, Look, Observation, ProbeSeries
from classifiers.trace import Trace, trace_to_bytes
from injector.at_rest import AtRest
from injector.channels.control import ForwarderClient
from injector.channels.listening import in_words
from injector.channels.recording import Recorded
from injector.codec.table import shipped_table
from injector.conditions import parse_condition
from injector.errors import ClusterError, FaultError
from injector.faults import ALONE, MODELS
from injector.identity import Identified, kind_of_key
from injector.rules import Firing, NearMiss, Rule
from injector.targets import Channel, is_told

__all__ = ["Experiment"]


_COME_BACK_S = 5.0
"""A crashed component is started again at once and needs about 3 s (kube-apiserver) to serve: what is back by then
was a crash, not an outage."""


_STATUS = re.compile(r"(: HTTP \d+).*", re.DOTALL)


class Experiment:
    """One experiment about to be run. `undo` is the folder for the undo records of at-rest edits; `record`: channels in
    which what passes is noted, from the moment at which a rule would be armed until the canary (`recorded`)."""

    def __init__(
        self,
        cluster: Cluster,
        keyspace: KeySpace,
        baseline: Mapping[str, Stored],
        workload: Workload,
        rule: Rule | None,
        *,
        limits: Limits,
        undo: Path,
        phase: Callable[[str], None] = lambda _: None,
        record: Sequence[Channel] = (),
    ) -> None:
        self.recorded: Mapping[Channel, Recorded] = {}
        self._record = record
        self._cluster, self._keyspace, self._baseline, self._undo = cluster, keyspace, baseline, undo
        self._workload, self._rule, self._limits, self._phase = workload, rule, limits, phase
        self._milestones: dict[str, float | None] = dict.fromkeys(("applied", "pods-ready", "traffic", "settled"))
        self._firings: tuple[Firing, ...] = ()
        self._near_misses: tuple[NearMiss, ...] = ()
        self._unclean: tuple[str, ...] = ()
        self._before: tuple[ProbeSeries, ...] = ()
        self._began = self._await_by = 0.0
        self._trace: Trace | None = None
        self._armed = False
        self._held_s = min(_held_s(rule), limits.settle_s)

    @property
    def _in_flight(self) -> bool:
        return self._rule is not None and not self._rule.channel.at_rest

    @property
    def _forwarder(self) -> ForwarderClient:
        assert self._rule is not None
        return self._cluster.forwarder(self._rule.channel)

    def _now_s(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> Observation:
        """Runs it and returns everything that was seen."""
        with contextlib.ExitStack() as ends:
            user = User(self._cluster.kubeconfig, patience_s=PATIENCE_S + self._held_s)
            ends.callback(user.close)
            for channel in self._record:
                ends.callback(self._cluster.forwarder(channel).disarm)
            if self._in_flight:
                ends.callback(self._forwarder.disarm)
            r0 = self._prepare(user)
            health = {component.name: component for component in self._cluster.health()}
            if self._rule is not None and self._in_flight and not self._rule.reread and not self._unclean:
                self._arm(self._rule)
            self._begin_recording()
            r0, self._began = r0 or self._keyspace.revision(), time.monotonic()
            self._before = tuple(_since_zero(series, self._began) for series in self._before)
            with History(self._keyspace, self._baseline, r0=r0, began=self._began) as history:
                seen = self._observe(history, user, health)
                return dataclasses.replace(seen, looks=self._heal(history, user)) if self._limits.heal_s else seen

    @property
    def baseline(self) -> Mapping[str, Stored]:
        """What was stored at r0, what the workload prepared included; after `run`."""
        return self._baseline

    @property
    def trace(self) -> bytes:
        """etcd's history with values, for `classifiers.trace.trace_from_bytes`; after `run`."""
        assert self._trace is not None, "run comes first"
        return trace_to_bytes(self._trace)

    def _heal(self, history: History, user: User) -> tuple[Look, ...]:
        if self._rule is None or not self._firings or self._unclean:
            return ()
        if self._in_flight:
            self._forwarder.disarm()
        healing = Healing(
            self._cluster, self._keyspace, self._workload, history, user,
            began=self._began, limits=self._limits, phase=self._phase,
        )  # fmt: skip
        return healing.run(self._firings, self._rule.target.field)

    def _prepare(self, user: User) -> int | None:
        """Does what the workload prepares and waits until it is there, at rest, and its services answer from every
        node. From then on that is the baseline; returns the revision at which it is. None where nothing is prepared.
        What does not come right is `unclean`: the harness's matter, never a finding."""
        workload = self._workload
        revision = None
        if workload.prepare:
            self._phase("preparing")
            deadline = time.monotonic() + self._limits.prepare_s
            with History(self._keyspace, self._baseline, r0=self._keyspace.revision(), began=0.0) as history:
                clients = Clients(self._cluster, workload, history, began=0.0)
                with watching((clients,)):
                    drive(workload.prepare, user, self._cluster, history, deadline=deadline, patient=True)
                    history.caught_up()
                    if not history.wait(lambda: self._prepared(history, clients), deadline=deadline):
                        self._unclean = _not_prepared(workload, history, clients, user, self._limits.prepare_s)
                self._before = clients.since_ok()
            revision, self._baseline = _still(self._keyspace)
        learn((*workload.steps, *CANARY_STEPS), user)
        user.told.clear()
        user.told_at.clear()
        return revision

    def _prepared(self, history: History, clients: Clients) -> bool:
        since = clients.all_ok_s()
        if since is None or not all_hold(self._workload.ready, history):
            return False
        return time.monotonic() - max(history.last_change_s, since) >= self._limits.quiet_s

    def _users_own(self, rule: Rule) -> bool:
        """Whether the message that carries the fault is the user's own request: their writes carry their field manager.
        Where the stored state does not tell who asked (a delete, a bare message), it is what they ask for once."""
        if not self._in_flight or rule.channel.of_components or rule.reread:
            return False
        target = rule.target
        once = target.occurrence == 1 and not target.by and not target.after
        if not self._firings:
            return once and target.identity in self._workload.asked_for
        theirs = (f for f in self._firings if f"/{CANARY_NAMESPACE}/" not in f"{f.key}/")
        return any(
            f.actor == FIELD_MANAGER or (not f.actor and once and f.identity in self._workload.asked_for)
            for f in theirs
        )

    def _arm(self, rule: Rule) -> None:
        self._forwarder.arm(rule, baseline=self._known())
        self._armed = True

    def _known(self) -> list[tuple[bytes, bytes]]:
        return sorted((key.encode(errors="surrogateescape"), each.value) for key, each in self._baseline.items())

    def _begin_recording(self) -> None:
        for channel in self._record:
            self._cluster.forwarder(channel).record(channel, baseline=self._known())

    def _end_recording(self) -> None:
        self.recorded = {channel: self._cluster.forwarder(channel).recorded() for channel in self._record}

    def _observe(self, history: History, user: User, health: Mapping[str, ComponentHealth]) -> Observation:
        """Drives the workload under the eyes of all observers, then the canary, and puts the record together: what this
        class itself knows, and each observer's part."""
        clients = Clients(self._cluster, self._workload, history, began=self._began, before=self._before)
        observers = self._observers(clients)
        with watching(observers):
            self._drive(history, user, clients)
            self._phase("steady")
            history.wait(lambda: False, deadline=time.monotonic() + self._limits.steady_s)
            end, told = EndState.of(history, self._workload.namespaces), tuple(user.told)
            told_s = {words: round(user.told_at[words] - self._began, 4) for words in told}
            self._end_recording()
            self._phase("canary")
            canary = self._canary(history, user)
            self._phase("collecting")
            ended_s = self._now_s()  # what follows takes longer the worse the cluster is, and tells nothing more
        self._collect_firings()
        handled = tuple(self._handled(history, user))
        blind, unseen = self._catch_up(history)
        assert self._trace is not None
        self._firings = tuple(self._followed(firing, history) for firing in self._firings)
        events, unread = events_of(history)
        observation = Observation(
            workload=self._workload.name,
            seconds=round(ended_s, 3),
            r0=history.r0,
            milestones=dict(self._milestones),
            wanted_pods=self._workload.pods_on(len(self._cluster.vantage_points())),
            pods=end.pods,
            final_counts=end.counts,
            peak_counts=end.peaks,
            probes=(),
            canary=canary,
            components=(*self._components(health), *system_components(history, self._baseline)),
            writes=tuple(history.writes[: len(self._trace.steps)]),  # a write that came meanwhile is in neither
            armed=self._rule is not None,
            firings=self._firings,
            near_misses=self._near_misses,
            user_errors=(*told, *end.signs),
            told_s={**told_s, **{words: since_s for words, since_s in end.signs.items() if since_s is not None}},
            caps=_caps(self._cluster, self._keyspace, history),
            user_asked=self._rule is None or self._users_own(self._rule),
            blind=(*blind, *(f"canary: {words}" for words in canary.blind)),
            unclean=self._unclean,
            undecodable=history.undecodable(),
            renamed=history.renamed(),
            handled=handled,
            events=events,
            missing=(*unseen, *((unread,) if unread else ())),
        )
        for observer in observers:
            observation = observer.add_to(observation)
        return observation

    def _observers(self, clients: Clients) -> tuple[Observer, ...]:
        """In the order in which they start. Clients are the last: what others read at the start costs them nothing."""
        texts = self._rule is None or not is_secret_rule(self._rule)
        return (
            MetricsReader(self._cluster),
            LogReader(self._cluster, texts=texts),
            AuditReader(self._cluster, began=self._began),
            ComponentSampler(self._cluster, began=self._began),
            clients,
        )

    def _catch_up(self, history: History) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Waits for what etcd's watch has still to tell, and takes the trace. What was not seen, in words."""
        seen_all = history.caught_up()
        self._trace = history.trace(self._baseline)
        cut = history.keeper.left_out
        missing = (f"trace: {cut} values, there was no room for them",) if cut else ()
        if history.blind or not seen_all:
            return (f"etcd history: {history.blind or 'the watch did not catch up with what etcd holds'}",), missing
        return (), missing

    def _components(self, before: Mapping[str, ComponentHealth]) -> tuple[ComponentHealth, ...]:
        """Components at the end. What is down gets a moment to come back, as it would in a cluster that restarts it,
        but for those of nodes that the workload switches off. ClusterError if one of ours had ended: what was seen
        then is nobody's failure but ours."""
        now = once_well(self._cluster, within_s=_COME_BACK_S, without=self._workload.lost_nodes)
        seen = since_then(before, now)
        if broken := [c.name for c in seen if c.name in HARNESS_COMPONENTS and (c.restarts or not c.alive)]:
            raise ClusterError(f"{', '.join(broken)} ended during the experiment: a failure of the harness")
        return seen

    def _canary(self, history: History, user: User) -> CanaryRecord:
        if self._unclean:  # what it would tell is nobody's doing
            return CanaryRecord(stages={}, deadline_s=self._limits.canary_s)
        lost = self._workload.lost_nodes
        return run_canary(self._cluster, history, user, deadline_s=self._limits.canary_s, without=lost)

    def _drive(self, history: History, user: User, clients: Clients) -> None:
        if self._unclean:
            return
        self._phase("driving")
        self._await_by = time.monotonic() + self._limits.settle_s + self._held_s
        drive(self._workload.steps, user, self._cluster, history, deadline=self._await_by)
        self._milestones["applied"] = self._now_s()
        history.caught_up(within_s=1.0)  # or a goal might be asked of the state before the last step
        self._phase("settling")
        self._milestones["settled"] = self._settle(history, clients)
        if self._rule is not None and (not self._in_flight or self._rule.reread):
            self._inject_now(self._rule, history)
            self._await_by = time.monotonic() + self._limits.settle_s + self._held_s
            self._milestones["settled-after-fault"] = self._settle(history, clients, after_fault=True)

    def _inject_now(self, rule: Rule, history: History) -> None:
        if self._in_flight:
            self._phase("reading anew")
            self._arm(rule)
            read_anew(self._cluster)
        else:
            self._phase("injecting at rest")
            self._inject_at_rest(rule, history)

    def _inject_at_rest(self, rule: Rule, history: History) -> None:
        if rule.target.after and not self._comes(rule.target.after, history):
            why = f"the rule waits for {rule.target.after}, which never came"
            self._near_misses = (NearMiss(identity=rule.target.named, why=why, times=1),)
            return
        try:
            if rule.channel is Channel.AT_REST_SILENT:
                with history.interrupted():
                    firing = edit_silently(self._cluster, rule, self._undo, r0=history.r0)
            else:
                forwarder = self._cluster.forwarder(Channel.APISERVER_TO_ETCD)
                at_rest = AtRest(self._cluster.etcd_address, self._undo, self._cluster.etcd_tls)
                firing = at_rest.inject(rule, r0=history.r0, listen=forwarder.listen)
            self._firings = (firing,)
        except FaultError as error:
            self._near_misses = (NearMiss(identity=rule.target.named, why=str(error), times=1),)

    def _comes(self, after: str, history: History) -> bool:
        """Waits until that condition is stored; False if it does not come in the time that the workload has to settle
        (which is over already where it never did: two such times are all that an experiment's limit has room for)."""
        condition = parse_condition(after)
        kind = condition.identity.partition("/")[0]

        def holds() -> bool:
            found = (o for o in history.of_kind(kind) if o.who.identity == condition.identity)
            return any(condition.holds(o.value) for o in found)

        return history.wait(holds, deadline=self._await_by)

    def _settle(self, history: History, clients: Clients, *, after_fault: bool = False) -> float | None:
        """Waits for rest, noting the milestones on the way; returns when it came to stay, None if it never did.
        After a fault at rest nothing may happen for a while before something does: the longer wait counts. What a rule
        holds back is still to come: nothing is stuck before that. Who can't renew a lease gives up only once it has
        nearly run out."""
        start_s = self._now_s()
        rest_s: float | None = None

        def rested() -> bool:
            nonlocal rest_s
            self._note_milestones(history, clients)
            came = self._milestones
            there = came["pods-ready"] is not None and (came["traffic"] is not None or not self._workload.services)
            now_s = self._now_s()
            quiet_s = now_s - max(history.last_change_s, start_s)
            settled = there and not after_fault and all_hold(self._workload.done, history)
            enough_s = self._limits.quiet_s if settled else self._limits.stuck_s + self._held_s
            if quiet_s < enough_s or (not settled and self._may_be_told_more(history, quiet_s)):
                rest_s = None
            elif rest_s is None:
                rest_s = now_s
            return rest_s is not None and now_s >= self._not_before_s(start_s, after_fault)

        history.wait(rested, deadline=self._await_by)
        return rest_s

    def _may_be_told_more(self, history: History, quiet_s: float) -> bool:
        """Whether a kubelet that has told nothing of a pod may still do so, when nothing has changed for so long."""
        if quiet_s >= self._limits.unspoken_s + self._held_s:
            return False
        pods = (pod.tree for name in self._workload.namespaces for pod in history.objects("Pod", name))
        return any(is_unspoken(tree) for tree in pods if tree)

    def _not_before_s(self, start_s: float, after_fault: bool) -> float:
        """When rest may be believed: `dormant_s` after a fault at rest, or one in a Lease."""
        if after_fault:
            return start_s + self._limits.dormant_s
        if self._rule is None or not self._armed or self._rule.target.kind != "Lease":
            return 0.0
        fired = self._forwarder.collect().firings
        return (fired[0].at_s - self._began if fired else start_s) + self._limits.dormant_s

    def _note_milestones(self, history: History, clients: Clients) -> None:
        if self._milestones["pods-ready"] is None and all_hold(self._workload.done, history):
            self._milestones["pods-ready"] = self._now_s()
        if self._milestones["traffic"] is None:
            self._milestones["traffic"] = 0.0 if clients.served_from_start() else clients.first_ok_s()

    def _collect_firings(self) -> None:
        if self._in_flight and self._armed:  # else what is collected is of the rule before
            collected = self._forwarder.collect()
            self._firings, self._near_misses = collected.firings, collected.near_misses
        elif self._rule is not None and self._rule.channel is Channel.AT_REST_WRITE and self._firings:
            (firing,), heard = self._firings, self._cluster.forwarder(Channel.APISERVER_TO_ETCD).heard()
            said = in_words(heard, revision=firing.revision, since_s=firing.at_s)
            self._firings = (dataclasses.replace(firing, consumed=said),)
        self._firings = tuple(dataclasses.replace(f, at_s=round(f.at_s - self._began, 6)) for f in self._firings)

    def _handled(self, history: History, user: User) -> Iterator[Handled]:
        """Asks what can still be done with each stored object that a fault was in. After `_collect_firings`: what the
        fault would do to these requests is nobody's business."""
        for key in dict.fromkeys(f.key for f in self._firings if not is_told(f.operation) and not is_volatile(f.key)):
            stored = history.get(key)
            if stored is None:
                continue
            place = kind_of_key(key)
            name = ObjectName(_version(stored.who), stored.who.kind, place.namespace, place.name)
            secret = self._rule is not None and is_secret_rule(self._rule)
            read, update, delete = (
                _STATUS.sub(r"\1", words) if secret else words  # a refusal may quote what it refuses
                for words in user.dry_run(name)
            )
            yield Handled(
                key=key,
                identity=stored.who.identity,
                decodable=stored.tree is not None,
                read=read,
                update=update,
                delete=delete,
            )

    def _followed(self, firing: Firing, history: History) -> Firing:
        """The firing with what later writes made of the wrong value."""
        path = firing.field or (self._rule.target.field if self._rule is not None else None)
        try:
            later = later_writes(firing, path, history.writes, self._keyspace.value_at)
        except ClusterError:  # an etcd that does not answer is the components' to tell
            return firing
        return dataclasses.replace(firing, consumed=(*firing.consumed, *later))


def _held_s(rule: Rule | None) -> float:
    """For how long what the rule is done to is held back."""
    if rule is None or not MODELS[rule.model].in_flight:
        return 0.0
    return MODELS[rule.model].apply(b"", None, rule.parameters, ALONE).delivery.delay_s


def _version(who: Identified) -> str:
    """The group and version to ask for: of one that can't be decoded, the first that the field table has."""
    if who.api_version:
        return who.api_version
    kinds = shipped_table().kinds()
    return next((v for v, kind in kinds if kind == who.kind and v.rpartition("/")[0] == who.group), "v1")


def _still(keyspace: KeySpace) -> tuple[int, Mapping[str, Stored]]:
    """The whole key space, and the revision that it was read at."""
    while True:
        revision = keyspace.revision()
        dump = keyspace.dump()
        if keyspace.revision() == revision:
            return revision, dump


def _not_prepared(
    workload: Workload, history: History, clients: Clients, user: User, within_s: float
) -> tuple[str, ...]:
    """Why what the workload prepares is not there, in words."""
    wants = [*missing(workload.ready, history)]
    if clients.all_ok_s() is None:
        wants.append("its services answer from every node")
    told = f"; the user was told: {'; '.join(user.told)}" if user.told else ""
    return (
        f"{workload.name} was not prepared within {within_s:g} s: {'; '.join(wants) or 'the cluster at rest'}{told}",
    )


def _since_zero(series: ProbeSeries, zero: float) -> ProbeSeries:
    """A series with times since `zero` instead of time.monotonic(), to a tenth of a millisecond as all of them."""
    samples = tuple(dataclasses.replace(sample, at_s=round(sample.at_s - zero, 4)) for sample in series.samples)
    return dataclasses.replace(series, samples=samples)


def _caps(cluster: Cluster, keyspace: KeySpace, history: History) -> tuple[str, ...]:
    """The host guard's caps that were hit, in words: what they broke is ours, not the cluster's."""
    pods = Counter(str(o.tree.get("spec", {}).get("nodeName")) for o in history.of_kind("Pod") if o.tree)
    cap = cluster.pods_per_node
    full = [node for node in cluster.vantage_points() if cap is not None and pods[node] >= cap]
    caps = [f"{', '.join(full)}: {cap} pods, as many as the host guard lets a node have"] if full else []
    with contextlib.suppress(ClusterError):  # an etcd that does not answer is the components' to tell
        if keyspace.full():
            caps.append("etcd's quota, capped by the host guard, is used up")
    return (*caps, *cluster.caps)
