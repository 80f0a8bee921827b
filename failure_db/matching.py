"""Which real incidents does an experiment look like? A score that can be recomputed by hand, and its reason in words.

An experiment and an incident are compared in five respects. Each agrees between 0 and 1; the score is the weighted
sum, so it lies in 0..1 as well:

    weight  respect  agrees
    0.40    field    1.00  the same field
                     0.90  one is part of the other (`spec.selector` there, its `[app]` here)
                     0.80  the same field or part of it, but of a pod here and of a pod template there, or vice versa
                     0.55  another field that ties objects together in the same way (injector.roles.Dependency)
                     0.30  another field of the same role (injector.roles.Role), or the incident names any field
                     1.00  both left an object that can't be decoded (whole_object "unreadable")
                     0.70  a write was lost, and there an object was gone (whole_object "deleted")
                           (the best of these; roles `other`, `status` and `metadata` are too wide to agree in)
    0.20    kind     1.00  the same kind; 0.60 a kind of the same family (FAMILIES); 0.50 the incident names any kind
    0.25    class    1.00  the experiment's class is among the incident's failures; 0.50 only one of `also` is
    0.08    client   1.00  the same client failure (an unknown one agrees with nothing)
    0.07    error    1.00  the incident's error is what was injected: undecodable bytes are `state-retrieval`, anything
                           else is `wrong-state`

Rare agreement weighs more: field and kind are each multiplied by 0.5 + 0.5 · idf, where idf = ln((N+1)/n) / ln(N+1),
N incidents in the catalogue, n of them agreeing at least as well in that respect. To share a selector with one of
three incidents means more than to share the kind Pod with one of fifty.

Two conditions stand before the score, and a floor after it:
- the class must agree at all: an incident that ended otherwise is another story. So an experiment of class `none`, or
  without one (golden, inconclusive, error), matches nothing;
- the field must agree at all; where the fault hit a whole message, the kind may stand in for it;
- FLOOR: below it nothing is shown.

The weights and levels are arbitrary in their digits. Their order is chosen: *what* was wrong counts for more than what
came of it, as one failure has many causes. FLOOR is set so that an agreement in class, client and error with only the
kind of a common object (Pod, Node, Deployment) stays below it.

Pure: no file, no clock; the order of incidents does not matter (equal scores are ordered by id).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from classifiers.observation import Observation
from classifiers.verdict import ClientFailure, OrchestratorFailure, Verdict
from failure_db.catalogue import Incident
from failure_db.taxonomy import CLIENT_CLASSES, ErrorKind, WholeObject
from injector.roles import Role, dependency_of, generic_path, role_of
from injector.rules import Rule
from injector.targets import Channel

__all__ = ["FAMILIES", "FLOOR", "WEIGHTS", "Match", "Signature", "match", "signature_of"]

FLOOR = 0.55

WEIGHTS = {"field": 0.40, "kind": 0.20, "class": 0.25, "client": 0.08, "error": 0.07}

FAMILIES = (
    frozenset({"Endpoints", "EndpointSlice"}),
    frozenset({"Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet"}),
    frozenset({"Job", "CronJob"}),
    frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}),
    frozenset({"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}),
)
"""Kinds that do the same work, so that a fault in one reads like a fault in the other."""

_WIDE_ROLES = frozenset({Role.OTHER, Role.STATUS, Role.METADATA})
_LOSING_MODELS = frozenset({"drop"})
_TEMPLATE = re.compile(r"^spec\.(?:jobTemplate\.spec\.)?template\.(?=metadata\.|spec\.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What is compared of an experiment. `field` None is a fault on the whole message; `role` None is looked up
    (injector.roles). `orchestrator` None, or NONE, matches nothing. `undecodable`: at the end some stored object could
    not be decoded. `channel` and `model` None: not known."""

    kind: str
    field: str | None = None
    role: Role | None = None
    model: str | None = None
    channel: Channel | None = None
    orchestrator: OrchestratorFailure | None = None
    also: tuple[OrchestratorFailure, ...] = ()
    client: ClientFailure | None = None
    undecodable: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """An incident that looks like the experiment; `score` in 0..1; `why` names what agreed."""

    id: str
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class _Agreement:
    """How far one respect agrees (0..1), and what to say about it ("" for nothing)."""

    level: float = 0.0
    why: str = ""


