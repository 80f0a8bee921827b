"""A stored value from a file, from stdin, or from a key of a running sandbox; with errors that say what to do."""

from __future__ import annotations

import base64
import binascii
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import click

from injector.errors import CodecError, FaultError, InputError, Problem

if TYPE_CHECKING:  # what a command runs is loaded when it runs: help and completion stay quick
    from injector.rules import JSONValue

__all__ = ["Stored", "bytes_of", "keys_below", "located", "name_of", "read"]

T = TypeVar("T")

_ASK_WITHIN_S = 20.0
"""More than etcd's own time limit for one question (campaigns.clusters.keyspace)."""
_NEAR = 3


class Stored(NamedTuple):
    """A stored value and what errors call it."""

    value: bytes
    name: str


def read(file: BinaryIO | None, cluster: str | None, key: str | None, *, as_base64: bool) -> Stored:
    """The value of `key` in the sandbox `cluster` (default: `default`), or what is in `file`. UsageError where it can't
    be told which, InputError for what is not there or no base64, ClusterError where the sandbox does not answer."""
    if key is not None:
        if file is not None and name_of(file) != "stdin":
            raise click.UsageError("expected FILE or --key, not both")
        return Stored(_value_of_key(cluster or "default", key), key)
    if cluster is not None:
        raise click.UsageError(f"--cluster {cluster}: which --key? (tab completes it)")
    assert file is not None
    name, data = name_of(file), bytes_of(file)
    if as_base64:
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error as error:
            raise InputError([Problem(name, "", f"expected base64, got {data[:20]!r}: {error}")]) from error
    return Stored(data, name)


def name_of(file: BinaryIO) -> str:
    """What errors call a file."""
    name = getattr(file, "name", "-")  # what stands in for stdin may have none
    return "stdin" if name in ("<stdin>", "-", 0) else str(Path(name))


def bytes_of(file: BinaryIO) -> bytes:
    """All of a file. UsageError where a person would have to type it."""
    if file.isatty():
        raise click.UsageError("expected a FILE, or something on stdin")
    return file.read()


def _value_of_key(cluster: str, key: str) -> bytes:
    value = _ask(cluster, {"do": "value", "key": key or "/"})
    if value is not None:
        return base64.b64decode(str(value))
    known = keys_below(cluster, key.rpartition("/")[0] or "/") or keys_below(cluster, "/")
    near = difflib.get_close_matches(key, known, _NEAR)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mutineer decode --key` completes keys with tab"
    raise InputError([Problem("command line", "--key", f"the sandbox {cluster!r} has no key {key!r}; {hint}")])


def keys_below(cluster: str, prefix: str) -> list[str]:
    """The keys of a sandbox's etcd that begin with `prefix`, sorted. Errors as `read`."""
    found = _ask(cluster, {"do": "keys", "prefix": prefix})
    assert isinstance(found, list)
    return [str(key) for key in found]


def _ask(cluster: str, request: Mapping[str, JSONValue]) -> JSONValue:
    from campaigns.clusters.sandbox import control, outside

    try:
        found = outside.find_running(cluster)
    except InputError as error:  # it speaks of `mutineer sandbox`'s own option
        raise InputError(Problem(each.file, "--cluster", each.message) for each in error.problems) from None
    return control.ask(found.config.folder, request, within_s=_ASK_WITHIN_S)


def located(name: str, call: Callable[[], T], value: bytes) -> T:
    """What `call` gives; what it finds wrong with the bytes is said with the file's name and what to do."""
    try:
        return call()
    except (CodecError, FaultError) as error:
        raise InputError([Problem(name, "", f"{error}{_remedy(value)}")]) from error


def _remedy(value: bytes) -> str:
    """The two things that commonly happen to a value on its way here."""
    if value.startswith((b"azhzAA", b"eyJraW", b"eyJhcG")):  # k8s and a zero, {"kin, {"api
        return "\n  remedy: this is base64: add --base64"
    if value.endswith(b"\n") and _is_object(value[:-1]):
        return "\n  remedy: take the newline at its end off, which etcdctl puts there: head -c -1"
    return ""


def _is_object(value: bytes) -> bool:
    from injector.codec import to_tree

    try:
        to_tree(value)
    except CodecError:
        return False
    return True
