"""What an experiment did, as a sentence: made from its rule and, once it fired, from what really changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from campaigns.redaction import holds_secret, is_secret_rule
from classifiers.observation import Handled
from classifiers.verdict import Recovery, Sign
from injector.rules import Firing, JSONValue, Rule
from injector.targets import Channel, Target, is_told

__all__ = [
    "REDACTED",
    "change_of",
    "evidence_of",
    "fate_of",
    "object_name",
    "shown_handled",
    "shown_parameters",
    "shown_recovery",
    "shown_sign",
    "shown_value",
    "target_name",
    "what_was_done",
]

MAX_VALUE = 120
"""Characters of a value that are shown; a longer one is cut with its length. Arbitrary: two lines of a table."""

REDACTED = "redacted"

SHORT_VALUE = 24
"""Characters of a value that still reads well inside a sentence; longer ones stand in the details only."""

_FIELD_MODELS = {
    "bit-flip": "Flipped one bit of {what}",
    "value-set": "Set {what} to a wrong value",
    "boolean-invert": "Inverted {what}",
    "field-remove": "Removed {what}",
    "byte-flip": "Flipped encoded bytes of {what}",
    "truncate": "Cut short {what}",
}
_MESSAGE_MODELS = {
    "byte-flip": "Flipped encoded bytes of {what}",
    "truncate": "Cut short the bytes of {what}",
    "drop": "Dropped the write of {what}",
    "delay": "Delayed the write of {what}",
    "duplicate": "Sent the write of {what} twice",
    "reorder": "Sent the write of {what} out of order",
    "stale": "Wrote an older version of {what}",
    "wrong-key": "Wrote {what} under another object's key",
}
_TELLING = (Channel.ETCD_TO_APISERVER, Channel.APISERVER_TO_COMPONENT)
_ORDINALS = {1: "first", 2: "second", 3: "third"}


def what_was_done(rule: Rule, firing: Firing | None) -> str:
    """Such as: `Flipped one bit of spec.selector[app] of Service default/web ("web" → "veb"), in its first write to
    etcd`."""
    target = rule.target
    identity = target.identity or (firing.identity if firing else "")
    what = f"{target.kind} {object_name(identity)}" if identity else target.named
    field = (firing.field if firing else None) or target.field
    if field is not None or target.role:
        what = f"{field or f'a field with the role {target.role}'} of {what}"
    models = _MESSAGE_MODELS if field is None and not target.role else _FIELD_MODELS
    done = models.get(rule.model, f"Applied {rule.model} to {{what}}").replace("{what}", what)
    if rule.channel in _TELLING:
        done = done.replace("the write of", "the news of").replace("Wrote", "Told")
    told = _told(firing) if firing else rule.parameters.get("told")
    whom = "the receiver" if rule.channel in _TELLING else "the sender"
    answer = f", and told {whom}: {told}" if rule.model == "drop" and told else ""
    return f"{done}{_values(firing)}{_when(rule)}{answer}"


def _values(firing: Firing | None) -> str:
    """The field's value before and after in brackets, if both are short."""
    change = change_of(firing) if firing and not holds_secret(firing) else None
    return f" ({change[0]} → {change[1]})" if change and max(map(len, change)) <= SHORT_VALUE else ""


def _when(rule: Rule) -> str:
    target = rule.target
    again = ", which kube-apiserver was restarted to read anew" if rule.reread else ""
    author = f", written by {target.by}" if target.by else ""
    author += f", after {target.after}" if target.after else ""
    if rule.channel is Channel.AT_REST_WRITE:
        return f"{author}, put straight into etcd"
    if rule.channel is Channel.AT_REST_SILENT:
        return f"{author}, in etcd's file while etcd was stopped{again}"
    nth = _ORDINALS.get(target.occurrence, f"{target.occurrence}th")
    often = "" if rule.times == 1 else " and every one after" if rule.times is None else f" and {rule.times - 1} after"
    if rule.channel is Channel.ETCD_TO_APISERVER:
        return f", the {nth} time{often} that etcd told kube-apiserver of it{author}{again}"
    if rule.channel is Channel.COMPONENT_TO_APISERVER:
        return f", the {nth} time{often} that {target.component or 'a component'} sent it to kube-apiserver{author}"
    if rule.channel is Channel.APISERVER_TO_COMPONENT:
        return f", the {nth} time{often} that kube-apiserver told {target.component or 'a component'} of it{author}"
    return f", in its {nth} write to etcd{often}{author}"


