"""What the report shows, as plain values: built from records and the run's metadata, rendered by templates.

Everything is decided here (words, order, shares, what is redacted); the template only lays it out. Nothing is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from campaigns.judging.shares import DIMENSIONS, PAPER, Base, Group, caveats, in_words, rows
from campaigns.record import ExperimentRecord, Reset
from campaigns.redaction import holds_secret
from classifiers.observation import CanaryRecord, Observation
from classifiers.verdict import Activation, OrchestratorFailure, State, Verdict
from failure_db.catalogue import Incident
from injector.rules import Firing, Rule
from mutineer.report.figures import (
    CLUSTER_WIDE,
    PROVISIONING,
    CrossTable,
    GoldenTable,
    Share,
    cross_table,
    golden_medians,
    golden_tables,
    outcome_of,
    role_label,
    wilson,
)
from mutineer.report.hexdump import Comparison, compare
from mutineer.report.sentences import (
    change_of,
    evidence_of,
    fate_of,
    shown_handled,
    shown_parameters,
    shown_recovery,
    shown_sign,
    target_name,
    what_was_done,
)
from mutineer.report.timeline import Timeline, draw

__all__ = [
    "Card",
    "Deviation",
    "ExperimentView",
    "FiringView",
    "IncidentView",
    "Portion",
    "RunMetadata",
    "RunReport",
    "ShareTable",
    "build_report",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One setting of the cluster that is not kubeadm's; texts may be empty."""

    component: str
    setting: str
    ours: str = ""
    kubeadm: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetadata:
    """What is known of the run as a whole.

    name        of the run (runs/NAME);  spec: the campaign's name
    planned     experiments with a fault in the plan, done or not
    started     ISO 8601 with zone, or "" where it is not known; so is `ended`
    versions    component → version (mutineer, kubernetes, etcd, …)
    host        fact → value (cores, memory, kernel, …)
    deviations  from kubeadm's defaults
    assets      component → where its binary came from
    sampled     True if the plan is a random sample of a population; False if its experiments were chosen
    """

    name: str
    spec: str
    seed: int | None
    planned: int
    started: str = ""
    ended: str = ""
    versions: Mapping[str, str]
    host: Mapping[str, str]
    deviations: tuple[Deviation, ...] = ()
    assets: Mapping[str, str]
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """One figure of the summary: big number, what it counts, the denominator in words."""

    number: str
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Portion:
    """One bar of a chart: `share` is drawn, `share` in words stands beside it."""

    name: str
    share: Share


@dataclass(frozen=True, slots=True)
class IncidentView:
    """A matched incident; title and url are None where the catalogue no longer has it."""

    id: str
    score: float
    why: str
    title: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class FiringView:
    """What one firing did. `change` is the field's value before and after."""

    key: str
    operation: str
    fate: str
    change: tuple[str, str] | None
    bytes: Comparison
    dropped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentView:
    """One experiment with a fault. `notes` are (topic, texts) of whatever else a reader must know."""

    id: str
    workload: str
    sentence: str
    why: str
    kind: str
    target: str
    field: str | None
    role: str
    model: str
    channel: str
    parameters: Mapping[str, str]
    activation: str
    state: str
    outcome: str
    also: tuple[str, ...]
    client: str | None
    aware: str
    reasons: tuple[str, ...]
    incidents: tuple[IncidentView, ...]
    reset: Reset | None
    seconds: float
    sandbox: str
    error: str | None
    firings: tuple[FiringView, ...]
    timeline: Timeline | None
    canary: CanaryRecord | None
    notes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class ShareTable:
    """Shares estimated for the population that a sample was drawn from. `rows` are (label, experiments, faults that
    they stand for, one share a column, in words); `paper`: its shares, a column each; `caveats`: what it can't tell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, str, tuple[str, ...]], ...]
    paper: tuple[str, ...]
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The whole report. `shares` is None where the plan is no sample, or none fired."""

    meta: RunMetadata
    headline: str
    cards: tuple[Card, ...]
    funnel: tuple[Portion, ...]
    outcomes: tuple[Portion, ...]
    tables: tuple[CrossTable, ...]
    shares: ShareTable | None
    experiments: tuple[ExperimentView, ...]
    golden: tuple[GoldenTable, ...]
    limits: tuple[str, ...]


