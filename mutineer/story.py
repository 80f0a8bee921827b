"""The story of one experiment on one screen: what was changed, how far it got, what happened when, why this class."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from campaigns.judging.aftermath import Aftermath
from campaigns.judging.agreement import classes_of
from campaigns.record import ExperimentRecord
from campaigns.redaction import holds_secret
from campaigns.store import Repeat
from classifiers.final_state import Difference, What
from classifiers.golden import Baseline
from classifiers.observation import Observation
from classifiers.over_time import excursions
from classifiers.propagation import Propagation
from classifiers.symptoms import SYMPTOMS
from classifiers.verdict import OrchestratorFailure, State, Symptom, Verdict
from injector.rules import Firing, JSONValue
from mutineer.report.hexdump import Piece, compare
from mutineer.report.sentences import change_of, evidence_of, shown_handled, shown_recovery, shown_sign, what_was_done

__all__ = ["SEVERITY", "story"]

SEVERITY = {
    OrchestratorFailure.OUTAGE: "bold red",
    OrchestratorFailure.STALL: "bold red",
    OrchestratorFailure.NETWORK: "red",
    OrchestratorFailure.MORE_RESOURCES: "yellow",
    OrchestratorFailure.LESS_RESOURCES: "yellow",
    OrchestratorFailure.TIMING: "blue",
    OrchestratorFailure.NONE: "green",
}
"""Style of a class on a terminal; its word always stands beside the colour."""

_TAKEN = 5
"""Objects that took a wrong value over and are shown; a runaway controller makes hundreds."""
_LONGEST = 40
"""Characters of a field's value that are shown. Arbitrary: a line."""
_EXCURSIONS = 3
"""Kinds of which there were more or fewer for a while that are shown."""
_HEX_LINES = 4
_WRITES = 4
"""Lines of bytes and writes of the target that are shown; the report has them all. Arbitrary: a screen of 40 lines."""


def story(
    record: ExperimentRecord,
    baseline: Baseline,
    failed: Sequence[str] = (),
    again: Sequence[Repeat] = (),
    after: Aftermath | None = None,
) -> RenderableType:
    """Everything that fits a screen. `baseline` tells what golden runs did at each point; `failed`: what earlier
    attempts at it died of; `again`: the times that it was done once more; `after`: what became of the fault."""
    observation = record.observation
    parts: list[RenderableType] = [_headline(record), *_what(record)]
    if observation is not None:
        parts += [_heading("When"), _timeline(observation, baseline)]
    if record.error:
        parts += [_heading("Error of the harness"), _indented(Text("\n".join(record.error.splitlines()[-8:])))]
    parts += [_heading("Why"), *(_indented(Text(reason)) for reason in record.verdict.reasons)]
    if observation is not None and (found := record.verdict.orchestrator) is not None and not record.planned.golden:
        others = _neighbours(found, SYMPTOMS.ruled_out(observation, baseline))
        parts += [_indented(Text(f"not {each.orchestrator.value}: {each.why}", style="dim")) for each in others]
    if after is not None and after.went is not None:
        parts += [_heading("How far"), *(_indented(Text(words)) for words in _went_on(after.went))]
    if after is not None and after.ended:
        parts += [_heading("What ended otherwise"), *(_indented(Text(words)) for words in _ended(after.ended))]
    if record.verdict.detected:
        told_by = (_indented(Text(shown_sign(each))) for each in record.verdict.detected)
        parts += [_heading("Kubernetes told"), *told_by]
    if observation is not None and observation.handled:
        parts += [_heading("Its object"), *(_indented(Text(shown_handled(each))) for each in observation.handled)]
    if (came_back := record.verdict.recovery) is not None:
        parts += [_heading("Recovery"), _indented(Text(shown_recovery(came_back)))]
    if observation is not None and (unseen := (*observation.blind, *observation.missing)):
        parts += [_heading("Not seen"), *(_indented(Text(words)) for words in unseen)]
    if record.incidents:
        parts += [
            _heading("Looks like"),
            *(_indented(Text(f"{i.score:.2f} {i.id}: {i.why}")) for i in record.incidents),
        ]
    if record.reset:
        proof = f" ({record.reset.proof})" if record.reset.proof else ""
        parts.append(Text(f"Reset by {record.reset.rung} in {record.reset.seconds:.1f} s{proof}", style="dim"))
    if again:
        told = ", ".join(f"{each.purpose} {each.number} {classes_of(each.record)}" for each in again)
        parts.append(Text(f"Done again: {told}", style="dim"))
    for error in failed:
        first = error.partition("\n")[0]
        parts.append(Text(f"Tried before, and the harness failed: {first}", style="dim"))
    return Group(*parts)


