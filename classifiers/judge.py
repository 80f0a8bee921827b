"""The judge: from an observation and a baseline to a verdict, with its reasons.

Three states. What can't be judged is *inconclusive* with all its reasons, never `none`; *error* is the harness's own
failure and is made by the runner, where this function or anything before it raised.

Being blind can hide a symptom but never make one up, so an outage that is proven by dead components stands even where
observers could not see: nothing graver could be hidden. (A dead kube-apiserver blinds most observers; that is
the finding.)

A cap of the host guard (pods per node, processes, memory) can itself break things, so what was seen with one is not
believed and the experiment inconclusive, with one exception: more-resources. A cap can only make objects fewer, so more
of them than in any golden run are proven all the same, and that is mostly why the cap was hit. What else held then
(a canary that found no room, say) is told in words as the cap's possible doing; a cap is never called an outage.
"""

from __future__ import annotations

from collections.abc import Sequence

from classifiers import numbers
from classifiers.activation import activation
from classifiers.awareness import aware, aware_s, signs
from classifiers.client import ClientView, client_views, worst
from classifiers.components import SERVERS, broken, of_the_control_plane
from classifiers.detection import detected
from classifiers.golden import Baseline, ready_pods
from classifiers.observation import Observation, ProbeKind
from classifiers.recovery import recovery
from classifiers.symptoms import SYMPTOMS, Registry
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Symptom, Verdict
from classifiers.windows import Phase, Traffic, error_rate, failures, hit_s

__all__ = ["doubts", "judge", "judge_goldens"]


def judge(
    observation: Observation,
    baseline: Baseline,
    *,
    golden: bool = False,
    doubt: str = "",
    symptoms: Registry = SYMPTOMS,
) -> Verdict:
    """Judges one experiment. For a golden run (`golden=True`) the baseline must not contain that run (judge_goldens).
    `doubt`: why nothing can be concluded from it, which only other runs tell, in words. ValueError if the baseline is
    of another workload."""
    if observation.workload != baseline.workload:
        raise ValueError(f"workload {observation.workload!r} against the baseline of {baseline.workload!r}")
    reasons = doubts(observation, baseline, golden=golden)
    if doubt:
        reasons = (*reasons, doubt)
    if not baseline.enough:
        return _inconclusive(observation, None, (*reasons, *_caps(observation)), golden=golden)
    held, doubted = _believed(observation, symptoms.symptoms(observation, baseline))
    views = client_views(observation, baseline)
    client = worst(views)
    if observation.caps and not held:
        reasons = (*reasons, *_caps(observation))
    if _only_slow(held, client):
        reasons = (*reasons, *_behind_before(observation, baseline))
    if reasons:
        return _inconclusive(observation, baseline, (*reasons, *_seen_anyway((*held, *doubted))), golden=golden)
    classes = list(dict.fromkeys(s.orchestrator for s in held)) or [OrchestratorFailure.NONE]
    reached, proof = (None, "") if golden else activation(observation, baseline, symptoms=held, client=client)
    return Verdict(
        state=State.JUDGED,
        reasons=(
            *(f"{s.orchestrator.value}: {s.why}" for s in held),
            *(() if held else (_nothing_wrong(observation, baseline),)),
            *_caps(observation),
            *(f"not counted, as the cap may have done it: {s.orchestrator.value}: {s.why}" for s in doubted),
            *_client_reasons(views, client),
            *((f"activation {reached.value}: {proof}",) if reached else ()),
            *_aware_reasons(observation, baseline),
        ),
        orchestrator=classes[0],
        also=tuple(classes[1:]),
        client=client,
        activation=reached,
        aware=None if golden else aware(observation, baseline),
        aware_s=None if golden else aware_s(observation, baseline),
        detected=() if golden else detected(observation, baseline),
        recovery=recovery(observation, baseline, symptoms=symptoms),
    )