def build_report(
    meta: RunMetadata,
    records: Sequence[ExperimentRecord],
    incidents: Mapping[str, Incident],
    *,
    populations: Mapping[str, int] | None = None,
    whole: Callable[[ExperimentRecord], ExperimentRecord] = lambda record: record,
) -> RunReport:
    """`records` in the order in which they are to be shown; `incidents` by id, for titles and sources; `populations`:
    stratum → how many faults it has, if the plan is a sample. Where records come with nothing of their observations but
    the firings, `whole` gives one with all of it: it is asked for one after the other."""
    golden = [record for record in records if record.planned.golden]
    faults = [record for record in records if not record.planned.golden]
    tables = golden_tables(map(whole, golden))
    medians = golden_medians(tables)
    return RunReport(
        meta=meta,
        headline=_headline(meta, faults),
        cards=_cards(meta, faults),
        funnel=_funnel(meta, faults),
        outcomes=_outcomes(faults),
        tables=_tables(faults),
        shares=_shares(faults, populations or {}),
        experiments=tuple(
            _experiment(whole(record), record.planned.rule, medians.get(record.planned.workload, {}), incidents)
            for record in faults
            if record.planned.rule is not None
        ),
        golden=tables,
        limits=_limits(meta, golden, faults),
    )


def _fired(faults: Sequence[ExperimentRecord]) -> list[ExperimentRecord]:
    return [r for r in faults if r.verdict.activation not in (None, Activation.NOT_FIRED)]


def _judged(faults: Sequence[ExperimentRecord]) -> list[ExperimentRecord]:
    """Judged and fired: the denominator of every failure rate, as a fault that never fired proves nothing."""
    return [r for r in _fired(faults) if r.verdict.state is State.JUDGED]


def _count(records: Sequence[ExperimentRecord], failures: Sequence[OrchestratorFailure]) -> int:
    return sum(record.verdict.orchestrator in failures for record in records)


def _headline(meta: RunMetadata, faults: Sequence[ExperimentRecord]) -> str:
    fired, judged = _fired(faults), _judged(faults)
    if not judged:
        return f"None of {meta.planned} planned faults fired and could be judged: this run says nothing yet."
    broke = len(judged) - _count(judged, [OrchestratorFailure.NONE])
    parts = [
        f"{count} {words}"
        for count, words in (
            (_count(judged, CLUSTER_WIDE), "cluster-wide"),
            (_count(judged, [OrchestratorFailure.NETWORK]), "in the service network"),
            (_count(judged, PROVISIONING), "in over- or under-provisioning"),
            (_count(judged, [OrchestratorFailure.TIMING]), "only in timing"),
        )
        if count
    ]
    listed = f": {', '.join(parts)}" if parts else ""
    return (
        f"{len(fired)} of {meta.planned} planned faults fired; {broke} of the {len(judged)} that fired and could be "
        f"judged broke something{listed}."
    )


def _cards(meta: RunMetadata, faults: Sequence[ExperimentRecord]) -> tuple[Card, ...]:
    states = Counter(record.verdict.state for record in faults)
    fired, judged = _fired(faults), _judged(faults)
    rest = f"{states[State.INCONCLUSIVE]} inconclusive, {states[State.ERROR]} harness errors"
    failing = [r for r in judged if r.verdict.orchestrator is not OrchestratorFailure.NONE]
    asked = [r for r in failing if r.verdict.aware is not None]
    rates = (
        ("cluster-wide failures", _count(judged, CLUSTER_WIDE)),
        ("service network failures", _count(judged, [OrchestratorFailure.NETWORK])),
        ("over- or under-provisioning", _count(judged, PROVISIONING)),
    )
    return (
        Card(str(len(faults)), "experiments done", str(Share(len(faults), meta.planned, "planned"))),
        Card(str(states[State.JUDGED]), "judged", f"{Share(states[State.JUDGED], len(faults), 'done')}; {rest}"),
        Card(str(len(fired)), "fired", str(Share(len(fired), len(faults), "done"))),
        *(Card(str(count), name, str(Share(count, len(judged), "fired and judged"))) for name, count in rates),
        Card(
            str(sum(r.verdict.aware is True for r in asked)),
            "failures the user was told of",
            str(Share(sum(r.verdict.aware is True for r in asked), len(asked), "failures where a user asked")),
        ),
    )


