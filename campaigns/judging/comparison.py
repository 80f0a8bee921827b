"""Two runs side by side: which experiments ended otherwise, by how much the shares of the classes moved, and what can't
be told from that. Pure: values in, values out; the formulas are in campaigns.judging.statistics.

Experiments are compared by their ids, which are hashes of what was done to which cluster under which workload: the same
id is the same experiment. Shares are of the experiments that were judged and whose fault fired. Where both runs have
judged the same experiments, a share's change is estimated from those alone (paired); else from two samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from campaigns.judging.statistics import Interval, Pairs, Stratum, difference, mcnemar, paired_difference, share, wilson
from campaigns.record import PlannedExperiment
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict
from injector.rules import JSONValue

__all__ = ["Change", "Comparison", "Ended", "Row", "Side", "compare", "ended"]

FEW_PAIRS = 100
"""Below so many, what an unchanged result can't exclude is said. With 100 pairs and no change, up to 4 % could change
(Wilson); arbitrary beyond that."""

Failure = OrchestratorFailure | ClientFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one finished experiment ended. `stratum`: its part of the population, "" where the plan has none."""

    id: str
    workload: str
    state: State
    fired: bool
    orchestrator: OrchestratorFailure | None
    client: ClientFailure | None
    stratum: str = ""

    @property
    def judged(self) -> bool:
        return self.state is State.JUDGED and self.fired

    @property
    def gravity(self) -> tuple[int, int]:
        """Smaller is graver."""
        orchestrator, client = self.orchestrator or OrchestratorFailure.NONE, self.client or ClientFailure.NONE
        return list(OrchestratorFailure).index(orchestrator), list(ClientFailure).index(client)

    @property
    def words(self) -> str:
        """`stall, clients none`, or why there is no class."""
        if not self.judged or self.orchestrator is None:
            return self.state.value if self.fired else "not fired"
        return f"{self.orchestrator.value}, clients {self.client.value if self.client else '-'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One run. `planned`: ids of its experiments; `weights`: how large each stratum's population is (empty: every
    experiment counts as one); `metadata` as the store has it."""

    name: str
    planned: frozenset[str]
    ended: Mapping[str, Ended]
    metadata: Mapping[str, JSONValue] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def judged(self) -> list[Ended]:
        return [each for each in self.ended.values() if each.judged]


@dataclass(frozen=True, slots=True)
class Change:
    """An experiment that ended otherwise in the second run."""

    a: Ended
    b: Ended

    @property
    def id(self) -> str:
        return self.a.id

    @property
    def worse(self) -> bool:
        return self.b.gravity < self.a.gravity


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One class: its share in both runs (None where nothing was judged), and by how much it moved. `pairs` is None
    where the runs were compared as two samples, and so is `p` (McNemar's)."""

    of: str
    """orchestrator or client."""
    failure: str
    count_a: int
    count_b: int
    judged_a: int
    judged_b: int
    a: Interval | None
    b: Interval | None
    change: Interval | None
    pairs: Pairs | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer. `changed`: judged in both, of another class, the gravest turns for the worse first; `unclear`: in
    both, but judged in one alone; `same`: judged in both, of the same classes; `caveats`: what can't be told."""

    changed: tuple[Change, ...]
    unclear: tuple[Change, ...]
    same: int
    only_a: int
    only_b: int
    rows: tuple[Row, ...]
    caveats: tuple[str, ...]


def ended(planned: PlannedExperiment, verdict: Verdict, *, stratum: str = "") -> Ended:
    """How an experiment ended."""
    return Ended(
        id=planned.id,
        workload=planned.workload,
        state=verdict.state,
        fired=verdict.activation is not Activation.NOT_FIRED,
        orchestrator=verdict.orchestrator,
        client=verdict.client,
        stratum=stratum,
    )


def compare(a: Side, b: Side) -> Comparison:
    """What is in `b` that was not in `a`."""
    common = [(a.ended[each], b.ended[each]) for each in a.ended if each in b.ended]
    both = [(one, other) for one, other in common if one.judged and other.judged]
    changed = [Change(one, other) for one, other in both if one.gravity != other.gravity]
    rows = [
        *(_row("orchestrator", failure, _is_orchestrator(failure), a, b, both) for failure in OrchestratorFailure),
        *(_row("client", failure, _is_client(failure), a, b, both) for failure in ClientFailure),
    ]
    return Comparison(
        changed=tuple(sorted(changed, key=lambda each: (not each.worse, each.b.gravity, each.id))),
        unclear=tuple(Change(one, other) for one, other in common if one.judged != other.judged),
        same=len(both) - len(changed),
        only_a=len(a.planned - b.planned),
        only_b=len(b.planned - a.planned),
        rows=tuple(rows),
        caveats=tuple(_caveats(a, b, len(both))),
    )


def _is_orchestrator(failure: OrchestratorFailure) -> Callable[[Ended], bool]:
    return lambda each: each.orchestrator is failure


