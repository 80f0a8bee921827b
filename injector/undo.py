"""Undo records of edits at rest: on disk, whole, before the edit.

    UNDO/RULE-ID.json   {"schema": 1, "rule_id", "key", "mod_revision", "value", "channel", "files"}, key and value in
                        base64: the key's value before, and the revision that had written it

(or RULE-ID-2.json, … where there are records of the same rule already). `files` are the members' database files of an
at-rest-silent edit, as absolute paths; at-rest-write has none.

History of the schema: 1 (first; `channel` and `files` came with at-rest-silent: a record without is of at-rest-write).
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from injector.errors import HarnessError
from injector.rules import Rule
from injector.targets import Channel

__all__ = ["SCHEMA", "UndoFolder", "UndoRecord", "Undone", "newest_first"]

SCHEMA = 1


class Undone(StrEnum):
    """What an undo found and did."""

    RESTORED = "restored"
    UNCHANGED = "unchanged"
    """The key has its old value: the edit never happened, or someone else mended it."""
    GONE = "gone"
    """The key has been deleted since; it stays deleted."""
    OVERWRITTEN = "overwritten"
    """at-rest-silent: the key was written again since; what was written then stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRecord:
    """What a key held before an edit."""

    channel: Channel
    key: bytes
    mod_revision: int
    value: bytes
    files: tuple[Path, ...] = ()


class UndoFolder:
    """The folder of the records of one channel's edits, which may hold other channels' too; it is made (0700) if need
    be."""

    def __init__(self, folder: Path, channel: Channel) -> None:
        self._folder, self._channel = folder, channel

    def write(self, rule: Rule, *, key: bytes, mod_revision: int, value: bytes, files: tuple[Path, ...] = ()) -> Path:
        """Written whole or not at all: a temporary file, synced and renamed, then the folder synced. HarnessError if
        that can't be done."""
        path = self._free_path(urllib.parse.quote(rule.id, safe=""))
        content = {
            "schema": SCHEMA,
            "rule_id": rule.id,
            "key": base64.b64encode(key).decode(),
            "mod_revision": mod_revision,
            "value": base64.b64encode(value).decode(),
            "channel": self._channel.value,
            "files": [str(file.absolute()) for file in files],
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            _sync_folder(self._folder)
        except OSError as error:
            raise HarnessError(f"the undo record {path} can't be written: {error}; nothing was changed") from error
        return path

    def read(self, record: Path) -> UndoRecord:
        """HarnessError if it can't be read, or is of another channel."""
        found = _read(record)
        if found.channel is not self._channel:
            raise HarnessError(f"{record}: an undo record of {found.channel}, expected one of {self._channel}")
        return found

    def pending(self) -> tuple[Path, ...]:
        """The channel's records, and those that can't be read: nobody knows whose they are."""
        return tuple(path for path in sorted(self._folder.glob("*.json")) if self._is_ours(path))

    def _is_ours(self, path: Path) -> bool:
        try:
            return _read(path).channel is self._channel
        except HarnessError:
            return True

    def _free_path(self, stem: str) -> Path:
        names = itertools.chain((stem,), (f"{stem}-{number}" for number in itertools.count(2)))
        return next(path for name in names if not (path := self._folder / f"{name}.json").exists())


def newest_first(records: Iterable[Path]) -> list[Path]:
    """In the order to undo them in: of two edits of one key, the later one found what the first had left."""
    return sorted(records, key=lambda record: record.stat().st_mtime_ns, reverse=True)


def _read(record: Path) -> UndoRecord:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise HarnessError(f"{record}: undo record of schema {content['schema']!r}, this program knows {SCHEMA}")
        return UndoRecord(
            channel=Channel(content.get("channel", Channel.AT_REST_WRITE)),
            key=base64.b64decode(content["key"], validate=True),
            mod_revision=int(content["mod_revision"]),
            value=base64.b64decode(content["value"], validate=True),
            files=tuple(Path(file) for file in content.get("files", ())),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{record}: not a readable undo record: {error!r}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