_NO = _Agreement()


def signature_of(rule: Rule, verdict: Verdict, observation: Observation | None) -> Signature:
    """The signature of an experiment: what was armed, how it was judged, what could not be decoded in the end."""
    target = rule.target
    fired = observation.firings if observation else ()
    field = target.field or next((firing.field for firing in fired if firing.field), None)
    return Signature(
        kind=target.kind,
        field=field,
        role=role_of(target.kind, field) if field else None,
        model=rule.model,
        channel=rule.channel,
        orchestrator=verdict.orchestrator,
        also=verdict.also,
        client=verdict.client,
        undecodable=bool(observation and observation.undecodable),
    )


def match(signature: Signature, incidents: Sequence[Incident], *, top: int = 3) -> tuple[Match, ...]:
    """The incidents most like the experiment, best first, at most `top`, each with a score >= FLOOR."""
    if signature.orchestrator in (None, OrchestratorFailure.NONE):
        return ()
    fields = [_field(signature, incident) for incident in incidents]
    kinds = [_kind(signature, incident) for incident in incidents]
    field_levels, kind_levels = [a.level for a in fields], [a.level for a in kinds]
    matches = []
    for incident, field, kind in zip(incidents, fields, kinds, strict=True):
        ended = _class(signature, incident)
        if not ended.level or not (field.level or (signature.field is None and kind.level)):
            continue
        client, error = _client(signature, incident), _error(signature, incident)
        score = (
            WEIGHTS["field"] * field.level * _rarity(field.level, field_levels)
            + WEIGHTS["kind"] * kind.level * _rarity(kind.level, kind_levels)
            + WEIGHTS["class"] * ended.level
            + WEIGHTS["client"] * client.level
            + WEIGHTS["error"] * error.level
        )
        if score >= FLOOR:
            what = _what(signature, field, kind)
            why = "; ".join(a.why for a in (what, ended, client) if a.why)
            matches.append(Match(incident.id, round(min(score, 1.0), 3), why))
    return tuple(sorted(matches, key=lambda m: (-m.score, m.id))[:top])


def _rarity(level: float, levels: Sequence[float]) -> float:
    """0.5..1: 0.5 + 0.5 · idf of "agrees at least as well as this" over the catalogue."""
    agreeing = sum(1 for other in levels if other >= level)
    return 0.5 + 0.5 * math.log((len(levels) + 1) / agreeing) / math.log(len(levels) + 1)


def _what(signature: Signature, field: _Agreement, kind: _Agreement) -> _Agreement:
    """Field and kind, in one phrase where it reads well: "same field spec.selector of a Service"."""
    if field.level >= 0.9 and field.why.startswith("same field") and kind.level == 1.0:
        return _Agreement(1.0, f"{field.why} of {_article(signature.kind)}")
    return _Agreement(1.0, "; ".join(a.why for a in (field, kind) if a.why))


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}"


def _kind(signature: Signature, incident: Incident) -> _Agreement:
    if signature.kind in incident.objects:
        return _Agreement(1.0, f"same kind {signature.kind}")
    for family in FAMILIES:
        if signature.kind in family:
            related = [kind for kind in incident.objects if kind in family]
            if related:
                return _Agreement(0.6, f"{signature.kind} here, {related[0]} there")
    return _Agreement(0.5, "any kind of object there") if "*" in incident.objects else _NO


def _field(signature: Signature, incident: Incident) -> _Agreement:
    candidates = [_whole_object(signature, incident)]
    if signature.field is not None:
        role = signature.role or role_of(signature.kind, signature.field)
        candidates += [_one_field(signature, role, incident, theirs) for theirs in incident.fields]
    return max(candidates, key=lambda agreement: agreement.level)


