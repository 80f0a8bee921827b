"""Judges a stored run again from the store alone: the golden runs, the observations and today's classifiers.

What is judged comes anew and stands for the earlier; nothing is overwritten, and what is judged as before is not kept
twice. All of it is one transaction: a run is never half by old classifiers, half by new ones.

The judge is pure and busy, so a large run is judged by a process for each core (`workers`, `rejudging_worker`), each
with a baseline of its own from the same golden runs.

Golden runs come first: those in which something was wrong make suspects of what else was done on their sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from campaigns.judging.bench import Bench
from campaigns.judging.suspects import suspects
from campaigns.judging.workers import Workers
from campaigns.record import ExperimentRecord, Purpose
from campaigns.store import Judgement, Run, Spoiled
from classifiers.record import from_json, to_json
from classifiers.verdict import ClientFailure, OrchestratorFailure, State, Verdict
from failure_db.catalogue import load
from injector.errors import StoreError

__all__ = ["Change", "Classes", "Rejudged", "bench_of", "judge_here", "rejudge"]

WORTH_PROCESSES = 400
"""Experiments from which on processes pay: starting one and its baseline takes about a second, as judging 100 does."""

_WORKER = "campaigns.judging.rejudging_worker"


@dataclass(frozen=True, slots=True)
class Classes:
    """What a verdict says, without why."""

    state: State
    orchestrator: OrchestratorFailure | None
    client: ClientFailure | None

    @classmethod
    def of(cls, verdict: Verdict) -> Classes:
        return cls(verdict.state, verdict.orchestrator, verdict.client)

    def __str__(self) -> str:
        if self.orchestrator is None or self.client is None:
            return self.state.value
        return f"{self.orchestrator.value} / {self.client.value}"


@dataclass(frozen=True, slots=True)
class Change:
    """An experiment, or a repeat of one (`repeat`, in words), that now has other classes."""

    id: str
    before: Classes
    after: Classes
    repeat: str = ""


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What came of it. `judged`: all that could be, repeats among them; `worded`: those whose classes are as before and
    whose reasons, incidents or activation are not; `spoiled`: id → why what is stored of it can't be read any more: it
    keeps its judgement, and no golden run of these is gone by."""

    judged: int
    worded: int
    changes: tuple[Change, ...]
    spoiled: Mapping[str, str] = field(default_factory=dict)


def rejudge(run: Run, progress: Callable[[int, int], object] = lambda done, of: None) -> Rejudged:
    """Judges every finished experiment and repeat of `run` (opened for writing) again. `progress` is told how many are
    done, of how many. StoreError if the record can't be read or written, HarnessError if a worker process ends early:
    then nothing has changed."""
    ids = run.finished_ids()
    repeats = list(run.repeats(observations=False))
    notes = _Notes(len(ids) + len(repeats), progress)
    with ExitStack() as stack:
        many = len(ids) >= WORTH_PROCESSES
        bench = bench_of(run) if repeats or not many else Bench(())
        judge: Judge = partial(judge_here, run, bench)
        if many:
            judge = partial(_judge_there, stack.enter_context(Workers(_WORKER, run.folder)))
        run.add_judgements(
            notes.new(_judge_all(run, judge, notes), _judge_repeats(run, bench, len(repeats), notes.spoil))
        )
    return Rejudged(notes.done, notes.worded, tuple(notes.changes), notes.spoiled)


def _judge_all(run: Run, judge: Judge, notes: _Notes) -> Iterator[Line]:
    """Golden runs, then the others by what those tell of their sandboxes."""
    records = list(run.records(observations=False))
    verdicts = {record.planned.id: record.verdict for record in records if record.planned.golden}
    for line in judge(dict.fromkeys(sorted(verdicts), ""), notes.spoil):
        if line[2] is not None:
            verdicts[line[0]] = line[2].verdict
        yield line
    found = suspects(records, lambda golden: verdicts[golden.planned.id])
    others = sorted(record.planned.id for record in records if not record.planned.golden)
    yield from judge({identifier: found.get(identifier, "") for identifier in others}, notes.spoil)


