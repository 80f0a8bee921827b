"""Writing what was edited in a tree into the bytes that the tree came from, and nothing else.

`to_bytes` writes an object as Kubernetes would. Bytes that are there may differ from that: unknown fields of another
version, an odd order, text that is not UTF-8. Here both trees, as it was and as it shall be, are walked beside the
bytes: what is equal keeps its bytes, what differs is encoded as Kubernetes would and put in its place, what is new goes
behind the last field with a number not higher, and the lengths around it are put right. Elements of a list are matched
in order (difflib), so that one more at the front leaves the others' bytes alone.

CBOR takes single values and removals; JSON is written anew as a whole. What can't be done is refused with its path:
another apiVersion or kind, an edit inside a message stored in several pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from injector.codec.edit import remove, replace
from injector.codec.encoding import RawField, encode_varint, scan, scan_map_entry, text_of
from injector.codec.envelope import Storage, open_envelope, storage_of
from injector.codec.locate import find, locate
from injector.codec.nodes import INT_OR_STRING, LEAF_FIELDS, message_of
from injector.codec.paths import join, keyed
from injector.codec.table import SCALARS, Field, shipped_table
from injector.codec.tree import to_tree
from injector.codec.values import encode_value
from injector.codec.write import Writer, delimited, names_of, to_bytes
from injector.errors import CodecError, FaultError, InputError, Problem
from injector.rules import JSONValue

__all__ = ["rewrite"]

_META = ("apiVersion", "kind")
_PLAIN = re.compile(r"[\w$-]+")
_NEWLINE = b"\n"


def rewrite(value: bytes, tree: Mapping[str, JSONValue], *, source: str = "the object") -> bytes:
    """The stored value with the differences between `tree` and `to_tree(value)` written into it.

    Equal trees give the value itself, byte for byte. An object stored as JSON is written anew as a whole, keys in the
    order of `tree`; nothing unknown can be lost there. Raises InputError with every problem and its path, CodecError
    for a value that can't be decoded.
    """
    old = to_tree(value)
    if _same(old, tree):
        return value
    problems = [
        Problem(source, key, f"the bytes say {old[key]!r}, which can't be made {tree.get(key)!r} in place")
        for key in _META
        if old[key] != tree.get(key)
    ]
    if problems:
        raise InputError(problems)
    storage = storage_of(value)
    if storage is Storage.JSON:
        written = to_bytes(tree, storage=Storage.JSON, source=source)
        return written if value.endswith(_NEWLINE) else written.removesuffix(_NEWLINE)
    if storage is Storage.CBOR:
        return _rewrite_items(value, old, tree, source)
    return _rewrite_protobuf(value, old, tree, source)


def _rewrite_protobuf(value: bytes, old: Mapping[str, JSONValue], new: Mapping[str, JSONValue], source: str) -> bytes:
    envelope = open_envelope(value)
    name = message_of(envelope).name
    writer = Writer(source)
    was, shall = ({key: each for key, each in tree.items() if key not in _META} for tree in (old, new))
    raw = envelope.raw
    if raw is None:
        body = writer.message(name, shall, "", 0)
        writer.finish()
        return value + delimited(2, body)
    body = _Rewriting(value, writer).message(name, raw.start, raw.end, was, shall, "", 0)
    writer.finish()
    return value[: raw.length_start] + _sized(value, raw.length_start, raw.start, raw.end, body) + value[raw.end :]


def _rewrite_items(value: bytes, old: Mapping[str, JSONValue], new: Mapping[str, JSONValue], source: str) -> bytes:
    """Single values and removals, one after the other."""
    problems = []
    for path, after in _differences(dict(old), dict(new), ""):
        try:
            if after is None:
                value = remove(value, find(value, path))
            else:
                found = locate(value, path)
                value = replace(value, found, encode_value(found, after))
        except (FaultError, CodecError) as error:
            problems.append(Problem(source, path, f"this edit can't be written into CBOR: {error}"))
    if problems:
        raise InputError(problems)
    return value


def _differences(old: JSONValue, new: JSONValue, path: str) -> Iterator[tuple[str, JSONValue]]:
    """(path, value after) of what differs; None where it is gone. The end of a list first: its indices change then."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            below = join(path, key) if _PLAIN.fullmatch(key) else keyed(path, key)
            yield from _differences(old.get(key), new.get(key), below)
    elif isinstance(old, list) and isinstance(new, list):
        for index in reversed(range(max(len(old), len(new)))):
            was, shall = (each[index] if index < len(each) else None for each in (old, new))
            yield from _differences(was, shall, keyed(path, index))
    elif not _same(old, new):
        yield path, new


