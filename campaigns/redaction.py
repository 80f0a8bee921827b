"""What must not be shown: the values of Secret objects. In a report such a value is its size and nothing else.

A Secret is recognised by the target, by the etcd key and by the stored bytes themselves, so that one that lies under
a wrong key is covered as well. Texts of errors and reasons are not searched: what writes them must not put values in.
"""

from __future__ import annotations

from injector.rules import Firing, Rule

__all__ = ["holds_secret", "is_secret", "is_secret_rule", "is_secret_target"]

_KIND = "Secret"
_STORED_MARKS = (
    b"\x12\x06Secret",  # TypeMeta.kind = "Secret": field 2, length 6, in the protobuf envelope (runtime.Unknown)
    b'"kind":"Secret"',
    b"\x66Secret",  # the same text in CBOR
)
_ENVELOPE_BYTES = 64  # TypeMeta stands first: magic (4), tag and length (4), apiVersion "v1", kind


def is_secret_rule(rule: Rule) -> bool:
    """True if the rule is aimed at a Secret, so that its parameters may hold a value of one."""
    return is_secret_target(rule.target.kind, rule.target.identity)


def is_secret_target(kind: str, identity: str) -> bool:
    """True if such a target is a Secret."""
    return kind == _KIND or identity.startswith(f"{_KIND}/")


def holds_secret(firing: Firing) -> bool:
    """True if any value in the firing comes from a Secret."""
    return firing.identity.startswith(f"{_KIND}/") or is_secret(firing.key, firing.before, firing.after)


def is_secret(key: str, *values: bytes) -> bool:
    """True if what lies at that key of etcd's, or any of the values, is a Secret's."""
    return "/secrets/" in key or any(_looks_like_secret(value) for value in values)


def _looks_like_secret(value: bytes) -> bool:
    head = value[:_ENVELOPE_BYTES]
    if head.startswith((b"k8s\x00", b"{")) or not head:
        return _STORED_MARKS[0] in head or _STORED_MARKS[1] in value.replace(b'": "', b'":"')
    return any(mark in value for mark in _STORED_MARKS)
