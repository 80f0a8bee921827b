"""What a planned fault will hit, as the recording has it: the object, and its bytes before and after. Pure."""

from __future__ import annotations

from campaigns.planning.candidates import Candidate
from campaigns.planning.draw import try_out
from campaigns.planning.sites import Asked, LeftOut, Site, Traffic
from campaigns.recording import Subject
from injector.errors import FaultError
from injector.rules import Firing, Rule
from injector.targets import Target

__all__ = ["preview"]


def preview(rule: Rule, traffic: Traffic) -> Firing:
    """What the rule would do in the recording's exemplary run (operation `preview`). FaultError where the recording has
    no such message or field, or holds no bytes of it (a Secret's), or the fault can't be done to them."""
    site = next((each for each in traffic.sites(rule.channel, LeftOut(), _about(rule.target)) if _is(each, rule)), None)
    if site is None:
        raise FaultError(f"the recording has no {rule.target.named} that carries it so often in nearly every run")
    if site.value is None or site.value.content is None:
        why = "it carries no value" if site.value is None else f"{site.value.size} bytes of a Secret, not recorded"
        raise FaultError(f"the message's bytes can't be shown: {why}")
    done = try_out(Candidate(site, rule.model, rule.parameters, "", ""), traffic)
    return Firing(
        rule_id=rule.id,
        at_s=0.0,
        key=done.key.decode(errors="backslashreplace") if done.key is not None else "",
        identity=site.subject.identity,
        operation="preview",
        before=site.value.content,
        after=done.after,
        span=done.span,
        field_before=done.field_before,
        field_after=done.field_after,
        told=done.delivery.told,
        field=rule.target.field,
    )


def _about(target: Target) -> Asked:
    def asked(subject: Subject) -> bool:
        return (subject.kind, subject.group, subject.identity) == (target.kind, target.group, target.identity)

    return asked


def _is(site: Site, rule: Rule) -> bool:
    target, who = rule.target, site.subject
    met = (site.path, site.occurrence, who.operation, who.component)
    return met == (target.field or "", target.occurrence, target.operation or "", target.component)
