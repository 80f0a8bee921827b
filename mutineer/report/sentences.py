"""What an experiment did, as a sentence: made from its rule and, once it fired, from what really changed."""

from __future__ import annotations

import json
from collections.abc import Mapping

from campaigns.redaction import holds_secret, is_secret_rule
from injector.rules import Firing, JSONValue, Rule
from injector.targets import Channel

__all__ = ["REDACTED", "change_of", "object_name", "shown_parameters", "shown_value", "what_was_done"]

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
_ORDINALS = {1: "first", 2: "second", 3: "third"}


def what_was_done(rule: Rule, firing: Firing | None) -> str:
    """Such as: `Flipped one bit of spec.selector[app] of Service default/web ("web" → "veb"), in its first write to
    etcd`."""
    target = rule.target
    what = f"{target.kind} {object_name(target.identity)}"
    if target.field is not None:
        what = f"{target.field} of {what}"
    models = _MESSAGE_MODELS if target.field is None else _FIELD_MODELS
    done = models.get(rule.model, f"Applied {rule.model} to {{what}}").replace("{what}", what)
    if rule.channel in (Channel.ETCD_TO_APISERVER, Channel.APISERVER_TO_COMPONENT):
        done = done.replace("the write of", "the news of")
    told = firing.told if firing else rule.parameters.get("told")
    answer = f", and told the sender: {told}" if rule.model == "drop" and told else ""
    return f"{done}{_values(firing)}{_when(rule)}{answer}"


def _values(firing: Firing | None) -> str:
    """The field's value before and after in brackets, if both are short."""
    change = change_of(firing) if firing and not holds_secret(firing) else None
    return f" ({change[0]} → {change[1]})" if change and max(map(len, change)) <= SHORT_VALUE else ""


def _when(rule: Rule) -> str:
    again = ", which kube-apiserver was restarted to read anew" if rule.reread else ""
    if rule.channel is Channel.AT_REST_WRITE:
        return ", put straight into etcd"
    if rule.channel is Channel.AT_REST_SILENT:
        return f", in etcd's file while etcd was stopped{again}"
    nth = _ORDINALS.get(rule.target.occurrence, f"{rule.target.occurrence}th")
    often = "" if rule.times == 1 else " and every one after" if rule.times is None else f" and {rule.times - 1} after"
    if rule.channel is Channel.ETCD_TO_APISERVER:
        return f", the {nth} time{often} that etcd told kube-apiserver of it{again}"
    if rule.channel is Channel.COMPONENT_TO_APISERVER:
        return f", the {nth} time{often} that {rule.target.component or 'a component'} sent it to kube-apiserver"
    if rule.channel is Channel.APISERVER_TO_COMPONENT:
        return f", the {nth} time{often} that kube-apiserver told {rule.target.component or 'a component'} of it"
    return f", in its {nth} write to etcd{often}"


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
