"""Draws the field table of Kubernetes' stored objects from the Go modules: names, numbers and types, nothing else.

    .venv/bin/python tools/field_table.py            # writes injector/codec/fields.json
    .venv/bin/python tools/field_table.py --check    # exit code 1 if the shipped table differs

`generated.proto` beside the Go types gives messages, field numbers and types. The struct tags in the Go sources of the
same folder add what makes JSON look like the API's own: the JSON name where it differs from protobuf's, which messages
are inlined, which fields are left out when zero, and which are pointers, so that they are stored only if they are set.
`register.go` tells which messages are kinds, and of which group. No
comment or other text is copied. The output is deterministic. Its form is described in injector/codec/table.py.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MODULES", "build_table", "main", "module_dirs", "render"]

REPOSITORY = Path(__file__).resolve().parent.parent
GO_MODULE = REPOSITORY / "campaigns" / "assets" / "go" / "kubernetes"
OUTPUT = REPOSITORY / "injector" / "codec" / "fields.json"

MODULES = ("k8s.io/api", "k8s.io/apimachinery", "k8s.io/kube-aggregator", "k8s.io/apiextensions-apiserver")
"""Where the stored kinds of a kube-apiserver are declared."""

SKIPPED = re.compile(r"/testapigroup/|/example\d?/|/vendor/|/testdata/")

_PACKAGE = re.compile(r"^package ([\w.]+);$", re.MULTILINE)
_MESSAGE = re.compile(r"^message (\w+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (?:(optional|required|repeated) )?(map<\w+, *[\w.]+>|[\w.]+) (\w+) = (\d+);$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_LIST_TYPE = re.compile(r"^type (\w+) \[\]\w+$", re.MULTILINE)
_TAGGED = re.compile(r"^\s+(?:\w+\s+)?(\S+)\s+`([^`]*protobuf:\"\w+,(\d+),[^`]*)`", re.MULTILINE)
_JSON_TAG = re.compile(r'json:"([^"]*)"')
_GROUP = re.compile(r"GroupName\s*=\s*\"([\w.-]*)\"")
_REGISTERED = re.compile(r"&(\w+)\{\}")


@dataclass(frozen=True, slots=True)
class GoField:
    """What a struct tag says of one field."""

    json_name: str
    inline: bool
    omitted_when_zero: bool
    optional: bool
    """A pointer or a byte slice: written only where it is not nil. All else that is single is written even if zero."""


def module_dirs(modules: Sequence[str] = MODULES) -> dict[str, tuple[str, Path]]:
    """Module → (version, folder in the Go module cache), as the pinned go.mod of the Kubernetes build has them.

    Raises FileNotFoundError without Go, and where a module is not in the cache (`go mod download` fetches it).
    """
    command = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Path}} {{with .Replace}}{{.Version}}{{else}}{{.Version}}"]
    command[-1] += "{{end}} {{.Dir}}"
    done = subprocess.run([*command, *modules], cwd=GO_MODULE, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise FileNotFoundError(f"go list failed in {GO_MODULE}: {done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        module, version, *folder = line.split(" ", 2)
        if not folder or not folder[0]:
            raise FileNotFoundError(f"{module} {version} is not in the Go module cache; run `go mod download {module}`")
        found[module] = (version, Path(folder[0]))
    return found


def _go_sources(folder: Path) -> str:
    files = sorted(f for f in folder.glob("*.go") if not f.name.startswith("generated") and "_test" not in f.name)
    return "\n".join(_COMMENT.sub("", f.read_text(encoding="utf-8")) for f in files)


def _go_field(go_type: str, tag: str) -> GoField:
    found = _JSON_TAG.search(tag)
    name, *options = found.group(1).split(",") if found else [""]
    pointer = go_type.startswith(("*", "map[")) or (go_type.startswith("[]") and go_type != "[]byte")
    builtin = go_type in {"string", "bool", "int", "int32", "int64", "float64", "[]byte"}
    # encoding/json leaves out empty strings, numbers and booleans for omitempty, empty structs only for omitzero.
    # A named type of a struct and one of a string look alike here; the codec knows by the protobuf type.
    omitted = not pointer and ("omitzero" in options or "omitempty" in options)
    assert builtin or not go_type.startswith("[]") or pointer
    optional = go_type.startswith("*") or go_type == "[]byte"
    return GoField("" if name == "-" else name, "inline" in options, omitted, optional)


def _struct_fields(source: str) -> dict[str, dict[int, tuple[GoField, bool]]]:
    """Struct → field number → (what the tag says, whether `omitzero` is among the options)."""
    structs: dict[str, dict[int, tuple[GoField, bool]]] = {}
    for name, body in _STRUCT.findall(source):
        fields = structs.setdefault(name, {})
        for go_type, tag, number in _TAGGED.findall(body):
            fields[int(number)] = (_go_field(go_type, tag), "omitzero" in tag)
    return structs


def _type_name(declared: str, package: str) -> str:
    """As written in the table: scalars and messages of the same package bare, others with their package."""
    if declared.startswith("map<"):
        key, value = declared[4:-1].split(",")
        return f"map<{key.strip()},{_type_name(value.strip(), package)}>"
    full = declared.removeprefix(".")
    return full.removeprefix(f"{package}.") if "." not in full.removeprefix(f"{package}.") else full


def _messages(proto: str, package: str, source: str) -> dict[str, list[list[int | str]]]:
    structs, lists = _struct_fields(source), set(_LIST_TYPE.findall(source))
    messages = {}
    for message, body in _MESSAGE.findall(proto):
        rows: list[list[int | str]] = []
        for label, declared, proto_name, number in _FIELD.findall(body):
            go, omit_zero = structs.get(message, {}).get(int(number), (GoField("", False, False, False), False))
            scalar = declared[0].islower() and not declared.startswith("map<")
            flags = "r" if label == "repeated" else ""
            flags += "a" if message in lists else ""
            flags += "i" if go.inline else ""
            flags += "z" if go.omitted_when_zero and (scalar or omit_zero) else ""
            flags += "p" if go.optional else ""
            row: list[int | str] = [int(number), go.json_name or proto_name, _type_name(declared, package)]
            rows.append([*row, flags] if flags else row)
        messages[message] = sorted(rows, key=lambda row: int(row[0]))
    return dict(sorted(messages.items()))


def _kinds(folder: Path, messages: dict[str, list[list[int | str]]]) -> tuple[str, list[str]] | None:
    """(apiVersion, kinds with ObjectMeta) that a folder's register.go declares."""
    register = folder / "register.go"
    if not register.exists() or not re.fullmatch(r"v\d+((alpha|beta)\d+)?", folder.name):
        return None
    text = register.read_text(encoding="utf-8")
    group = _GROUP.search(text)
    if group is None:
        return None
    registered = set(_REGISTERED.findall(text))
    kinds = [
        name
        for name, rows in messages.items()
        if name in registered and rows and rows[0][0] == 1 and str(rows[0][2]).endswith("ObjectMeta")
    ]
    return (f"{group.group(1)}/{folder.name}".removeprefix("/"), kinds) if kinds else None