def judge_goldens(
    workload: str, observations: Sequence[Observation], *, symptoms: Registry = SYMPTOMS
) -> tuple[Verdict, ...]:
    """Each golden run judged against the others (leave one out), in their order. Every verdict that is judged and not
    none/none is a false alarm. One that had an unclean start is no measure for the others. ValueError as for
    Baseline.from_observations."""
    return tuple(
        judge(
            run,
            Baseline.from_observations(
                workload, [other for j, other in enumerate(observations) if j != i and not other.unclean]
            ),
            golden=True,
            symptoms=symptoms,
        )
        for i, run in enumerate(observations)
    )


def doubts(observation: Observation, baseline: Baseline, *, golden: bool) -> tuple[str, ...]:
    """Every reason but the host guard's caps why this experiment can't be judged, in words; empty if it can."""
    reasons: list[str] = []
    if golden and observation.firings:
        reasons.append("a fault fired in a golden run")
    if not golden and not observation.firings:
        reasons.append(f"not fired: {activation(observation, None)[1]}")
    if baseline.shortfall:
        reasons.append(baseline.shortfall)
    reasons += [f"unclean start: {words}" for words in observation.unclean]
    if not broken(observation, baseline, SERVERS):
        reasons += _blind(observation, baseline)
        reasons += _little_traffic(observation, baseline)
        reasons += _failing_before(observation, baseline)
    return tuple(reasons)


def _believed(observation: Observation, held: tuple[Symptom, ...]) -> tuple[tuple[Symptom, ...], tuple[Symptom, ...]]:
    """What held, and what held but may be the doing of a cap that was hit."""
    if not observation.caps:
        return held, ()
    proven = tuple(s for s in held if s.orchestrator is OrchestratorFailure.MORE_RESOURCES)
    return proven, tuple(s for s in held if s not in proven)


def _caps(observation: Observation) -> tuple[str, ...]:
    return tuple(f"host guard: {cap} (a cap of ours, no failure of the cluster)" for cap in observation.caps)


def _blind(observation: Observation, baseline: Baseline) -> list[str]:
    reasons = [f"blind: {words}" for words in observation.blind]
    for series in observation.probes:
        if series.blind is not None:
            reasons.append(f"blind: probe of {series.path} from {series.vantage}: {series.blind}")
    probed = {(series.path, series.vantage) for series in observation.probes}
    for path, vantage in baseline.clients:
        if (path, vantage) not in probed:
            reasons.append(f"blind: {path} was not probed from {vantage}, though golden runs were")
    looked_at = {component.name for component in observation.components}
    for name in sorted(of_the_control_plane(baseline.components) - looked_at):
        reasons.append(f"blind: {name} was not looked at, though in golden runs it was")
    if baseline.canary and not observation.canary.stages and observation.canary.error is None:
        reasons.append("blind: the canary was not tried")
    return reasons


def _little_traffic(observation: Observation, baseline: Baseline) -> list[str]:
    return [
        f"too little traffic: {len(series.samples)} requests to {series.path} from {series.vantage}, "
        f"at least {numbers.MIN_SAMPLES} needed"
        for series in observation.probes
        if series.blind is None
        and series.kind is not ProbeKind.POD  # how many pods are there to be asked is a symptom's business
        and (series.path, series.vantage) in baseline.clients
        and len(series.samples) < numbers.MIN_SAMPLES
    ]


def _failing_before(observation: Observation, baseline: Baseline) -> list[str]:
    """Clients that failed before the fault came, once this run had had traffic: the cluster was not clean to begin
    with."""
    fault_s = hit_s(observation)
    if fault_s is None or observation.milestones.get("traffic") is None:
        return []
    reasons = []
    for series in observation.probes:
        golden = baseline.clients.get((series.path, series.vantage))
        before = Traffic.of(observation, series, late_s=baseline.traffic_late_s, hit_s=fault_s).before
        rate = error_rate(before)
        if golden is None or rate is None or failures(before) < numbers.MIN_FAILURES:
            continue
        if rate > golden.tolerated(Phase.DURING, len(before)):
            reasons.append(
                f"unclean start: {failures(before)} of {len(before)} requests to {series.path} "
                f"from {series.vantage} failed before the fault came"
            )
    return reasons


