"""A campaign from spec to finished record: plan, execute, judge, store; and what can be done with a run afterwards:
go on with it (`resume_campaign`), do experiments of it again (`replay_experiments`). What is shown meanwhile is the
view's; when to stop, besides when all is done, is a `Stop`'s (campaigns.running.stopping).

What the command line says over the spec is kept with the run, so that a resumed run is the same one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from campaigns.assets import Assets
from campaigns.judging.rejudging import bench_of
from campaigns.planning.plan import plan
from campaigns.planning.recording import Recording
from campaigns.planning.recordings_found import write_recordings
from campaigns.record import ExperimentRecord, PlannedExperiment, Purpose
from campaigns.running.executor import Executor, Progress, Task
from campaigns.running.host import now, run_metadata, sandboxes_for, session_document, versions
from campaigns.running.runner import LocalExecutor
from campaigns.running.session import Session, SessionView, due_alone, due_confirmations, missing_tasks
from campaigns.running.stopping import Stop
from campaigns.spec.campaign_spec import CampaignSpec, parse_spec
from campaigns.spec.policies import ConfirmPolicy, StopRules
from campaigns.store import Run, create_run, open_run
from injector.errors import InputError, MutineerError, StoreError
from injector.rules import JSONValue

__all__ = ["CampaignView", "Overrides", "Replayed", "replay_experiments", "resume_campaign", "run_campaign"]

Engine = Callable[..., Executor]
"""Makes an executor of LocalExecutor's parameters."""