def judge_here(run: Run, bench: Bench, ids: Mapping[str, str], spoiled: Spoiled) -> Iterator[Line]:
    """In this process, one after another: what a Judge does. StoreError for one that is not finished."""
    for identifier, suspect in ids.items():
        try:
            record = run.record(identifier)
        except StoreError as error:
            spoiled(identifier, str(error))
            continue
        if record is None:
            raise StoreError(f"{run.folder}: experiment {identifier} is not finished")
        yield _judge_one(bench, record, suspect)


Line = tuple[str, Classes, Judgement | None]
"""An experiment's id, its classes so far, and its judgement if that is new."""

Judge = Callable[[Mapping[str, str], Spoiled], Iterator[Line]]
"""Judges experiments: id → why it is suspect, "" if it is not."""


def bench_of(run: Run, spoiled: Spoiled = lambda identifier, why: None) -> Bench:
    """A bench with all golden runs of the run that can be read; `spoiled` is told of those that can't."""
    bench = Bench(load(), beside=partial(_beside, run), alone=partial(_alone, run))
    for record in run.goldens(spoiled=spoiled):
        bench.remember(record)
    for repeat in run.repeats(purpose=Purpose.ALONE, golden=True, spoiled=spoiled):
        bench.remember(repeat.record, Purpose.ALONE)
    bench.all_in()
    return bench


def _alone(run: Run, identifier: str) -> ExperimentRecord | None:
    """How an experiment went alone, the last time that anything was seen."""
    repeats = run.repeats(identifier, Purpose.ALONE, spoiled=lambda *_: None)
    return next((r.record for r in reversed(list(repeats)) if r.record.observation is not None), None)


def _beside(run: Run, identifier: str) -> bool:
    return run.sandboxes(identifier) > 1


def _judge_one(bench: Bench, record: ExperimentRecord, suspect: str = "", purpose: Purpose = Purpose.PLANNED) -> Line:
    """One experiment judged again."""
    latest = bench.judged(record, purpose, suspect=suspect)
    judgement = Judgement.of(latest) if latest != record else None
    return record.planned.id, Classes.of(record.verdict), judgement


def _judge_repeats(run: Run, bench: Bench, count: int, spoiled: Spoiled) -> Iterator[tuple[Line, str]]:
    """Repeats likewise, each with what it is in words."""
    for repeat in run.repeats(spoiled=spoiled) if count else ():
        identifier, before, found = _judge_one(bench, repeat.record, purpose=repeat.purpose)
        if found is not None:
            found = Judgement(
                experiment=identifier,
                verdict=found.verdict,
                incidents=found.incidents,
                error=found.error,
                purpose=repeat.purpose,
                number=repeat.number,
            )
        yield (identifier, before, found), f"{repeat.purpose} {repeat.number}"


class _Notes:
    """Counts what passes on its way to the store."""

    def __init__(self, of: int, progress: Callable[[int, int], object]) -> None:
        self.done, self.worded, self.changes, self.spoiled = 0, 0, list[Change](), dict[str, str]()
        self._of, self._progress = of, progress

    def new(self, judged: Iterable[Line], repeats: Iterable[tuple[Line, str]]) -> Iterator[Judgement]:
        for line in judged:
            yield from self._note(line, "")
        for line, words in repeats:
            yield from self._note(line, words)

    def spoil(self, identifier: str, why: str) -> None:
        """One that can't be read."""
        self.spoiled[identifier] = why
        self._tell()

    def _note(self, line: Line, repeat: str) -> Iterator[Judgement]:
        identifier, before, judgement = line
        if judgement is not None:
            after = Classes.of(judgement.verdict)
            if after == before:
                self.worded += 1
            else:
                self.changes.append(Change(identifier, before, after, repeat))
            yield judgement
        self.done += 1
        self._tell()

    def _tell(self) -> None:
        self._progress(self.done + len(self.spoiled), self._of)


def answer(line: Line) -> dict[str, object]:
    """What a worker says of one experiment."""
    identifier, before, judgement = line
    return {"id": identifier, "before": to_json(before), "new": None if judgement is None else to_json(judgement)}


def _judge_there(workers: Workers, ids: Mapping[str, str], spoiled: Spoiled) -> Iterator[Line]:
    """By processes (`rejudging_worker`): what a Judge does."""
    for said in workers.answers(ids, spoiled):
        where = f"the judgement of {said['id']}"
        judgement = None if said["new"] is None else from_json(Judgement, said["new"], where=where)
        yield said["id"], from_json(Classes, said["before"], where=where), judgement