def _neighbours(found: OrchestratorFailure, ruled_out: Sequence[Symptom]) -> Iterator[Symptom]:
    """The next graver class that did not hold, and the next milder one."""
    order = list(OrchestratorFailure)
    graver = [each for each in ruled_out if order.index(each.orchestrator) < order.index(found)]
    milder = [each for each in ruled_out if order.index(each.orchestrator) > order.index(found)]
    yield from (*graver[-1:], *milder[:1])


def _ended(found: Sequence[Difference]) -> Iterator[str]:
    """A line for each kind of object and way to differ, with the first of them."""
    groups: dict[tuple[str, What, str], list[Difference]] = {}
    for each in found:
        groups.setdefault((each.identity.partition("/")[0], each.what, each.field), []).append(each)
    for (kind, *_), alike in list(groups.items())[:_TAKEN]:
        yield f"{_differs(alike[0])}{_placed(alike[0])}{_others(kind, len(alike) - 1)}"
    if len(groups) > _TAKEN:
        yield f"… and {sum(map(len, list(groups.values())[_TAKEN:]))} objects more"


def _differs(each: Difference) -> str:
    if each.what is What.OTHERWISE:
        more = f" and {each.more} fields more" if each.more else ""
        return f"{each.identity}: {each.field} {_value(each.value)}, golden {_value(each.golden)}{more}"
    return f"{each.identity} {_ENDED[each.what]}"


_ENDED = {
    What.MADE: "is there, in golden runs never",
    What.GONE: "is not there, in golden runs always",
    What.UNREADABLE: "can't be decoded",
}


def _value(value: JSONValue) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _placed(each: Difference) -> str:
    when = [f"since {each.at_s:.1f} s"] if each.at_s is not None else []
    by = [f"by {each.by}"] if each.by else []
    away = [f"{each.steps} step{'s' if each.steps != 1 else ''} away"] if each.steps else []
    said = ", ".join((*when, *by, *away))
    return f" ({said})" if said else ""


def _others(kind: str, count: int) -> str:
    return f"; {count} {kind} more" if count else ""


def _went_on(found: Propagation) -> Iterator[str]:
    if not found.taken:
        yield "nobody took the wrong value over"
    for each in found.taken[:_TAKEN]:
        away = f", {each.steps} step{'s' if each.steps != 1 else ''} away" if each.steps is not None else ""
        yield f"{each.at_s:.1f} s  into {each.field} of {each.identity}{f' by {each.by}' if each.by else ''}{away}"
    if len(found.taken) > _TAKEN:
        yield f"… and {len(found.taken) - _TAKEN} objects more"
    if (healed := found.healed) is None:
        yield "it stood to the end"
    else:
        how = "its object was deleted" if healed.gone else "it was put right"
        who = f" by {healed.by}" if healed.by else ""
        yield f"{healed.at_s:.1f} s  {how}{who}, {healed.after_s:.1f} s after the fault"


def _headline(record: ExperimentRecord) -> Text:
    planned, verdict = record.planned, record.verdict
    line = Text.assemble((planned.id, "bold cyan"), f"  {planned.workload}  {record.seconds:.1f} s  ")
    return line.append_text(_classes(verdict))


def _classes(verdict: Verdict) -> Text:
    if verdict.orchestrator is None or verdict.state is not State.JUDGED:
        line = Text(verdict.state.value, style="magenta")
    else:
        line = Text(verdict.orchestrator.value, style=SEVERITY[verdict.orchestrator])
        if verdict.also:
            line.append(f" (also {', '.join(c.value for c in verdict.also)})", style="default")
        line.append(f", clients {verdict.client.value if verdict.client else '-'}", style="default")
    if verdict.activation:
        line.append(f", {verdict.activation.value}", style="default")
    if verdict.aware is not None:
        when = "" if verdict.aware_s is None else f" after {verdict.aware_s:.1f} s"
        line.append(f", the user was told{when}" if verdict.aware else ", the user was not told", style="default")
    return line


