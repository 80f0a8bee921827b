"""Rules, firings and near misses as JSON and back, exactly: what the runner, the forwarder's process and the store
pass on.

Objects with the dataclasses' field names; enums by value; bytes in base64 (standard alphabet, padded); a span as a
list of two. A key that is unknown or missing, or a value of the wrong type, is a ValueError that names it. `told`
and other fields with defaults may be missing. What came later is left out where it is as usual.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from injector.rules import Firing, JSONValue, NearMiss, Rule, Told
from injector.targets import Channel, Target

__all__ = [
    "firing_from_json",
    "firing_to_json",
    "near_miss_from_json",
    "near_miss_to_json",
    "rule_from_json",
    "rule_to_json",
]

Document = Mapping[str, JSONValue]

_CHOOSING = ("component", "namespace", "labels", "role", "by", "after")
"""What a target may choose by besides its identity: texts, "" by default."""


def rule_to_json(rule: Rule) -> dict[str, JSONValue]:
    """The rule as a JSON object. What came later is left out where it is as usual: plans' ids are hashes of this."""
    target = rule.target
    return {
        "id": rule.id,
        "channel": rule.channel.value,
        "model": rule.model,
        "parameters": dict(rule.parameters),
        **({} if rule.times == 1 else {"times": rule.times}),
        "target": {
            "kind": target.kind,
            "group": target.group,
            **({"identity": target.identity} if target.identity else {}),
            "field": target.field,
            **({} if target.operation is None else {"operation": target.operation}),
            **{name: text for name in _CHOOSING if (text := getattr(target, name))},
            "occurrence": target.occurrence,
        },
        **({"reread": True} if rule.reread else {}),
    }


def rule_from_json(document: Document) -> Rule:
    """The rule again. ValueError if the document is none."""
    _only(document, ("id", "channel", "model", "parameters", "times", "target", "reread"))
    target = _object(document, "target")
    _only(target, ("kind", "group", "identity", "field", "operation", "occurrence", *_CHOOSING))
    return Rule(
        id=_text(document, "id"),
        channel=Channel(_text(document, "channel")),
        model=_text(document, "model"),
        parameters=_object(document, "parameters") if "parameters" in document else {},
        times=1 if "times" not in document else None if document["times"] is None else _integer(document, "times"),
        target=Target(
            kind=_text(target, "kind"),
            identity=_text(target, "identity") if "identity" in target else "",
            group=_text(target, "group") if "group" in target else "",
            field=None if target.get("field") is None else _text(target, "field"),
            operation=None if target.get("operation") is None else _text(target, "operation"),
            occurrence=_integer(target, "occurrence") if "occurrence" in target else 1,
            **{name: _text(target, name) for name in _CHOOSING if name in target},
        ),
        reread=_truth(document, "reread") or False,
    )


def firing_to_json(firing: Firing) -> dict[str, JSONValue]:
    """The firing as a JSON object."""
    return {
        "rule_id": firing.rule_id,
        "at_s": firing.at_s,
        "key": firing.key,
        "identity": firing.identity,
        "operation": firing.operation,
        "before": _base64(firing.before),
        "after": _base64(firing.after),
        "span": list(firing.span) if firing.span is not None else None,
        "field_before": firing.field_before,
        "field_after": firing.field_after,
        "accepted": firing.accepted,
        "revision": firing.revision,
        "told": firing.told.value if firing.told is not None else None,
        "note": firing.note,
        **({} if firing.field is None else {"field": firing.field}),
        **({"stream": firing.stream} if firing.stream else {}),
        **({"actor": firing.actor} if firing.actor else {}),
        **({"consumed": list(firing.consumed)} if firing.consumed else {}),
    }


def firing_from_json(document: Document) -> Firing:
    """The firing again. ValueError if the document is none."""
    _only(document, tuple(Firing.__dataclass_fields__))
    return Firing(
        rule_id=_text(document, "rule_id"),
        at_s=_number(document, "at_s"),
        key=_text(document, "key"),
        identity=_text(document, "identity"),
        operation=_text(document, "operation"),
        before=_bytes(document, "before"),
        after=_bytes(document, "after"),
        span=_span(document),
        field_before=document.get("field_before"),
        field_after=document.get("field_after"),
        accepted=_truth(document, "accepted"),
        revision=None if document.get("revision") is None else _integer(document, "revision"),
        told=None if document.get("told") is None else Told(_text(document, "told")),
        note=_text(document, "note") if "note" in document else "",
        field=None if document.get("field") is None else _text(document, "field"),
        stream=_text(document, "stream") if "stream" in document else "",
        actor=_text(document, "actor") if "actor" in document else "",
        consumed=_texts(document, "consumed"),
    )


def near_miss_to_json(near_miss: NearMiss) -> dict[str, JSONValue]:
    """The near miss as a JSON object."""
    return {"identity": near_miss.identity, "why": near_miss.why, "times": near_miss.times}


def near_miss_from_json(document: Document) -> NearMiss:
    """The near miss again. ValueError if the document is none."""
    _only(document, ("identity", "why", "times"))
    return NearMiss(identity=_text(document, "identity"), why=_text(document, "why"), times=_integer(document, "times"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _only(document: Document, names: tuple[str, ...]) -> None:
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}")


def _get(document: Document, name: str) -> JSONValue:
    if name not in document:
        raise ValueError(f"{name} is missing")
    return document[name]


def _text(document: Document, name: str) -> str:
    value = _get(document, name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a string, got {value!r:.60}")
    return value


def _texts(document: Document, name: str) -> tuple[str, ...]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name}: expected a list of strings, got {value!r:.60}")
    return tuple(str(item) for item in value)


def _integer(document: Document, name: str) -> int:
    value = _get(document, name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name}: expected an integer, got {value!r:.60}")
    return value


def _number(document: Document, name: str) -> float:
    value = _get(document, name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name}: expected a number, got {value!r:.60}")
    return float(value)


def _truth(document: Document, name: str) -> bool | None:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name}: expected true, false or null, got {value!r:.60}")
    return value


def _object(document: Document, name: str) -> dict[str, JSONValue]:
    value = _get(document, name)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected an object, got {value!r:.60}")
    return value


def _bytes(document: Document, name: str) -> bytes:
    return base64.b64decode(_text(document, name), validate=True)


def _span(document: Document) -> tuple[int, int] | None:
    value = document.get("span")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"span: expected two integers, got {value!r:.60}")
    start, end = value
    if not isinstance(start, int) or not isinstance(end, int):
        raise ValueError(f"span: expected two integers, got {value!r:.60}")
    return start, end
