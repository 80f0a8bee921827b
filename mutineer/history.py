"""The history of one experiment: every write that etcd took, and what it changed, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.text import Text

from campaigns.judging.aftermath import fields_of
from campaigns.redaction import is_secret
from classifiers.observation import Observation, Write
from classifiers.trace import Trace, Value
from injector.errors import StoreError
from injector.rules import JSONValue

__all__ = ["Step", "history", "history_document", "steps"]

_UNSHOWN = ("metadata.managedFields", "metadata.resourceVersion", "metadata.generation")
"""What nearly every write changes, and nobody asks for."""
_MOST = 6
"""Changed fields of a write that are shown. Arbitrary: a few lines."""
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One write. `changed`: path → before and after, None where it was or is not there; None for a write whose values
    are not known."""

    write: Write
    changed: dict[str, tuple[JSONValue, JSONValue]] | None


def steps(observation: Observation, trace: Trace | None) -> Iterator[Step]:
    """Of each write what it changed, as far as the trace has the values. StoreError if the trace is of another one."""
    if trace is None:
        yield from (Step(write, None) for write in observation.writes)
        return
    told = [(step.revision, step.key) for step in trace.steps]
    if told != [(write.revision, write.key) for write in observation.writes[: len(told)]]:
        raise StoreError(f"the trace has other writes ({len(told)}) than the observation ({len(observation.writes)})")
    now: dict[str, Value] = dict(trace.before)
    for write, step in zip_longest(observation.writes, trace.steps):
        if step is None:  # older runs' observations may have one more: it came while they were put together
            yield Step(write, None)
            continue
        before, after = now.get(step.key), step.value
        secret = is_secret(step.key, *(value for value in (before, after) if isinstance(value, bytes)))
        yield Step(write, None if secret else _changed(before, after))
        now[step.key] = after


def _changed(before: Value, after: Value) -> dict[str, tuple[JSONValue, JSONValue]] | None:
    then, now = _fields(before), _fields(after)
    if then is None or now is None:
        return None
    paths = dict.fromkeys((*then, *now))
    return {
        path: (then.get(path), now.get(path))
        for path in paths
        if then.get(path) != now.get(path) and not path.startswith(_UNSHOWN)
    }


def _fields(value: Value) -> dict[str, JSONValue] | None:
    """None: not known, or not readable."""
    if value is None:
        return {}
    return fields_of(value) if isinstance(value, bytes) else None


def history(observation: Observation, trace: Trace | None) -> RenderableType:
    """A line for each write, and one below it for each field that it changed."""
    lines = []
    for step in steps(observation, trace):
        write = step.write
        size = f"  {write.size_bytes:,} bytes" if write.size_bytes else ""
        unreadable = "" if write.decodable else ", can't be decoded"
        lines.append(
            Text.assemble(
                (f"{write.at_s:7.2f} s  {write.revision}  {write.operation:6} ", "dim"),
                (write.identity, "bold"),
                (f"{size}{unreadable}", "dim"),
            )
        )
        lines += [Text(f"{'':11}{words}") for words in _changes(step)]
    return Group(*lines)


def _changes(step: Step) -> list[str]:
    if step.write.operation != "update" or step.changed is None:
        return []
    shown = [f"{path}: {_short(was)} → {_short(now)}" for path, (was, now) in list(step.changed.items())[:_MOST]]
    more = len(step.changed) - len(shown)
    return [*shown, *([f"… {more} more"] if more else [])]


def _short(value: JSONValue) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def history_document(observation: Observation, trace: Trace | None) -> list[JSONValue]:
    """As JSON: {"at_s", "revision", "operation", "key", "identity", "changed": {path: [before, after]} or null}."""
    return [
        {
            "at_s": step.write.at_s,
            "revision": step.write.revision,
            "operation": step.write.operation,
            "key": step.write.key,
            "identity": step.write.identity,
            "changed": None if step.changed is None else {path: [*both] for path, both in step.changed.items()},
        }
        for step in steps(observation, trace)
    ]