def _funnel(meta: RunMetadata, faults: Sequence[ExperimentRecord]) -> tuple[Portion, ...]:
    steps = [step for step in Activation if step is not Activation.NOT_FIRED]
    reached = [steps.index(r.verdict.activation) for r in faults if r.verdict.activation in steps]
    rungs = [("done", len(faults)), *((s.value, sum(at >= i for at in reached)) for i, s in enumerate(steps))]
    return tuple(Portion(name, Share(count, meta.planned, "planned")) for name, count in rungs)


def _outcomes(faults: Sequence[ExperimentRecord]) -> tuple[Portion, ...]:
    judged = _judged(faults)
    return tuple(
        Portion(failure.value, Share(_count(judged, [failure]), len(judged), "fired and judged"))
        for failure in OrchestratorFailure
    )


def _tables(faults: Sequence[ExperimentRecord]) -> tuple[CrossTable, ...]:
    fired = _fired(faults)
    if not fired:
        return ()
    return (
        cross_table(fired, caption="By fault model (fired)", row_name="fault model", label=_model),
        cross_table(fired, caption="By role of the field (fired)", row_name="role", label=role_label),
    )


def _shares(faults: Sequence[ExperimentRecord], populations: Mapping[str, int]) -> ShareTable | None:
    found = rows(faults, populations, DIMENSIONS["role"], Base.FIRED) if populations else ()
    if not found:
        return None
    return ShareTable(
        columns=tuple(Group),
        rows=tuple(
            (row.name, row.experiments, f"{row.population:,.0f}", tuple(in_words(row.shares[g]) for g in Group))
            for row in found
        ),
        paper=tuple(f"{PAPER[group] * 100:.0f} %" if group in PAPER else "" for group in Group),
        caveats=tuple(caveats(faults, populations, Base.FIRED)),
    )


def _model(record: ExperimentRecord) -> str:
    return record.planned.rule.model if record.planned.rule else ""


def _experiment(
    record: ExperimentRecord, rule: Rule, golden: Mapping[str, float], incidents: Mapping[str, Incident]
) -> ExperimentView:
    seen, verdict, target = record.observation, record.verdict, rule.target
    firings = seen.firings if seen else ()
    aware = {True: "yes", False: "no", None: "nobody asked"}[verdict.aware]
    return ExperimentView(
        id=record.planned.id,
        workload=record.planned.workload,
        sentence=what_was_done(rule, firings[0] if firings else None),
        why=record.planned.why,
        kind=target.kind,
        target=target_name(target),
        field=target.field or next((f.field for f in firings if f.field), None),
        role=role_label(record),
        model=rule.model,
        channel=rule.channel.value,
        parameters=shown_parameters(rule),
        activation=verdict.activation.value if verdict.activation else "unknown",
        state=verdict.state.value,
        outcome=outcome_of(record),
        also=tuple(failure.value for failure in verdict.also),
        client=verdict.client.value if verdict.client else None,
        aware=aware,
        reasons=verdict.reasons,
        incidents=tuple(_incident(m.id, m.score, m.why, incidents.get(m.id)) for m in record.incidents),
        reset=record.reset,
        seconds=record.seconds,
        sandbox=record.sandbox,
        error=record.error,
        firings=tuple(_firing(firing) for firing in firings),
        timeline=draw(seen, golden) if seen else None,
        canary=seen.canary if seen else None,
        notes=_notes(seen, verdict) if seen else (),
    )


def _incident(name: str, score: float, why: str, incident: Incident | None) -> IncidentView:
    return IncidentView(name, score, why, incident.title if incident else None, incident.url if incident else None)


def _firing(firing: Firing) -> FiringView:
    return FiringView(
        key=firing.key,
        operation=firing.operation,
        fate="; ".join(filter(None, (fate_of(firing), *_evidence(firing), firing.note))),
        change=change_of(firing),
        bytes=compare(firing.before, firing.after, span=firing.span, redacted=holds_secret(firing)),
        dropped=not firing.after,
    )


def _evidence(firing: Firing) -> list[str]:
    said = {"where": "on {}", "by": "written by {}", "read": "read by {}"}
    return [said[topic].format(words) for topic, words in evidence_of(firing)]


