"""`mutineer decode`, `encode` and `fields`: one stored object as text and back, and what there is in it."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import click

from injector.errors import ClusterError, FaultError, InputError, Problem
from mutineer.completing import complete_sandboxes
from mutineer.stored_values import bytes_of, keys_below, located, name_of, read

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from injector.rules import JSONValue

__all__ = ["commands"]

_TIES = "dependency: "
"""Stands before what a dependency field ties by; on a terminal a colour says it."""
_SHARES = {"path": 3, "value": 2}
"""How columns share what the others leave of a terminal's width."""
_SECRETS_HIDDEN = "values of a Secret are hidden on a terminal (--show-secrets shows them)"


def _complete_keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Keys as far as the next slash: a cluster has hundreds."""
    try:
        keys = keys_below(context.params.get("cluster") or "default", incomplete or "/")
    except (ClusterError, InputError):  # there is no such sandbox: the command itself will say so
        return []
    return sorted({incomplete + _segment(key[len(incomplete) :]) for key in keys})


def _segment(rest: str) -> str:
    head, slash, _ = rest.partition("/")
    return head + slash


def _complete_kinds(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from injector.codec.table import shipped_table

    return sorted({kind for _, kind in shipped_table().kinds() if kind.lower().startswith(incomplete.lower())})


_file = click.argument("file", type=click.File("rb"), default="-")
_cluster = click.option("--cluster", metavar="NAME", shell_complete=complete_sandboxes,
                        help="Read from this sandbox's etcd (default: `default`).")  # fmt: skip
_key = click.option("--key", metavar="KEY", shell_complete=_complete_keys,
                    help="Which key of its etcd, such as /registry/pods/default/web.")  # fmt: skip
_base64 = click.option("--base64", "as_base64", is_flag=True, help="The stored value is in base64.")
_secrets = click.option("--show-secrets", is_flag=True, help="Show the values of Secrets on a terminal, too.")


# decode


@click.command()
@_file
@_cluster
@_key
@click.option("-o", "--output", "form", type=click.Choice(("yaml", "json")), default="yaml", show_default=True,
              help="How to write it.")  # fmt: skip
@_base64
@_secrets
def decode(
    file: BinaryIO, cluster: str | None, key: str | None, form: str, as_base64: bool, show_secrets: bool
) -> None:
    """Show a stored object as YAML or JSON: from FILE (- is stdin), or of a key of a running cluster's etcd.

    `mutineer encode` makes the same bytes of it again. Where the text can't say all that the bytes do (unknown fields,
    an odd order, corrupted text), it carries them along under the key `mutineer.original`.

    On a terminal the values of Secrets are hidden, unless --show-secrets is given; a pipe or a file gets them.

    \b
    Examples:
      mutineer decode --cluster default --key /registry/deployments/default/web
      etcdctl get /registry/pods/default/web -w json | jq -r .kvs[0].value | mutineer decode --base64
      mutineer decode value.bin -o json | jq .spec
      mutineer decode value.bin > web.yaml; $EDITOR web.yaml; mutineer encode web.yaml -o value.bin
    """
    from mutineer import documents

    found = read(file, cluster, key, as_base64=as_base64)
    document = located(found.name, lambda: documents.document_of(found.value), found.value)
    if documents.is_secret(document) and not show_secrets and sys.stdout.isatty():
        document = documents.redacted(document)
        click.echo(f"{_SECRETS_HIDDEN}; this can't be encoded again", err=True)
    click.echo(documents.render(document, documents.Form(form)), nl=False)


# encode


@click.command()
@_file
@click.option("-o", "--output", type=click.File("wb", lazy=True), default="-", metavar="FILE",
              help="Where to write the value (default: stdout).")  # fmt: skip
@click.option("--base64", "as_base64", is_flag=True, help="Write the value in base64.")
def encode(file: BinaryIO, output: BinaryIO, as_base64: bool) -> None:
    """Make the stored value of an object in YAML or JSON, from FILE (- is stdin): the inverse of `mutineer decode`.

    What nobody edited gives the same bytes. An object without `mutineer.original` is written as Kubernetes would write
    it; with that key, its differences are written into the original's bytes, and all else in them stays.

    \b
    Examples:
      mutineer encode web.yaml -o value.bin
      mutineer decode value.bin | sed 's/replicas: 3/replicas: 0/' | mutineer encode -o value.bin
      mutineer encode web.yaml | etcdctl put /registry/deployments/default/web
    """
    from mutineer import documents

    name = name_of(file)
    try:
        text = bytes_of(file).decode()
    except UnicodeDecodeError as error:
        words = f"expected YAML or JSON in UTF-8, got {error.object[:12]!r} (is it a stored value? `mutineer decode`)"
        raise InputError([Problem(name, f"byte {error.start}", words)]) from error
    value = documents.value_of(documents.parse(text, file=name), file=name)
    if as_base64:
        output.write(base64.b64encode(value) + b"\n")
    elif output.isatty():
        raise click.UsageError("a stored value is no text for a terminal: name a file with -o, or add --base64")
    else:
        output.write(value)


# fields


@click.command()
@click.argument("kind", required=False, shell_complete=_complete_kinds)
@click.option("--from", "file", type=click.File("rb"), metavar="FILE",
              help="The fields of the stored object in this file (- is stdin).")  # fmt: skip
@_cluster
@_key
@_base64
@_secrets
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts: a list, one entry a field.")
def fields(
    kind: str | None,
    file: BinaryIO | None,
    cluster: str | None,
    key: str | None,
    as_base64: bool,
    show_secrets: bool,
    as_json: bool,
) -> None:
    """List every field path that objects of KIND can have, with its type and role; or one stored object's fields.

    KIND is a kind's name, or with version and group: Deployment, Deployment.v1.apps, apps/v1/Deployment. Paths are
    those that faults take: [] stands for a list's index (or FIELD=VALUE), [KEY] for a map's key.

    Of an object (--from, or --cluster and --key) its actual fields are listed, with values and with the bytes where
    they lie. Roles tell what a field is for; `dependency` ties objects to each other.

    \b
    Examples:
      mutineer fields Service
      mutineer fields apps/v1/Deployment --json | jq -r '.[] | select(.role == "dependency") | .path'
      mutineer fields --cluster default --key /registry/services/specs/default/kubernetes
      mutineer fields --from value.bin
    """
    if (kind is not None) + (file is not None) + (key is not None) != 1:
        raise click.UsageError("expected one of KIND, --from FILE, or --key KEY (with --cluster NAME)")
    if kind is not None:
        if cluster is not None or as_base64:
            raise click.UsageError("--cluster and --base64 are for a stored object (--key, --from), not for a KIND")
        _fields_of_kind(kind, as_json=as_json)
        return
    found = read(file, cluster, key, as_base64=as_base64)
    rows = located(found.name, lambda: _fields_of_value(found.value), found.value)
    if not show_secrets and sys.stdout.isatty() and _holds_secret(found.value):
        rows = [{**row, "value": _hidden(row)} for row in rows]
        click.echo(_SECRETS_HIDDEN, err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    _table(
        ("bytes", "path", "type", "role", "value"),
        [
            (_span(row), str(row["path"]), str(row["kubernetes_type"]), _role(row), json.dumps(row["value"]))
            for row in rows
        ],
    )


def _fields_of_kind(name: str, *, as_json: bool) -> None:
    from injector.codec.kinds import find_kind, find_kinds, paths_of

    chosen = find_kind(name)
    found = paths_of(chosen)
    rows = [
        {"path": each.path, "type": each.type, "wire_type": each.wire_type, "kubernetes_type": each.kubernetes_type,
         **_roles(chosen.kind, each.path)}
        for each in found
    ]  # fmt: skip
    others = [str(each) for each in find_kinds(name) if each != chosen]
    if others:
        click.echo(f"{chosen}; {name!r} is also {', '.join(others)}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [
        (each.path, each.kubernetes_type + (" (as above)" if each.recursive else ""), _wire(each.wire_type), _role(row))
        for each, row in zip(found, rows, strict=True)
    ]
    _table(("path", "type", "wire", "role"), cells)
    if any(each.recursive for each in found):
        click.echo("(as above): the message holds itself again; paths go on in it without end", err=True)


def _wire(wire_type: int | None) -> str:
    return "-" if wire_type is None else str(wire_type)


def _fields_of_value(value: bytes) -> list[dict[str, JSONValue]]:
    """One entry a field that is there; `span` is null where no path leads (a map's key with a bracket in it)."""
    from injector import codec

    kind = codec.read(value).kind
    rows: list[dict[str, JSONValue]] = []
    for each in codec.list_fields(value):
        row: dict[str, JSONValue] = {
            "path": each.path, "type": each.type, "wire_type": None, "kubernetes_type": each.type,
            **_roles(kind, each.path), "span": None, "value": each.value,
        }  # fmt: skip
        with contextlib.suppress(FaultError):
            found = codec.locate(value, each.path)
            row |= {"wire_type": found.wire_type, "kubernetes_type": found.kubernetes_type, "span": list(found.span)}
        rows.append(row)
    return rows


def _roles(kind: str, path: str) -> dict[str, JSONValue]:
    from injector.roles import dependency_of, role_of

    dependency = dependency_of(kind, path)
    return {"role": role_of(kind, path).value, "dependency": dependency.value if dependency else None}


def _holds_secret(value: bytes) -> bool:
    from injector import codec

    return codec.read(value).kind == "Secret"


def _hidden(row: Mapping[str, JSONValue]) -> JSONValue:
    path = str(row["path"])
    secret = path.startswith(("data[", "stringData[")) or "last-applied-configuration" in path
    return "<redacted>" if secret else row["value"]


def _role(row: Mapping[str, JSONValue]) -> str:
    return f"{_TIES}{row['dependency']}" if row["dependency"] else str(row["role"])


def _span(row: Mapping[str, JSONValue]) -> str:
    return "-".join(map(str, row["span"])) if isinstance(row["span"], list) else "-"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """For a person where there is a terminal (values cut to what fits), else a line each, with tabs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def shown(cell: str) -> Text:
        tied = cell.removeprefix(_TIES)
        return Text(tied, style="yellow" if tied != cell else "")

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for column in columns:
        table.add_column(
            column,
            no_wrap=column not in ("path", "role"),
            overflow="ellipsis" if column == "value" else "fold",
            ratio=_SHARES.get(column),
        )
    for row in rows:
        table.add_row(*map(shown, row))
    Console(highlight=False).print(table)


commands: Mapping[str, click.Command] = {"decode": decode, "encode": encode, "fields": fields}
