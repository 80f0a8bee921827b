"""The channel at-rest-silent: bytes in an etcd member's file, changed while the member is stopped.

The latest revision of a key gets another value: no revision is made, mod_revision and version stay as they were, no
watcher is told. Who has read the key before keeps what it read until it reads again: docs/consumed.md. Each file must
be of a member that was stopped in good order (see injector.bbolt.member).

With the files of all members every one gets the new value, and they agree: no check of etcd's can tell. With one file
of several the members differ: that one serves the new value, the others the old one, and etcd's own checks can find it
(HashKV; the feature gates InitialCorruptCheck at its start, CompactHashCheck later).

The undo record (injector.undo) is on disk before the first byte changes. Undo puts the old value back into the very
revision that was changed, which is exact: a later revision, which the fault may have found its way into, is what the
cluster made of it and is left alone (Undone.OVERWRITTEN). The model `drop` is refused as in at-rest-write.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from injector.bbolt import Live, Member, opened
from injector.corrupt import corrupt_for
from injector.errors import FaultError, HarnessError
from injector.finding import REGISTRY, AtRestSurroundings, Census, Stored, check_at_rest, firing_of, key_text
from injector.rules import Firing, Rule
from injector.targets import Channel
from injector.undo import UndoFolder, Undone, UndoRecord
from injector.writers import writer_of

__all__ = ["AtRestSilent"]


class AtRestSilent:
    """Edits in the database files (DATA-DIR/member/snap/db) of one or more stopped members of one etcd cluster. `undo`
    is the folder of the undo records; it is made (0700) if need be.

    Methods raise HarnessError if a file is not there or locked by a running etcd, can't be written, or a record can't
    be written or read; CodecError if a file is not an etcd member's database.
    """

    def __init__(self, files: Sequence[Path], undo: Path) -> None:
        if not files:
            raise ValueError("expected the database file of at least one member")
        self._files, self._records = tuple(files), UndoFolder(undo, Channel.AT_REST_SILENT)

    def inject(self, rule: Rule, *, r0: int | None = None) -> Firing:
        """Find the target, write the undo record, corrupt, and write the new value into every file.

        r0   as injector.at_rest.AtRest.inject has it

        Raises FaultError where no object has the target's identity, or the model does not fit it; HarnessError where
        the files do not agree about the object, before anything is changed.
        """
        check_at_rest(rule, Channel.AT_REST_SILENT)
        with ExitStack() as stack:
            members = [stack.enter_context(opened(file)) for file in self._files]
            live = members[0].live()
            everything = [_stored(each) for key, each in live.items() if key.startswith(REGISTRY)]
            census = Census(everything, r0)
            stored, identified = census.find(rule.target)
            found = live[stored.key]
            _agree(found, members)
            around = AtRestSurroundings(census, lambda: None)
            corruption = corrupt_for(rule, stored.value, around=around)
            if corruption.key is not None:
                raise FaultError(f"{rule.model} needs another key's revision; in this channel a value changes in place")
            self._records.write(
                rule, key=stored.key, mod_revision=stored.mod_revision, value=stored.value, files=self._files
            )
            at_s = time.monotonic()
            for member in members:
                member.replace(found.revision, corruption.after)
        actor = writer_of(stored.value, None)
        done = firing_of(rule, stored, identified, corruption, operation="silent", at_s=at_s, actor=actor)
        return replace(done, accepted=True)

    def pending(self) -> tuple[Path, ...]:
        """Undo records of edits that have not been undone."""
        return self._records.pending()

    def undo(self, record: Path) -> Undone:
        """Put the recorded value back into the revision that was changed, in every file that the record names, and
        remove the record. With several files the first in this order that one of them gives: overwritten, restored,
        unchanged, gone."""
        found = self._records.read(record)
        with ExitStack() as stack:
            members = [stack.enter_context(opened(file)) for file in found.files]
            outcomes = {_put_back(member, found) for member in members}
        record.unlink()
        order = (Undone.OVERWRITTEN, Undone.RESTORED, Undone.UNCHANGED, Undone.GONE)
        return next(outcome for outcome in order if outcome in outcomes)


def _stored(live: Live) -> Stored:
    return Stored(live.kv.key, live.kv.value, live.kv.create_revision, live.kv.mod_revision)


def _agree(found: Live, members: Sequence[Member]) -> None:
    """HarnessError unless every member holds the same at the same revision as its latest."""
    for member in members[1:]:
        if member.live().get(found.kv.key) != found:
            raise HarnessError(
                f"{member.path} does not hold the same of {key_text(found.kv.key)} as {members[0].path}: one of the "
                f"members lags or was changed before; nothing was changed"
            )


def _put_back(member: Member, record: UndoRecord) -> Undone:
    changed = member.at(record.key, record.mod_revision)
    live = member.live().get(record.key)
    if changed is not None and changed.kv.value != record.value:
        member.replace(changed.revision, record.value)
        if live is not None and live.revision == changed.revision:
            return Undone.RESTORED
    elif changed is not None and live is not None and live.revision == changed.revision:
        return Undone.UNCHANGED
    return Undone.GONE if live is None else Undone.OVERWRITTEN
