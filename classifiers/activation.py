"""Activation: how far the fault got, as far as the record proves it.

    not-fired   no rule changed or dropped anything
    fired       bytes were changed, or a message was held back
    accepted    etcd took the changed bytes (the transaction succeeded). For a drop there is nothing to take: it is
                accepted when the loss stood, i.e. the key was not written within numbers.LOSS_STOOD_S after it; a
                sender that was told and simply tried again has absorbed the fault, which stays at `fired`
    consumed    somebody acted on what etcd held. Kubernetes updates and deletes are guarded read-modify-writes:
                kube-apiserver decodes the stored object and compares its revision in the transaction, so a later
                revision of the same key proves that the changed one was read. For a drop whose loss stood, a later
                write of the key is somebody who noticed the gap
    effective   something behaved differently from golden runs: a symptom or a client failure held, or the history
                differs: objects of a kind, at the end or on the way, outside the golden range, or one written more or
                less often than golden runs ever did (beyond numbers.WRITES_SLACK), or never, or one that none had

Each step implies the ones before it; a later one that is proven does not need the earlier ones proven. Reads that leave
no write behind (a watcher that takes the value in and does nothing) can't be seen in the record: `accepted` then means
"at least accepted".
"""

from __future__ import annotations

from collections.abc import Iterable

from classifiers import numbers
from classifiers.golden import Baseline, writes_per_identity
from classifiers.observation import Observation, Write
from classifiers.over_time import excursions
from classifiers.verdict import Activation, ClientFailure, Symptom
from injector.rules import Firing

__all__ = ["activation", "history_differences"]

_DROP = "drop"
_READS = {
    "range": "in a list or get",
    "watch": "in a watch event",
    "txn-range": "after a refused write",
    "get": "in a get",
    "list": "in a list",
    "answer": "in the answer to a write",
}
"""What etcd tells kube-apiserver, and it its components, by the firing's operation."""

_REQUESTS = frozenset({"create", "update", "patch", "bind"})
"""What components ask of kube-apiserver. (Their deletes are told from etcd's by no more than a word.)"""

_SHOWN = 3
"""Differences and near misses that a reason names (arbitrary: two lines)."""


def activation(
    observation: Observation,
    baseline: Baseline | None,
    *,
    symptoms: Iterable[Symptom] = (),
    client: ClientFailure = ClientFailure.NONE,
) -> tuple[Activation, str]:
    """How far it got and why we think so. `baseline` None (none to compare with): at most `consumed` can be proven."""
    if not observation.firings:
        return Activation.NOT_FIRED, _not_fired(observation)
    if baseline is not None:
        effects = _effects(observation, baseline, tuple(symptoms), client)
        if effects:
            return Activation.EFFECTIVE, effects
    return max((_reached(observation, firing) for firing in observation.firings), key=lambda r: _ORDER.index(r[0]))


_ORDER = list(Activation)


def history_differences(observation: Observation, baseline: Baseline) -> tuple[str, ...]:
    """Where counts of objects, at the end or on the way, or of writes lie outside golden runs', in words; sorted by
    kind, then identity."""
    words = []
    for kind in sorted({*observation.final_counts, *baseline.final_counts} - numbers.VOLATILE_KINDS):
        count, golden = observation.final_counts.get(kind, 0), baseline.final_counts.get(kind)
        low, high = (golden.low, golden.high) if golden else (0.0, 0.0)
        if not low <= count <= high:
            words.append(f"{count} of {kind} at the end, golden {golden.describe() if golden else '0'}")
    words += [each.describe() for each in excursions(observation, baseline.over_time)]
    written = writes_per_identity(observation)
    for identity in sorted({*written, *baseline.writes}):
        count, spread = written.get(identity, 0), baseline.writes.get(identity)
        if spread is None:
            words.append(f"{identity} was written, in golden runs never")
        elif count == 0 and spread.low > 0:
            words.append(f"{identity} was never written, golden {spread.describe('times')}")
        elif not spread.low - _slack(spread.low, spread.high) <= count <= spread.high + _slack(spread.low, spread.high):
            words.append(f"{identity} was written {count} times, golden {spread.describe()}")
    return tuple(words)