class CampaignView(Progress, SessionView, Protocol):
    """Told how a campaign goes."""

    def planned(self, *, golden: int, faults: int, repeats: int, sandboxes: int, folder: Path, done: int) -> None:
        """What is to be done now; `done`: experiments and golden runs of the plan that were done before."""

    def more(self, repeats: int, why: str) -> None:
        """So many are to be done again, on top."""

    def note(self, words: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line says over the spec; None and False: what the spec says."""

    parallelism: int | None = None
    seed: int | None = None
    confirm: bool = False
    heal: bool = False

    def of(self, spec: CampaignSpec) -> CampaignSpec:
        said: dict[str, object] = {}
        if self.parallelism is not None:
            said["parallelism"] = self.parallelism
        if self.seed is not None:
            said["seed"] = self.seed
        if self.confirm and spec.confirm is None:
            said["confirm"] = ConfirmPolicy.model_validate({})
        if self.heal:
            said["heal"] = True
        return spec.model_copy(update=said)

    def over(self, earlier: Overrides) -> Overrides:
        """These, and the earlier ones where these say nothing."""
        return Overrides(
            parallelism=self.parallelism or earlier.parallelism,
            seed=earlier.seed if self.seed is None else self.seed,
            confirm=self.confirm or earlier.confirm,
            heal=self.heal or earlier.heal,
        )


def run_campaign(
    spec: CampaignSpec,
    spec_text: str,
    folder: Path,
    assets: Assets,
    view: CampaignView,
    *,
    beside: Path | None = None,
    recordings: Mapping[str, Recording] | None = None,
    overrides: Overrides | None = None,
    stop: Stop | None = None,
    engine: Engine = LocalExecutor,
) -> Run:
    """Runs it all into `folder`; returns the run, open. Where `stop` says so, what is under way is finished; on
    KeyboardInterrupt, which goes on, all that is finished is kept. `beside`: where relative paths in the spec start
    (None: the current folder). `recordings`: what a sample is drawn from, by workload; they are kept in the folder."""
    recordings = recordings or {}
    said = overrides or Overrides()
    spec, start = said.of(spec), (beside or Path.cwd()).resolve()
    the_plan, settings = plan(spec, recordings), spec.to_sandbox_settings(start)
    known = run_metadata(spec, assets, settings, sandboxes=sandboxes_for(spec, len(the_plan.experiments)))
    more: dict[str, JSONValue] = {"beside": str(start), "overrides": dataclasses.asdict(said)}
    run = create_run(folder, spec_text, the_plan, {**known, **more})
    try:
        write_recordings(recordings, folder)
    except OSError as error:
        run.close()
        raise StoreError(f"{folder} can't be written: {error}") from error
    work = _Work(run, spec, start, assets, view, stop or Stop(), engine)
    with work.open_for("run", rules=spec.stop) as (session, executor):
        work.carry_out(session, executor)
    return run


def resume_campaign(
    folder: Path,
    assets: Assets,
    view: CampaignView,
    *,
    overrides: Overrides | None = None,
    mixed_versions: bool = False,
    stop: Stop | None = None,
    engine: Engine = LocalExecutor,
) -> Run:
    """Does what the run lacks of its own plan, in the plan's order, with the run's own spec; returns it, open.

    InputError if nothing is missing, or if the binaries are other ones and `mixed_versions` is not set; StoreError as
    for open_run, also where another process is adding to it."""
    run = open_run(folder, writable=True)
    with contextlib.ExitStack() as on_error:
        on_error.callback(run.close)
        earlier, start = _as_begun(run)
        spec = (overrides or Overrides()).over(earlier).of(_spec_of(run))
        due = (missing_tasks(run), due_alone(run), due_confirmations(run, spec.confirm))
        if "ended" in run.metadata and not any(due):
            planned = len(run.plan.experiments)
            raise InputError(f"nothing is missing in {folder}: all {planned} experiments are done")
        for words in _differences(run, assets, mixed_versions):
            view.note(words)
        on_error.pop_all()
    work = _Work(run, spec, start, assets, view, stop or Stop(), engine)
    with work.open_for("resume", rules=spec.stop) as (session, executor):
        work.carry_out(session, executor)
    return run


@dataclass(frozen=True, slots=True)
class Replayed:
    """One experiment done again: its record in the run (None where it is not done yet), and those of now, in the order
    they came."""

    planned: PlannedExperiment
    first: ExperimentRecord | None
    again: tuple[ExperimentRecord, ...]


def replay_experiments(
    folder: Path,
    identifiers: Sequence[str],
    assets: Assets,
    view: CampaignView,
    *,
    times: int = 1,
    overrides: Overrides | None = None,
    mixed_versions: bool = False,
    stop: Stop | None = None,
    engine: Engine = LocalExecutor,
) -> tuple[Replayed, ...]:
    """Does planned experiments `times` again, each time on a fresh sandbox, judged by the run's own golden runs, and
    keeps them as repeats; one that is named twice counts once. InputError if one is not in the plan, or as for
    resume_campaign."""
    with open_run(folder, writable=True) as run:
        named = list(dict.fromkeys(run.one_planned_id(beginning) for beginning in identifiers))
        known = {planned.id: planned for planned in run.plan.experiments}
        earlier, start = _as_begun(run)
        spec = (overrides or Overrides()).over(earlier).of(_spec_of(run))
        for words in _differences(run, assets, mixed_versions):
            view.note(words)
        before = {each: sum(1 for _ in _replays(run, each)) for each in named}
        tasks = [Task(known[each], Purpose.REPLAY) for each in named for _ in range(times)]
        work = _Work(run, spec, start, assets, view, stop or Stop(), engine)
        what = named[0] if len(named) == 1 else f"{len(named)} experiments"
        with work.open_for(f"replay {what}", close=False, rules=None) as (session, executor):
            work.tell(tasks)
            session.work(executor, tasks)
        return tuple(Replayed(known[n], run.record(n), tuple(_replays(run, n))[before[n] :]) for n in named)


class _Work:
    """What a session on a run takes."""

    def __init__(
        self, run: Run, spec: CampaignSpec, start: Path, assets: Assets, view: CampaignView, stop: Stop, engine: Engine
    ) -> None:
        self._run, self._spec, self._assets, self._view, self._stop = run, spec, assets, view, stop
        self._settings, self._engine, self._parallel = spec.to_sandbox_settings(start), engine, 1

    @contextlib.contextmanager
    def open_for(self, why: str, *, rules: StopRules | None, close: bool = True) -> Iterator[tuple[Session, Executor]]:
        """A session with its executor. At the end, whatever happens, nothing is left running and the session is ended
        in words; on errors the run is closed, too."""
        with contextlib.ExitStack() as on_error:
            if close:
                on_error.callback(self._run.close)
            self._parallel = sandboxes_for(self._spec, len(self._run.plan.experiments))
            self._run.begin_session({"why": why, **session_document(self._assets, self._parallel)})
            bench = bench_of(self._run, self._left_out)
            session = Session(self._run, bench, self._view, stop=self._stop, rules=rules)
            executor = self._executor()
            with self._ending(), session.closing(executor):
                yield session, executor
            on_error.pop_all()

    def _left_out(self, identifier: str, why: str) -> None:
        self._view.note(f"the golden run {identifier} is not gone by: {why}")

    def carry_out(self, session: Session, executor: Executor) -> None:
        """What is missing; then, by the judgement of the whole, what is to be done again alone, and what is to be
        confirmed."""
        missing = missing_tasks(self._run)
        self.tell(missing or due_alone(self._run))
        session.work(executor, missing)
        session.judge_again()
        if self._stop.why is None and (late := due_alone(self._run)):
            if missing:
                why = "one at a time: what was late beside others, and golden runs to measure it by"
                self._view.more(len(late), why)
            session.work(executor, late)
            session.judge_again()
        if "ended" not in self._run.metadata and not missing_tasks(self._run) and not due_alone(self._run):
            self._run.note("ended", now())
        again = due_confirmations(self._run, self._spec.confirm) if self._stop.why is None else []
        if again:
            self._view.more(len(again), "to confirm findings on fresh sandboxes")
            session.work(executor, again)

    def tell(self, tasks: Sequence[Task]) -> None:
        planned = [task.planned for task in tasks if task.purpose is Purpose.PLANNED]
        golden = sum(each.golden for each in planned)
        self._view.planned(
            golden=golden,
            faults=len(planned) - golden,
            repeats=len(tasks) - len(planned),
            sandboxes=self._parallel,
            folder=self._run.folder,
            done=len(self._run.finished_ids()),
        )

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        why = "interrupted"
        try:
            yield
            why = self._stop.why or "done"
        except Exception as error:
            why = f"failed: {error if isinstance(error, MutineerError) else repr(error)}"
            raise
        finally:
            with contextlib.suppress(StoreError):  # a full disk, say; what it was is being raised
                self._run.end_session(why)

    def _executor(self) -> Executor:
        limits = self._spec.time_limits
        return self._engine(
            binaries=self._assets,
            settings=self._settings,
            limits=limits.of_experiment(heal=self._spec.heal),
            experiment_s=limits.deadline_s(heal=self._spec.heal),
            parallel=self._parallel,
            progress=self._view,
            logs=self._run.folder / "logs",
        )


def _spec_of(run: Run) -> CampaignSpec:
    own = run.metadata.get("own_workloads")
    known = own if isinstance(own, dict) else {}
    return parse_spec(run.spec_text, file=str(run.folder / "spec.yaml"), own_workloads=known)


def _as_begun(run: Run) -> tuple[Overrides, Path]:
    """What the command line said when the run began, and where the spec's relative paths start."""
    known = run.metadata
    said, start = known.get("overrides"), known.get("beside")
    names = {field.name for field in dataclasses.fields(Overrides)}
    overrides = Overrides(**{k: v for k, v in said.items() if k in names}) if isinstance(said, dict) else Overrides()  # type: ignore[arg-type]
    return overrides, Path(start) if isinstance(start, str) else Path.cwd()


def _differences(run: Run, assets: Assets, mixed: bool) -> list[str]:
    """What was another version when the run began, in words. InputError unless such are to be mixed; mutineer itself
    may be newer."""
    known = run.metadata.get("versions")
    before = known if isinstance(known, dict) else {}
    here = versions(assets)
    other = [name for name in here if before.get(name, here[name]) != here[name]]
    differ = [f"{name} {before[name]} then, {here[name]} now" for name in other]
    if not mixed and (binaries := [words for words in differ if not words.startswith("mutineer ")]):
        raise InputError(
            f"{run.folder} was begun with other versions: {'; '.join(binaries)}. Golden runs of one version are no "
            "measure for another; --mixed-versions does it all the same"
        )
    return [f"another version than the run began with: {words}" for words in differ]


def _replays(run: Run, identifier: str) -> Iterator[ExperimentRecord]:
    return (each.record for each in run.repeats(identifier, Purpose.REPLAY, observations=False))