def _only_slow(held: tuple[Symptom, ...], client: ClientFailure) -> bool:
    """Whether all that is wrong is what a slow machine does, too."""
    if any(s.orchestrator is not OrchestratorFailure.TIMING for s in held):
        return False
    return bool(held) or client in (ClientFailure.INTERMITTENT, ClientFailure.SLOWER)


def _behind_before(observation: Observation, baseline: Baseline) -> list[str]:
    """Milestones that every golden run had by the time at which the fault came here, and this one only later, and too
    late: whatever held it up was there before the fault."""
    fault_s = hit_s(observation)
    if fault_s is None:
        return []
    return [
        f"unclean start: `{name}` came after {came_s:.1f} s (golden {spread.describe('s')}), and the fault only after "
        f"{fault_s:.1f} s: it was late before the fault"
        for name, spread in baseline.milestones.items()
        if (came_s := observation.milestones.get(name)) is not None and spread.always
        if spread.high + numbers.BEHIND_S < fault_s < came_s and came_s > spread.late
    ]


def _inconclusive(
    observation: Observation, baseline: Baseline | None, reasons: tuple[str, ...], *, golden: bool
) -> Verdict:
    """Classes stay None; how far the fault got is told as far as it is proven without them."""
    reached = None if golden else activation(observation, None)[0]
    return Verdict(
        state=State.INCONCLUSIVE,
        reasons=reasons,
        activation=reached,
        aware=None if golden else aware(observation, baseline),
        aware_s=None if golden else aware_s(observation, baseline),
    )


def _seen_anyway(held: tuple[Symptom, ...]) -> tuple[str, ...]:
    return tuple(f"seen all the same, not judged: {s.orchestrator.value}: {s.why}" for s in held)


def _nothing_wrong(observation: Observation, baseline: Baseline) -> str:
    golden = baseline.ready_pods.describe() if baseline.ready_pods else "unknown"
    counts = ", ".join(
        f"{n} {kind}" for kind, n in sorted(observation.final_counts.items()) if kind not in numbers.VOLATILE_KINDS
    )
    down = [c.name for c in observation.components if not c.alive or c.ready is False]
    new = ", ".join(name for name in down if name not in baseline.unready)
    return (
        f"none: {ready_pods(observation)} pods ready (golden {golden}); {counts or 'no objects'} as in golden runs; "
        f"{_milestones(observation, baseline)}; the canary came right; "
        f"{f'down, but of no consequence so far: {new}' if new else 'components up'}"
    )


def _milestones(observation: Observation, baseline: Baseline) -> str:
    """Of those that can be compared: classifiers.symptoms.timing."""
    late = [
        f"`{name}` after {came_s:.1f} s"
        for name, spread in baseline.milestones.items()
        if (came_s := observation.milestones.get(name)) is not None and spread.always and came_s > spread.late
    ]
    if late:
        return f"later than golden runs, but so was the fault: {', '.join(late)}"
    return "every milestone within golden times"


def _client_reasons(views: tuple[ClientView, ...], client: ClientFailure) -> tuple[str, ...]:
    if client is ClientFailure.NONE:
        return (f"client none: {len(views)} client{'s' if len(views) != 1 else ''} served as in golden runs",)
    failing = [v for v in views if v.failure is client]
    return tuple(f"client {client.value}: {v.service} from {v.vantage}: {v.why}" for v in failing)


def _aware_reasons(observation: Observation, baseline: Baseline) -> tuple[str, ...]:
    told = signs(observation, baseline) if aware(observation, baseline) else ()
    return tuple(f"the user was told{_when(observation.told_s.get(words))}: {words}" for words in told)


def _when(at_s: float | None) -> str:
    return "" if at_s is None else f" after {at_s:.1f} s"