def _slack(low: float, high: float) -> float:
    return max(numbers.WRITES_SLACK, high - low)


def _effects(observation: Observation, baseline: Baseline, symptoms: tuple[Symptom, ...], client: ClientFailure) -> str:
    if symptoms:
        return f"{symptoms[0].orchestrator.value} held"
    if client is not ClientFailure.NONE:
        return f"clients saw the service {client.value}"
    differences = history_differences(observation, baseline)
    return "; ".join(differences[:_SHOWN]) + ("; …" if len(differences) > _SHOWN else "")


def _reached(observation: Observation, firing: Firing) -> tuple[Activation, str]:
    if _plain(firing) in _READS:
        return _read_reached(observation, firing)
    if firing.operation == _DROP or firing.told is not None:  # a component's request keeps its operation
        return _drop_reached(observation, firing)
    changed = f"the changed {firing.identity}" if firing.after != firing.before else f"the write of {firing.identity}"
    said = f" ({firing.note})" if firing.note else ""
    if firing.revision is not None:
        later = [w for w in observation.writes if w.key == firing.key and w.revision > firing.revision]
        if later:
            return Activation.CONSUMED, f"{firing.identity} was read and written again ({_listed(later)}){said}"
    if firing.accepted:
        return Activation.ACCEPTED, f"{_taker(firing)} took {changed}; nobody wrote it again{said}"
    return Activation.FIRED, f"{firing.identity} was changed, but {_taker(firing)} did not take it{said}"


def _plain(firing: Firing) -> str:
    """Its operation without the subresource."""
    return firing.operation.partition("/")[0]


def _taker(firing: Firing) -> str:
    return "kube-apiserver" if _plain(firing) in _REQUESTS else "etcd"


def _read_reached(observation: Observation, firing: Firing) -> tuple[Activation, str]:
    """What somebody was told: etcd holds the true value, so a write afterwards is a sign that it was used."""
    said = f" ({firing.note})" if firing.note else ""
    wrongly = "told wrongly" if firing.after else "left out"
    how = f"{firing.identity} was {wrongly} {_READS[_plain(firing)]}{said}"
    later = [w for w in observation.writes if w.key == firing.key and w.at_s >= firing.at_s]
    if later:
        return Activation.CONSUMED, f"{how}, and written afterwards ({_listed(later)})"
    return Activation.FIRED, f"{how}; whether it was read is not known"


def _drop_reached(observation: Observation, firing: Firing) -> tuple[Activation, str]:
    told = f", the sender was told {firing.told.value}" if firing.told else ""
    if not 0.0 <= firing.at_s <= observation.seconds:
        return Activation.FIRED, f"a write of {firing.identity} was dropped, at a time outside the experiment{told}"
    later = [w for w in observation.writes if w.key == firing.key and w.at_s >= firing.at_s]
    first_s = min((w.at_s for w in later), default=None)
    if first_s is None:
        return Activation.ACCEPTED, f"the loss of the write of {firing.identity} stood to the end{told}"
    after_s = first_s - firing.at_s
    if after_s > numbers.LOSS_STOOD_S:
        return (
            Activation.CONSUMED,
            f"the loss of {firing.identity} stood for {after_s:.1f} s, then it was noticed{told}",
        )
    return Activation.FIRED, f"the lost write of {firing.identity} was made again after {after_s:.1f} s{told}"


def _listed(writes: list[Write]) -> str:
    first = min(writes, key=lambda w: w.revision)
    return f"{len(writes)} times, first by the {first.operation} at {first.at_s:.1f} s"


def _not_fired(observation: Observation) -> str:
    if not observation.near_misses:
        return "the rule never matched a message"
    near = "; ".join(f"{m.identity} {m.times} times: {m.why}" for m in observation.near_misses[:_SHOWN])
    return f"the rule never matched a message; nearest: {near}"
