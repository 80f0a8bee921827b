"""What a rule will hit, as the recording has it: the object, and its bytes before and after. Pure.

The recorded messages go by once more, and the injector's own evidence says on which of them the rule fires. So it shows
any rule, not just those that were drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from campaigns.planning.recording import Subject, Value
from campaigns.planning.sites import Surrounded, Traffic
from injector.channels.evidence import Evidence
from injector.corrupt import corrupt_for
from injector.errors import FaultError
from injector.faults import MODELS
from injector.identity import Identified
from injector.roles import has_role
from injector.rules import Firing, Rule
from injector.targets import Channel

__all__ = ["meets", "preview"]


def preview(rule: Rule, traffic: Traffic) -> Firing:
    """What the rule would do in the recording's exemplary run (operation `preview`). FaultError where the recording has
    no such message or field, or holds no bytes of it (a Secret's), or the fault can't be done to them."""
    met = _met(rule, traffic)
    content = met.value.content if met.value is not None else None
    if content is None:
        why = "it carries no value" if met.value is None else f"{met.value.size} bytes of a Secret, not recorded"
        raise FaultError(f"the message's bytes can't be shown: {why}")
    done = corrupt_for(rule, content, around=Surrounded(met.before, traffic))
    return Firing(
        rule_id=rule.id,
        at_s=0.0,
        key=done.key.decode(errors="backslashreplace") if done.key is not None else "",
        identity=met.subject.identity,
        operation="preview",
        before=content,
        after=done.after,
        span=done.span,
        field_before=done.field_before,
        field_after=done.field_after,
        told=done.delivery.told,
        field=done.field or rule.target.field,
    )


def meets(rule: Rule, traffic: Traffic) -> str | None:
    """Why the rule would hit nothing in the recording's exemplary run, in words; None if it would, or if the recording
    has nothing of its channel."""
    if not rule.channel.at_rest and rule.channel not in traffic.recording.channels:
        return None
    try:
        _met(rule, traffic)
    except FaultError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class _Passing:
    """A message that goes by, or what is stored; `before`: the object's value before it."""

    subject: Subject
    value: Value | None
    before: Value | None

    @property
    def identified(self) -> Identified:
        who = self.subject
        return Identified(who.kind, who.group, "", who.namespace, who.identity.rpartition("/")[2], who.identity)


def _met(rule: Rule, traffic: Traffic) -> _Passing:
    """On what the rule fires. FaultError if on nothing."""
    evidence = Evidence(rule, lambda: 0.0, MODELS)
    stored = [_Passing(each.subject, each.value, each.before) for each in traffic.stored()]
    passing = stored if rule.channel.at_rest else list(_messages(rule.channel, traffic))
    for each in stored if rule.channel.at_rest else [_Passing(*held, None) for held in traffic.baseline.values()]:
        _hears(evidence, each)
    for each in passing:
        if _fires(evidence, rule, each):
            return each
        _hears(evidence, each)
    near = "; ".join(f"{miss.identity}: {miss.why}" for miss in evidence.near_misses()[:2])
    raise FaultError(f"the recording's exemplary run has no {rule.target.named} that it fires on; {near}".rstrip("; "))


def _messages(channel: Channel, traffic: Traffic) -> Iterator[_Passing]:
    before: dict[tuple[str, str], Value] = {}
    if channel not in traffic.recording.channels:
        raise FaultError(f"the recording has nothing of the channel {channel}")
    for message in traffic.recording.channels[channel].messages:
        place = message.subject.group, message.subject.identity
        yield _Passing(message.subject, message.value, before.get(place))
        if message.value is not None:
            before[place] = message.value


def _hears(evidence: Evidence, passing: _Passing) -> None:
    if passing.value is not None and passing.value.content is not None:
        evidence.saw(passing.identified, passing.value.content)


def _fires(evidence: Evidence, rule: Rule, passing: _Passing) -> bool:
    value, before, target = passing.value, passing.before, rule.target
    if value is not None and value.content is None and not _may_carry(rule, value):
        return False
    earlier = before.content if before is not None else None
    return evidence.matches(
        passing.identified,
        passing.subject.operation,
        value.content if value is not None else None,
        lambda: earlier,
        known=earlier if target.labels and rule.channel.of_components else None,
        component=passing.subject.component,
    )


def _may_carry(rule: Rule, secret: Value) -> bool:
    """Of a value of which only the paths are known."""
    target = rule.target
    if target.role:
        return any(has_role(target.kind, path, target.role) for path, _ in secret.fields)
    return target.field is None or any(path == target.field for path, _ in secret.fields)
