"""How far faults got, over a whole run: how many were taken over by other objects, through whom, put right, and what
ended otherwise. Each experiment's part is read by a process for each core (`workers`, `spreading_worker`); adding up
is pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from campaigns.judging.aftermath import Aftermath
from campaigns.judging.workers import Workers
from campaigns.record import ExperimentRecord
from classifiers.record import from_json

__all__ = ["Row", "Spread", "rows", "spread_of", "spreads"]

_WORKER = "campaigns.judging.spreading_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One experiment's part. stored: a wrong value was put into a field of what is stored; taken: objects that took it
    over, `through` those who wrote them, `furthest` steps away; healed_s: when it was put right, seconds after the
    fault, by `healer`, None if it never was; otherwise: kinds of the other objects that did not end as in golden
    runs (a kind for each object), None where golden runs do not tell."""

    id: str
    stored: bool = False
    taken: int = 0
    through: tuple[str, ...] = ()
    furthest: int | None = None
    healed_s: float | None = None
    healer: str = ""
    otherwise: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table: numbers of experiments, but for furthest (steps) and healed_s (median). `otherwise` is None
    where golden runs tell of none of them; `through` and `kinds`: component or kind → experiments in which it took
    part."""

    name: str
    experiments: int
    stored: int
    taken: int
    furthest: int | None
    healed: int
    healed_s: float | None
    otherwise: int | None
    through: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)


def spread_of(record: ExperimentRecord, after: Aftermath) -> Spread:
    """Of an experiment whose fault fired."""
    own = {firing.identity for firing in record.observation.firings} if record.observation else set()
    ended = after.ended
    others = None if ended is None else tuple(d.identity.partition("/")[0] for d in ended if d.identity not in own)
    if (went := after.went) is None:
        return Spread(id=record.planned.id, otherwise=others)
    return Spread(
        id=record.planned.id,
        stored=True,
        taken=len(went.taken),
        through=tuple(dict.fromkeys(each.by for each in went.taken if each.by)),
        furthest=max((each.steps for each in went.taken if each.steps is not None), default=None),
        healed_s=went.healed.after_s if went.healed else None,
        healer=went.healed.by if went.healed else "",
        otherwise=others,
    )


def rows(spread: Mapping[str, Spread], labels: Mapping[str, str]) -> tuple[Row, ...]:
    """A row for each label, the most frequent first, and one of all of them ("all") as the last. `labels`: id → label,
    of those that count."""
    labelled: dict[str, list[Spread]] = {}
    for identifier, label in labels.items():
        if identifier in spread:
            labelled.setdefault(label, []).append(spread[identifier])
    named = sorted(labelled.items(), key=lambda each: (-len(each[1]), each[0]))
    everything = [each for _, those in named for each in those]
    return tuple(_row(name, those) for name, those in (*named, ("all", everything)) if those)


def _row(name: str, those: Sequence[Spread]) -> Row:
    healed = [each.healed_s for each in those if each.healed_s is not None]
    otherwise = [each.otherwise for each in those]
    return Row(
        name=name,
        experiments=len(those),
        stored=sum(each.stored for each in those),
        taken=sum(each.taken > 0 for each in those),
        furthest=max((each.furthest for each in those if each.furthest is not None), default=None),
        healed=len(healed),
        healed_s=median(healed) if healed else None,
        otherwise=None if all(o is None for o in otherwise) else sum(map(bool, otherwise)),
        through=_counted(each.through for each in those),
        kinds=_counted(tuple(dict.fromkeys(each or ())) for each in otherwise),
    )


def _counted(those: Iterator[tuple[str, ...]]) -> Mapping[str, int]:
    return dict(Counter(name for names in those for name in names).most_common())


def spreads(
    folder: Path, ids: Sequence[str], progress: Callable[[int, int], object] = lambda done, of: None
) -> Mapping[str, Spread]:
    """Of these experiments, those that have a trace. One of which something is corrupted is left out. HarnessError if
    the run can't be read."""
    found: dict[str, Spread] = {}
    done = 0

    def read(identifier: str, why: str = "") -> None:
        nonlocal done
        done += 1
        progress(done, len(ids))

    with Workers(_WORKER, folder) as workers:
        for said in workers.answers(dict.fromkeys(ids, ""), read):
            if said["spread"] is not None:
                found[said["id"]] = from_json(Spread, said["spread"], where=f"how far {said['id']} got")
            read(said["id"])
    return found