def fate_of(firing: Firing) -> str:
    """What became of the message: `accepted at revision 7`; of one that tells what is there, `told at revision 7`."""
    telling = is_told(firing.operation)
    if telling and firing.accepted is None:
        fate = "told" if firing.after else "kept back"
    else:
        fates = {True: "accepted", False: "refused, or never sent", None: "not known whether it was taken"}
        fate = fates[firing.accepted]
    revision = f" at revision {firing.revision}" if firing.revision is not None else ""
    told = _told(firing)
    answer = f"; the {'receiver' if telling else 'sender'} was told {told}" if told else ""
    return f"{fate}{revision}{answer}"


def _told(firing: Firing) -> str:
    """What was told in place of a dropped message, "" for nothing: an event is just taken out of its watch."""
    return firing.told.value if firing.told is not None and firing.operation != "watch" else ""


def target_name(target: Target) -> str:
    """The object beside its kind: `default/web`, or `any in default with app=web`."""
    return object_name(target.identity) if target.identity else target.named.replace(f"any {target.kind}", "any", 1)


def evidence_of(firing: Firing) -> list[tuple[str, str]]:
    """Where the message went, who had written it, who read what was changed, as (topic, words)."""
    found = [("where", firing.stream), ("by", firing.actor), *(("read", words) for words in firing.consumed)]
    return [(topic, words) for topic, words in found if words]


def object_name(identity: str) -> str:
    """`Pod/default/web#3` → `default/web#3`, `Node/node-1` → `node-1`."""
    return identity.partition("/")[2] or identity


def change_of(firing: Firing) -> tuple[str, str] | None:
    """The field's value before and after, as shown; None for a fault on a whole message."""
    if firing.field_before is None and firing.field_after is None:
        return None
    hidden = holds_secret(firing)
    return shown_value(firing.field_before, hidden=hidden), shown_value(firing.field_after, hidden=hidden)


def shown_value(value: JSONValue, *, hidden: bool = False) -> str:
    """A value as JSON, cut if long; of a hidden one only the size."""
    text = json.dumps(value, ensure_ascii=False)
    if hidden:
        return f"{REDACTED} ({len(text)} characters)"
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def shown_parameters(rule: Rule) -> Mapping[str, str]:
    """The fault model's parameters, as shown."""
    hidden = is_secret_rule(rule)
    return {name: shown_value(value, hidden=hidden) for name, value in sorted(rule.parameters.items())}


def shown_sign(sign: Sign) -> str:
    """What Kubernetes itself told, when, and who would have been paged for it."""
    at = f"{sign.at_s:.1f} s  " if sign.at_s is not None else ""
    rule = f" ({sign.alert}{', which pages' if sign.pages else ''}, if it stays so)" if sign.alert else ""
    return f"{at}{sign.means} {sign.component}: {sign.why}{rule}"


def shown_handled(handled: Handled) -> str:
    """What could still be done with an object, and what not."""
    answers = (("read", handled.read), ("written back", handled.update), ("deleted", handled.delete))
    can = [what for what, why in answers if not why]
    told = dict.fromkeys(why for _, why in answers if why)
    refused = [f"could not be {_listed((w for w, why in answers if why == words), 'or')}: {words}" for words in told]
    state = "can't be decoded; " if not handled.decodable else "is invalid; " if handled.invalid else ""
    could = [f"could be {_listed(can, 'and')}"] if can else []
    return f"{handled.identity}: {state}{'; '.join([*refused, *could])}"


def shown_recovery(recovery: Recovery) -> str:
    """Whether the cluster came back, how and after how long."""
    after = "" if recovery.after_s is None else f", {recovery.after_s:.1f} s later"
    return f"came back {recovery.how.value}{after}: {recovery.why}"


def _listed(words: Iterable[str], joint: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last
