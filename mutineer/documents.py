"""A stored object as a text that a person can edit, and back: YAML or JSON.

The document is the object in the API's own JSON shape. Where that does not say everything that the bytes do (unknown
fields, an odd order, text that is not UTF-8), it has one key more, `mutineer.original`: the stored value in base64.
`value_of` then writes into those bytes what was edited, and nothing else; without the key it writes the object as
Kubernetes would. A document that nobody edited gives the very bytes it was made of, either way.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from enum import StrEnum

import yaml

from campaigns.spec.yaml_input import parse_yaml
from injector.codec import Storage, rewrite, to_bytes, to_tree
from injector.codec.envelope import storage_of
from injector.errors import CodecError, InputError, Problem
from injector.rules import JSONValue

__all__ = ["ORIGINAL", "Form", "document_of", "is_secret", "parse", "redacted", "render", "value_of"]

ORIGINAL = "mutineer.original"
"""No kind of Kubernetes has a field with a dot in its name."""

_WHY = (
    "# The stored bytes say more than this object does (unknown fields, an odd order, …), so here they are. `mutineer\n"
    "# encode` writes your edits into them; without this key it writes the object as Kubernetes would.\n"
)
_REDACTED = "<redacted: "
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""An annotation that holds the whole object, as it was applied."""


class Form(StrEnum):
    """How a document is written."""

    YAML = "yaml"
    JSON = "json"


def document_of(value: bytes) -> dict[str, JSONValue]:
    """The document of a stored value. Raises CodecError for bytes that are no object that can be read."""
    tree = to_tree(value)
    if ORIGINAL in tree:
        raise CodecError(f"the object has a field {ORIGINAL!r} of its own; that name is taken")
    same = _canonical(tree) == value
    if storage_of(value) is Storage.PROTOBUF and "metadata" in tree:  # its order means nothing: as people write it
        tree = {key: tree[key] for key in dict.fromkeys(("apiVersion", "kind", "metadata", *tree))}
    return tree if same else {**tree, ORIGINAL: base64.b64encode(value).decode("ascii")}


def _canonical(tree: Mapping[str, JSONValue]) -> bytes | None:
    try:
        return to_bytes(tree)
    except InputError:  # a number out of its range, an integer where a string belongs: it was stored all the same
        return None


def value_of(document: Mapping[str, JSONValue], *, file: str) -> bytes:
    """The stored value of a document. Raises InputError with every problem, each with `file` and path."""
    _refuse_redacted(document, file)
    tree = {key: each for key, each in document.items() if key != ORIGINAL}
    if ORIGINAL not in document:
        return to_bytes(tree, source=file)
    kept = document[ORIGINAL]
    try:
        original = base64.b64decode(kept if isinstance(kept, str) else "", validate=True)
        to_tree(original)
    except (ValueError, CodecError) as error:
        words = f"is not the base64 of a stored object ({error}); put it back, or remove the key"
        raise InputError([Problem(file, ORIGINAL, words)]) from error
    return rewrite(original, tree, source=file)


# secrets


def is_secret(document: Mapping[str, JSONValue]) -> bool:
    """Whether its values must not be shown."""
    return document.get("kind") == "Secret"


def redacted(document: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """A Secret's document without its values: of each its size, or of text its length, is told. Neither the original
    nor the annotation that repeats them is in it."""
    shown = {key: each for key, each in document.items() if key != ORIGINAL}
    for key in ("data", "stringData"):
        if isinstance(values := shown.get(key), dict):
            shown[key] = {name: _hidden(each, encoded=key == "data") for name, each in values.items()}
    metadata = shown.get("metadata")
    if isinstance(metadata, dict) and isinstance(notes := metadata.get("annotations"), dict) and _APPLIED in notes:
        hidden = {**notes, _APPLIED: _hidden(notes[_APPLIED], encoded=False)}
        shown["metadata"] = {**metadata, "annotations": hidden}
    return shown


def _hidden(value: JSONValue, *, encoded: bool) -> str:
    size = len(value) if isinstance(value, str) else 0
    if encoded and isinstance(value, str):
        size = size * 3 // 4 - value[-2:].count("=")
    return f"{_REDACTED}{size} bytes>"


def _refuse_redacted(document: Mapping[str, JSONValue], file: str) -> None:
    words = "was redacted when it was decoded: use `mutineer decode --show-secrets`, or its output in a file"
    problems = []
    for key in ("data", "stringData"):
        values = document.get(key) if is_secret(document) else None
        for name, each in values.items() if isinstance(values, dict) else ():
            if isinstance(each, str) and each.startswith(_REDACTED):
                problems.append(Problem(file, f"{key}[{name}]", words))
    if problems:
        raise InputError(problems)


# text


def render(document: Mapping[str, JSONValue], form: Form) -> str:
    """The text of a document, with a newline at its end. Everything that `parse` needs to give it back."""
    if form is Form.JSON:
        return json.dumps(document, indent=2, ensure_ascii=_halved(document)) + "\n"
    tree = {key: each for key, each in document.items() if key != ORIGINAL}
    text = _yaml(tree)
    return text + _WHY + _yaml({ORIGINAL: document[ORIGINAL]}) if ORIGINAL in document else text


def _halved(document: Mapping[str, JSONValue]) -> bool:
    """Whether some text in it holds half of a surrogate pair (JSON can, UTF-8 can't)."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


_BREAKS = re.compile("[\x85\u2028\u2029\ufeff\r\ud800-\udfff]")
"""YAML 1.1's line breaks that are none in JSON: PyYAML writes them plainly and reads blanks. And what it refuses."""


class _Dumper(yaml.SafeDumper):
    """Text of several lines as such a block, lists indented under their key's name."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _BREAKS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_WIDE = 1 << 30


def _yaml(document: Mapping[str, JSONValue]) -> str:
    text: str = yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDE, default_flow_style=False
    )
    return text


def parse(text: str, *, file: str) -> dict[str, JSONValue]:
    """A document from YAML or JSON. Raises InputError, with line and column."""
    found = _parsed_json(text) if text.lstrip().startswith("{") else None
    if found is None:
        found = parse_yaml(text, file=file)
    if not isinstance(found, dict):
        what = "nothing" if found is None else f"{found!r:.60}"
        raise InputError([Problem(file, "", f"expected one object with apiVersion and kind, got {what}")])
    return found


def _parsed_json(text: str) -> JSONValue:
    """None where it is not JSON, or names a key twice: YAML, which includes it, then says where."""
    try:
        found: JSONValue = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return found


def _once(pairs: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