def _whole_object(signature: Signature, incident: Incident) -> _Agreement:
    if signature.undecodable and incident.whole_object is WholeObject.UNREADABLE:
        return _Agreement(1.0, "a stored object that can't be decoded, as there")
    if signature.model in _LOSING_MODELS and incident.whole_object is WholeObject.DELETED:
        return _Agreement(0.7, "a lost write, an object gone there")
    return _NO


def _one_field(signature: Signature, role: Role, incident: Incident, theirs: str) -> _Agreement:
    assert signature.field is not None
    ours = signature.field
    if theirs == "*":
        return _Agreement(0.3, "any field there")
    if _same(ours, theirs):
        exact = generic_path(ours) == generic_path(theirs)
        return _Agreement(1.0 if exact else 0.9, f"same field {_shorter(ours, theirs)}")
    if _same(_in_pod(ours), _in_pod(theirs)):
        pod, template = sorted((ours, theirs), key=len)
        return _Agreement(0.8, f"same field, {pod} of a pod and {template} of a template")
    # Which of the incident's kinds has the field is not told; the role is the same for all but a few special kinds.
    their_kinds = [kind for kind in incident.objects if kind != "*"] or [signature.kind]
    tie = dependency_of(signature.kind, ours)
    if tie is not None and any(dependency_of(kind, theirs) is tie for kind in their_kinds):
        return _Agreement(0.55, f"{tie.value.replace('-', ' ')} as well: {theirs} there")
    if role not in _WIDE_ROLES and any(role_of(kind, theirs) is role for kind in their_kinds):
        return _Agreement(0.3, f"same role {role.value.replace('-', ' ')}: {theirs} there")
    return _NO


@cache
def _same(one: str, other: str) -> bool:
    """Equal but for indices and keys of lists and maps, or one is an ancestor of the other. Two different keys of one
    map (`data[Corefile]`, `data[token]`) are two fields, but of labels and selectors the keys are users' own names."""
    short, long = sorted((generic_path(one), generic_path(other)), key=len)
    if not (long == short or long.startswith((f"{short}.", f"{short}["))):
        return False
    if "[]" not in short or dependency_of("", one):
        return True
    return all(a == b or not (_is_key(a) and _is_key(b)) for a, b in zip(_keys(one), _keys(other), strict=False))


def _keys(path: str) -> list[str]:
    return re.findall(r"\[([^\]]*)\]", path)


def _is_key(inside: str) -> bool:
    return inside != "" and not inside.isdigit()


@cache
def _in_pod(path: str) -> str:
    """The path as it would stand in a pod: what a template carries, without the template's own path."""
    return _TEMPLATE.sub("", path)


def _shorter(one: str, other: str) -> str:
    return min(one, other, key=len)


def _class(signature: Signature, incident: Incident) -> _Agreement:
    if signature.orchestrator in incident.failure:
        return _Agreement(1.0, f"ended in {signature.orchestrator}, as there")
    shared = [failure for failure in signature.also if failure in incident.failure]
    return _Agreement(0.5, f"also showed {shared[0]}, as there") if shared else _NO


def _client(signature: Signature, incident: Incident) -> _Agreement:
    theirs = CLIENT_CLASSES.get(incident.client_impact)
    if theirs is None or theirs is not signature.client:
        return _NO
    words = {
        ClientFailure.NONE: "clients saw nothing there either",
        ClientFailure.UNREACHABLE: "clients could not reach the service, as there",
        ClientFailure.INTERMITTENT: "clients saw some requests fail, as there",
        ClientFailure.SLOWER: "clients were served slower, as there",
    }
    return _Agreement(1.0, words[theirs])


def _error(signature: Signature, incident: Incident) -> _Agreement:
    expected = ErrorKind.STATE_RETRIEVAL if signature.undecodable else ErrorKind.WRONG_STATE
    return _Agreement(1.0) if incident.error is expected else _NO