def _notes(seen: Observation, verdict: Verdict) -> tuple[tuple[str, tuple[str, ...]], ...]:
    unhealthy = tuple(
        f"{c.name}: {'alive' if c.alive else 'not running at the end'}, restarts: {c.restarts}"
        + (", not ready at the end" if c.ready is False else "")
        + (f" ({c.detail})" if c.detail else "")
        for c in seen.components
        if c.restarts or not c.alive or c.ready is False
    )
    misses = tuple(f"{miss.identity}: {miss.why} ({miss.times} times)" for miss in seen.near_misses)
    counts = tuple(
        f"{kind}: {count} at the end, {seen.peak_counts.get(kind, count)} at most"
        for kind, count in sorted(seen.final_counts.items())
    )
    topics = (
        ("What the API told the user", seen.user_errors),
        ("What Kubernetes itself told", tuple(map(shown_sign, verdict.detected))),
        ("Components that were not well", unhealthy),
        ("Objects of the workload", counts),
        ("Objects that could not be decoded", seen.undecodable),
        ("Objects that were stored as another one", seen.renamed),
        ("Recovery", (shown_recovery(verdict.recovery),) if verdict.recovery else ()),
        ("What could still be done with what was hit, at the end", tuple(map(shown_handled, seen.handled))),
        ("Caps of the host guard that were hit", seen.caps),
        ("What could not be seen", (*seen.blind, *seen.missing)),
        ("Messages that almost matched", misses),
    )
    return tuple((topic, texts) for topic, texts in topics if texts)


def _limits(
    meta: RunMetadata, golden: Sequence[ExperimentRecord], faults: Sequence[ExperimentRecord]
) -> tuple[str, ...]:
    judged = _judged(faults)
    said = []
    if meta.sampled:
        said.append(
            "The plan is a random sample. Only the estimates, which have intervals, have the strata's weights: all "
            "other shares are plain counts."
        )
    else:
        said.append(
            "The experiments were chosen because they differ, not drawn at random: the percentages describe this list "
            "of faults and are no estimate of how often faults in general end so."
        )
    if judged:
        said += _small_numbers(judged)
    missing, unfired = meta.planned - len(faults), len(faults) - len(_fired(faults))
    if missing > 0:
        said.append(f"{missing} of {meta.planned} planned experiments have no record yet; nothing is known about them.")
    if unfired:
        said.append(
            f"{unfired} of {len(faults)} faults are not known to have fired. Such a fault is neither passed nor failed."
        )
    undecided = sum(record.verdict.state is not State.JUDGED for record in faults)
    if undecided:
        said.append(f"{undecided} of {len(faults)} could not be judged and are in no rate; unknown is not “none”.")
    said.append(_about_golden(golden))
    if meta.deviations:
        said.append(
            "Timers or settings differ from kubeadm's defaults (listed under “The run”): slow recoveries may look "
            "faster here, and defences that need time may act earlier or not at all."
        )
    said.append(
        "Every experiment ran once, on one machine, with a limited time to settle: what would break or heal later, "
        "and how often the same fault ends otherwise, was not looked at."
    )
    said.append("A matched incident is a likeness in field, kind and outcome. It is not the proof of a common cause.")
    return tuple(said)


def _small_numbers(judged: Sequence[ExperimentRecord]) -> list[str]:
    count, of = _count(judged, CLUSTER_WIDE), len(judged)
    low, high = wilson(count, of)
    said = [
        f"n = {of} is small: even as a random sample, {count} cluster-wide failures in {of} would be compatible with "
        f"rates from {100 * low:.0f} % to {100 * high:.0f} % (95 % interval)."
    ]
    absent = [failure.value for failure in OrchestratorFailure if not _count(judged, [failure])]
    if absent:
        never = 100 * wilson(0, of)[1]
        said.append(
            f"No experiment ended in {', '.join(absent)}. That is not “can't happen”: with n = {of}, what happens in "
            f"up to {never:.0f} % of the cases can stay unseen."
        )
    return said


def _about_golden(golden: Sequence[ExperimentRecord]) -> str:
    if not golden:
        return "There are no golden runs in this record: nothing says how this cluster behaves without a fault."
    noisy = sum(outcome_of(record) != OrchestratorFailure.NONE.value for record in golden)
    text = (
        f"“Slower” and “late” are measured against {len(golden)} golden runs. Noise in more than "
        f"{wilson(noisy, len(golden))[1]:.0%} of runs would have shown in them (95 % sure); rarer noise is not known."
    )
    return f"{text} {noisy} of them did not look quiet, so treat timing classes with care." if noisy else text