def _sized(data: bytes, length_start: int, start: int, end: int, payload: bytes) -> bytes:
    """The payload behind its length; the old length's bytes where it is the same number."""
    same = len(payload) == end - start
    return (data[length_start:start] if same else encode_varint(len(payload))) + payload


def _same(one: object, other: object) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(each, other[key]) for key, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or repr(one) == repr(other))  # NaN is not equal to itself


@dataclass(slots=True)
class _Edits:
    """What becomes of a message's fields as they lie in the bytes: of each by its place (absent: it stays), and what is
    new behind a place (-1: at the start)."""

    instead: dict[int, bytes] = field(default_factory=dict)
    behind: dict[int, bytes] = field(default_factory=dict)

    def add(self, place: int, piece: bytes) -> None:
        self.behind[place] = self.behind.get(place, b"") + piece


class _Rewriting:
    """One value's bytes, `data`, with the writer that encodes what is new and collects the problems."""

    def __init__(self, data: bytes, writer: Writer) -> None:
        self._data, self.writer = data, writer
        self._table = shipped_table()

    def message(
        self, type_name: str, start: int, end: int, old: JSONValue, new: JSONValue, path: str, depth: int
    ) -> bytes:
        """The payload of the message at [start, end) with its edits."""
        if _same(old, new):
            return self._data[start:end]
        message = self._table.message(type_name)
        if message.alias:
            (only,) = message.fields.values()
            old, new = {only.name: old}, {only.name: new}
        elif type_name in LEAF_FIELDS or type_name == INT_OR_STRING:
            return self.writer.message(type_name, new, path, depth)
        if not isinstance(old, dict) or not isinstance(new, dict):
            return self.writer.message(type_name, new, path, depth)
        if not message.alias:
            self.writer.refuse_unknown(type_name, new, path)
        raws = list(scan(self._data, start, end))
        edits = _Edits()
        for each in message.fields.values():
            places = [place for place, raw in enumerate(raws) if raw.number == each.number]
            behind = max((place for place, raw in enumerate(raws) if raw.number <= each.number), default=-1)
            where = path if message.alias else path if each.inline else join(path, each.name)
            _Place(self, each, raws, places, behind, edits, where, depth).edit(*_part(each, old, new))
        return self._assembled(raws, edits)

    def _assembled(self, raws: Sequence[RawField], edits: _Edits) -> bytes:
        out = [edits.behind.get(-1, b"")]
        for place, raw in enumerate(raws):
            out.append(edits.instead.get(place, self._data[raw.tag_start : raw.end]))
            out.append(edits.behind.get(place, b""))
        return b"".join(out)

    def element(self, of: Field, raw: RawField, old: JSONValue, new: JSONValue, path: str, depth: int) -> bytes:
        """One occurrence with its tag, changed."""
        tag = self._data[raw.tag_start : raw.value_start]
        payload = self.payload(of, raw, old, new, path, depth)
        if raw.wire_type != 2:
            return tag + payload
        return tag + _sized(self._data, raw.value_start, raw.start, raw.end, payload)

    def payload(self, of: Field, spot: RawField, old: JSONValue, new: JSONValue, path: str, depth: int) -> bytes:
        """A message changed from within, a scalar as a whole."""
        if of.type in SCALARS:
            return self.writer.value(of.type, new, path, depth)
        return self.message(of.type, spot.start, spot.end, old, new, path, depth + 1)

    def entry(self, of: Field, raw: RawField, old: JSONValue, new: JSONValue, path: str, depth: int) -> bytes:
        """A map's entry with its tag, its value changed."""
        key = self.key(raw)
        inner = {spot.number: spot for spot in scan_map_entry(self._data, raw.start, raw.end, raw.end)}
        if new is None or 2 not in inner:
            return self.writer.entry(of, key, new, path, depth)
        spot = inner[2]
        payload = self.payload(of, spot, old, new, path, depth)
        body = (
            self._data[raw.start : spot.value_start]
            + _sized(self._data, spot.value_start, spot.start, spot.end, payload)
            + self._data[spot.end : raw.end]
        )
        return self._data[raw.tag_start : raw.value_start] + _sized(
            self._data, raw.value_start, raw.start, raw.end, body
        )

    def key(self, raw: RawField) -> str:
        """Of a map's entry."""
        inner = {spot.number: spot for spot in scan_map_entry(self._data, raw.start, raw.end, raw.end)}
        return text_of(self._data[inner[1].start : inner[1].end]) if 1 in inner else ""