def _proto_files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (f for f in sorted(folder.rglob("generated.proto")) if not SKIPPED.search(f.as_posix()))


def build_table(modules: dict[str, tuple[str, Path]]) -> dict[str, object]:
    """The table as plain data, from module → (version, folder)."""
    packages: dict[str, object] = {}
    kinds: dict[str, object] = {}
    for file in _proto_files([folder for _, folder in modules.values()]):
        proto = _COMMENT.sub("", file.read_text(encoding="utf-8"))
        found = _PACKAGE.search(proto)
        assert found, file
        package = found.group(1)
        messages = _messages(proto, package, _go_sources(file.parent))
        if not messages:
            continue
        packages[package] = messages
        declared = _kinds(file.parent, messages)
        if declared:
            kinds[declared[0]] = {"package": package, "kinds": declared[1]}
    return {
        "format": 2,
        "modules": {module: version for module, (version, _) in sorted(modules.items())},
        "kinds": dict(sorted(kinds.items())),
        "packages": dict(sorted(packages.items())),
    }


def render(table: dict[str, object]) -> str:
    """Compact JSON with one message a line, so that a new Kubernetes version makes a diff one can read."""
    lines = ["{"]
    for key in ("format", "modules", "kinds"):
        lines.append(f"{json.dumps(key)}:{json.dumps(table[key], separators=(',', ':'))},")
    lines.append('"packages":{')
    packages = table["packages"]
    assert isinstance(packages, dict)
    blocks = []
    for package, messages in packages.items():
        rows = ",\n".join(f"{json.dumps(m)}:{json.dumps(f, separators=(',', ':'))}" for m, f in messages.items())
        blocks.append(f"{json.dumps(package)}:{{\n{rows}}}")
    lines.append(",\n".join(blocks) + "}}")
    return "\n".join(lines) + "\n"


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the shipped table, write nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(args)
    text = render(build_table(module_dirs()))
    if options.check:
        same = options.output.read_text(encoding="utf-8") == text
        print("same" if same else f"{options.output} differs from the Go modules; run tools/field_table.py")
        return 0 if same else 1
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output}: {len(text.encode())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
