"""Messages that JSON shows as something else than their fields: times, quantities, IntOrString, embedded JSON.

Each function takes a message's fields by name and gives what JSON shows. The bytes of embedded JSON come as latin-1,
a character a byte, so that they need not pass through base64.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from injector.codec.nodes import INT_OR_STRING, LEAF_FIELDS, short
from injector.errors import CodecError
from injector.rules import JSONValue

__all__ = ["BYTES_AS_TEXT", "QUANTITY", "SHAPES"]

BYTES_AS_TEXT = "latin-1"

QUANTITY = re.compile(r"[+-]?\d*(\.\d*)?([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,18})?$", re.ASCII)
"""What k8s.io/apimachinery v0.36.3 pkg/api/resource ParseQuantity takes (it takes `m` and `.`, too)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _whole(plain: dict[str, JSONValue], key: str) -> int:
    found = plain.get(key, 0)
    return found if isinstance(found, int) else 0


@lru_cache(maxsize=4096)
def _moment(seconds: int, nanos: int, timespec: str) -> str:
    """Cached, because an object's times are mostly equal."""
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=int(nanos / 1000))
    except OverflowError:  # Go goes on counting years; Python ends at 9999
        return f"{seconds} s after 1970-01-01T00:00:00Z"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def _time(plain: dict[str, JSONValue]) -> JSONValue:
    return _moment(_whole(plain, "seconds"), 0, "seconds") if plain else None  # Time.Unmarshal ignores the nanoseconds


def _micro_time(plain: dict[str, JSONValue]) -> JSONValue:
    return _moment(_whole(plain, "seconds"), _whole(plain, "nanos"), "microseconds") if plain else None


def _int_or_string(plain: dict[str, JSONValue]) -> JSONValue:
    kind = _whole(plain, "type")
    if kind in (0, 1):
        return plain.get("strVal", "") if kind else plain.get("intVal", 0)
    return plain


def _quantity(plain: dict[str, JSONValue]) -> JSONValue:
    text = plain.get("string", "0")
    assert isinstance(text, str)
    if not text or not QUANTITY.match(text):
        raise CodecError(f"{text!r} is no quantity; Kubernetes refuses the whole object")
    return text


def _embedded(plain: dict[str, JSONValue]) -> JSONValue:
    """Raw JSON; where it is none, the bytes in base64."""
    text = plain.get("raw", plain.get("Raw", ""))
    assert isinstance(text, str)
    if not text:
        return None
    raw = text.encode(BYTES_AS_TEXT)
    try:
        found: JSONValue = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return base64.b64encode(raw).decode("ascii")
    return found


_BY_NAME: dict[str, Callable[[dict[str, JSONValue]], JSONValue]] = {
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "FieldsV1": _embedded,
    "RawExtension": _embedded,
    "JSON": _embedded,
}
SHAPES: Mapping[str, Callable[[dict[str, JSONValue]], JSONValue]] = {
    INT_OR_STRING: _int_or_string,
    **{name: _BY_NAME[short(name)] for name in LEAF_FIELDS},
}
"""By full message name."""