def _part(of: Field, old: Mapping[str, JSONValue], new: Mapping[str, JSONValue]) -> tuple[JSONValue, JSONValue]:
    """A field's value before and after; of an inlined message, what stands beside its siblings."""
    if not of.inline:
        return old.get(of.name), new.get(of.name)
    names = names_of(of.type)
    return {key: old[key] for key in old if key in names}, {key: new[key] for key in new if key in names}


@dataclass(frozen=True, slots=True)
class _Place:
    """One field of one message: where it lies (`places` in `raws`), and behind which place it would."""

    rewriting: _Rewriting
    field: Field
    raws: Sequence[RawField]
    places: Sequence[int]
    behind: int
    edits: _Edits
    path: str
    depth: int

    def edit(self, old: JSONValue, new: JSONValue) -> None:
        """Notes what has to change."""
        if _same(old, new):
            return
        packed = any(self.raws[place].wire_type != self.field.wire_type for place in self.places)
        if self.field.map_key is not None and isinstance(new, dict):
            self._edit_map(old if isinstance(old, dict) else {}, new)
        elif self.field.repeated and isinstance(new, list) and not packed:
            self._edit_list(old if isinstance(old, list) else [], new)
        elif new is None or not self.places or self.field.repeated or self.field.map_key is not None:
            self._replace_all(self.rewriting.writer.field(self.field, new, self.path, self.depth))
        elif len(self.places) > 1 and self.field.type not in SCALARS:
            words = (
                f"is stored in {len(self.places)} pieces, which Kubernetes merges: an edit can't be told to one of them"
            )
            self.rewriting.writer.problem(self.path, words)
        else:
            self._each(self.places[-1], self.rewriting.element, old, new, self.path)

    def _each(self, place: int, how: Callable[..., bytes], old: JSONValue, new: JSONValue, path: str) -> None:
        self.edits.instead[place] = how(self.field, self.raws[place], old, new, path, self.depth)

    def _replace_all(self, piece: bytes) -> None:
        for place in self.places:
            self.edits.instead[place] = b""
        self.edits.add(self.places[0] if self.places else self.behind, piece)

    def _edit_map(self, old: Mapping[str, JSONValue], new: Mapping[str, JSONValue]) -> None:
        """Of entries with equal keys the last one counts, and it is edited; removed are all."""
        by_key: dict[str, list[int]] = {}
        for place in self.places:
            by_key.setdefault(self.rewriting.key(self.raws[place]), []).append(place)
        for key, places in by_key.items():
            if key not in new:
                self.edits.instead.update(dict.fromkeys(places, b""))
            elif not _same(old[key], new[key]):
                self._each(places[-1], self.rewriting.entry, old[key], new[key], f"{self.path}[{key}]")
        for key in sorted(new.keys() - by_key.keys()):
            piece = self.rewriting.writer.entry(self.field, key, new[key], f"{self.path}[{key}]", self.depth)
            self.edits.add(self.behind, piece)

    def _edit_list(self, old: Sequence[JSONValue], new: Sequence[JSONValue]) -> None:
        matcher = SequenceMatcher(None, _marks(old), _marks(new), autojunk=False)
        for what, a, a_end, b, b_end in matcher.get_opcodes():
            if what == "equal":
                continue
            paired = min(a_end - a, b_end - b)
            for i in range(paired):
                self._each(self.places[a + i], self.rewriting.element, old[a + i], new[b + i], f"{self.path}[{b + i}]")
            for i in range(a + paired, a_end):
                self.edits.instead[self.places[i]] = b""
            self._insert(a + paired, enumerate(new[b + paired : b_end], b + paired))

    def _insert(self, index: int, elements: Iterable[tuple[int, JSONValue]]) -> None:
        """New elements in front of the list's `index`-th one."""
        place = self.places[index - 1] if index else self.places[0] - 1 if self.places else self.behind
        for i, each in elements:
            self.edits.add(place, self.rewriting.writer.element(self.field, each, f"{self.path}[{i}]", self.depth))


def _marks(elements: Sequence[JSONValue]) -> list[str]:
    """Something hashable that is equal where JSON is."""
    return [json.dumps(each, sort_keys=True) for each in elements]