def _is_client(failure: ClientFailure) -> Callable[[Ended], bool]:
    return lambda each: each.client is failure


def _row(
    of: str, failure: Failure, holds: Callable[[Ended], bool], a: Side, b: Side, both: Sequence[tuple[Ended, Ended]]
) -> Row:
    share_a, share_b = _share(a, holds), _share(b, holds)
    pairs, p, change = None, None, None
    if both:
        held = [(holds(one), holds(other)) for one, other in both]
        pairs = Pairs(
            both=held.count((True, True)),
            only_a=held.count((True, False)),
            only_b=held.count((False, True)),
            neither=held.count((False, False)),
        )
        change, p = paired_difference(pairs), mcnemar(pairs)
    elif share_a is not None and share_b is not None:
        change = difference(share_a, share_b)
    return Row(
        of=of,
        failure=failure.value,
        count_a=sum(map(holds, a.judged)),
        count_b=sum(map(holds, b.judged)),
        judged_a=len(a.judged),
        judged_b=len(b.judged),
        a=share_a,
        b=share_b,
        change=change,
        pairs=pairs,
        p=p,
    )


def _share(side: Side, holds: Callable[[Ended], bool]) -> Interval | None:
    if not side.weights:
        return share([Stratum(count=sum(map(holds, side.judged)), of=len(side.judged))])
    drawn: dict[str, list[bool]] = {}
    for each in side.judged:
        drawn.setdefault(each.stratum, []).append(holds(each))
    return share(
        [Stratum(count=sum(held), of=len(held), weight=side.weights.get(name, 0.0)) for name, held in drawn.items()]
    )


# what can't be told


def _caveats(a: Side, b: Side, pairs: int) -> list[str]:
    said = [*_differences(a, b), *_missing(a), *_missing(b), *_weighted(a, b)]
    if not pairs:
        said.append(
            "No experiment was judged in both runs: the shares are compared as two samples, and hold for what each run "
            "has chosen or drawn."
        )
    elif pairs < FEW_PAIRS:
        unseen = 100 * wilson(0, pairs).high
        said.append(
            f"{pairs} pairs are few: a kind of change that befalls up to {unseen:.0f} % of the experiments can stay "
            "unseen in them."
        )
    if pairs:
        said.append(
            "Each experiment ran once in each run: one that ended otherwise may do so by chance (`mutineer replay RUN "
            "ID --times N` tells how stable it is)."
        )
    if not all(side.metadata.get("sampled") is True for side in (a, b)):
        said.append("The faults were chosen, not drawn at random: the shares describe these lists of faults.")
    elif pairs:
        said.append("A change is estimated from the experiments in both runs, without the strata's weights.")
    said.append("Every interval holds by itself with 95 %: of many that are looked at, one in twenty misses.")
    return said


def _weighted(a: Side, b: Side) -> list[str]:
    said = []
    for side in {each.name: each for each in (a, b) if each.weights}.values():
        drawn = {each.stratum for each in side.judged}
        unknown = [name for name in side.weights if name not in drawn]
        of = f"; of {len(unknown)} of its {len(side.weights)} strata nothing was judged" if unknown else ""
        said.append(f"Shares of {side.name} are weighted by its strata{of}.")
    return said


def _differences(a: Side, b: Side) -> list[str]:
    said = []
    for topic, words in (
        ("versions", "The versions differ"),
        ("cluster", "The clusters differ"),
        ("host", "The machines differ, which moves what is slower or late"),
    ):
        one, other = a.metadata.get(topic), b.metadata.get(topic)
        differing = _differing(one, other)
        if differing:
            said.append(f"{words}: {'; '.join(differing)}.")
    workloads = [sorted({each.workload for each in side.ended.values()}) for side in (a, b)]
    if workloads[0] != workloads[1]:
        shown = [", ".join(names) or "none" for names in workloads]
        said.append(f"The workloads differ: {shown[0]} → {shown[1]}.")
    only = [(len(one.planned - other.planned), one.name) for one, other in ((a, b), (b, a))]
    if lone := [f"{count} are only in {name}" for count, name in only if count]:
        said.append(f"The plans differ: of the planned experiments {' and '.join(lone)}.")
    return said


def _differing(one: JSONValue, other: JSONValue) -> list[str]:
    """`kubernetes 1.36.3 → 1.37.0`, for every fact that both know and that differs, or that one alone knows."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return []
    names = [name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name)]
    return [f"{name} {_shown(one.get(name))} → {_shown(other.get(name))}" for name in names]


def _shown(value: JSONValue) -> str:
    text = "not recorded" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _missing(side: Side) -> list[str]:
    said = []
    if unfinished := len(side.planned - set(side.ended)):
        said.append(f"{unfinished} of {len(side.planned)} experiments of {side.name} are not finished.")
    if unjudged := len(side.ended) - len(side.judged):
        said.append(
            f"{unjudged} of {len(side.ended)} experiments of {side.name} were not judged; they are in no share."
        )
    return said