def _what(record: ExperimentRecord) -> Iterator[RenderableType]:
    rule, observation = record.planned.rule, record.observation
    if rule is None:
        yield Text("A golden run: no fault.")
        return
    firing = observation.firings[0] if observation and observation.firings else None
    yield Text(record.planned.why, style="italic")
    yield _heading("What")
    yield _indented(Text(f"{what_was_done(rule, firing)}."))
    if firing is not None:
        change = change_of(firing)
        if change is not None:
            path = f"{firing.field}: " if firing.field is not None else ""
            yield _indented(Text(f"field    {path}{change[0]} → {change[1]}"))
        yield _indented(Text(f"key      {firing.key}" + (f" at revision {firing.revision}" if firing.revision else "")))
        for name, words in evidence_of(firing):
            yield _indented(Text(f"{name:9}{words}"))
        if firing.note:
            yield _indented(Text(f"note     {firing.note}"))
        yield from _bytes(firing)


def _bytes(firing: Firing) -> Iterator[RenderableType]:
    found = compare(firing.before, firing.after, span=firing.span, redacted=holds_secret(firing))
    if not firing.after:
        yield _indented(Text(f"bytes    {found.before_bytes} bytes held back"))
        return
    same = firing.before == firing.after
    sizes = f"{found.before_bytes}, unchanged" if same else f"{found.before_bytes} before, {found.after_bytes} after"
    yield _indented(Text(f"bytes    {sizes}"))
    for line in found.lines[:_HEX_LINES]:
        yield _indented(Text.assemble((f"{line.offset} - ", "dim"), _marked(line.before)))
        if line.before != line.after:
            yield _indented(Text.assemble((f"{line.offset} + ", "dim"), _marked(line.after)))


def _marked(pieces: tuple[Piece, ...]) -> Text:
    line = Text()
    for piece in pieces:
        line.append(f"{piece.hex} ", style="reverse" if piece.changed else "")
    line.pad_right(max(0, 48 - len(line)))
    for piece in pieces:
        line.append(piece.text, style="reverse" if piece.changed else "dim")
    return line


def _timeline(observation: Observation, baseline: Baseline) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    dated = sorted(_events(observation, baseline), key=lambda e: (e[0] is None, e[0] or 0.0))
    for at_s, words in dated:
        table.add_row(Text("never" if at_s is None else f"{at_s:.1f} s"), Text(words))
    return table


def _events(observation: Observation, baseline: Baseline) -> Iterator[tuple[float | None, str]]:
    for name, at_s in observation.milestones.items():
        golden = baseline.milestones.get(name)
        yield at_s, f"{name}" + (f" (golden {golden.describe('s')})" if golden else "")
    alike: dict[tuple[str, str], list[Firing]] = {}
    for firing in observation.firings:
        alike.setdefault((firing.operation, firing.identity), []).append(firing)
    for firing, *more in alike.values():
        if 0 <= firing.at_s <= observation.seconds:
            yield firing.at_s, f"the fault: {firing.operation} of {firing.identity}"
        if more and more[-1].at_s <= observation.seconds:
            yield (
                more[-1].at_s,
                f"the fault again, {len(more) + 1} times in all: {firing.operation} of {firing.identity}",
            )
        later = [w for w in observation.writes if w.key == firing.key and w.revision > (firing.revision or 0)]
        later = [w for w in later if w.at_s >= firing.at_s]
        for write in later[:_WRITES]:
            unreadable = "" if write.decodable else ", can't be decoded"
            yield write.at_s, f"{write.operation} of {write.identity} (revision {write.revision}{unreadable})"
        if len(later) > _WRITES:
            yield later[_WRITES].at_s, f"… {len(later) - _WRITES} more writes of {firing.identity}"
    for each in excursions(observation, baseline.over_time)[:_EXCURSIONS] if baseline.runs else ():
        yield float(each.from_s), each.describe()
    for component in observation.components:
        if not component.alive or component.ready is False:
            state = "dead" if not component.alive else "not ready"
            yield observation.seconds, f"{component.name} is {state} at the end {component.detail}".rstrip()
    yield from _canary(observation, baseline)


def _canary(observation: Observation, baseline: Baseline) -> Iterator[tuple[float | None, str]]:
    """The last stage that the canary reached, and the first that it did not."""
    canary = observation.canary
    reached = [(stage, at) for stage, at in canary.stages.items() if at is not None]
    missing = [stage for stage, at in canary.stages.items() if at is None]
    if reached:
        stage, after_s = reached[-1]
        golden = baseline.canary.get(stage)
        usual = f" (golden {golden.describe('s')})" if golden else ""
        yield observation.seconds, f"the canary got to {stage} in {after_s:.1f} s{usual}"
    if missing:
        told = f": {canary.error}" if canary.error else ""
        yield None, f"the canary's {missing[0]} within {canary.deadline_s:.0f} s{told}"


def _heading(words: str) -> Text:
    return Text(words, style="bold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2))
