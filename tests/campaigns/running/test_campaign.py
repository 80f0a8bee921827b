"""Campaigns from their spec to the record, with an executor that knows at once what came of each experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.judging import rejudging
from campaigns.judging.agreement import agreement, agreements
from campaigns.record import ExperimentRecord, Purpose, Result
from campaigns.running import host
from campaigns.running.campaign import Overrides, replay_experiments, resume_campaign, run_campaign
from campaigns.running.executor import FailedAttempt, Task
from campaigns.running.host import Host
from campaigns.running.session import missing_tasks
from campaigns.running.stopping import Stop
from campaigns.spec.campaign_spec import parse_spec
from campaigns.store import Run, open_run
from classifiers.numbers import ALONE_GOLDENS
from classifiers.verdict import OrchestratorFailure, State
from injector.errors import ClusterError, InputError, StoreError
from tests.builders import canary, faulty, goldens, pods
from tests.campaigns.builders import SPEC


class Engine:
    """Knows the results: golden runs are golden, the first fault stalls the cluster, others take a pod. `repeated`:
    what the repeats of the stall saw, one after another. `late`: milestones of the others, instead, and alone.
    `breaks_after`: so many results, then it can't go on."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.done: list[Task] = []
        self.repeated: Iterator[dict[str, Any]] = iter(())
        self.breaks_after: int | None = None
        self.late: dict[str, float] | None = None
        self.blind: set[Purpose] = set()
        self.late_alone: dict[str, float] = {}
        self.finishing = False

    def __call__(self, **settings: Any) -> Engine:
        self.made.append(settings)
        self.finishing = False
        return self

    def run(self, tasks: Sequence[Task]) -> Iterator[Result | FailedAttempt]:
        for task in tasks:
            if self.finishing:
                return
            if self.breaks_after is not None and len(self.done) >= self.breaks_after:
                raise ClusterError("sandboxes do not start")
            self.done.append(task)
            yield self._result(task, len(self.done))

    def _result(self, task: Task, number: int) -> Result:
        rule = task.planned.rule
        if task.purpose in self.blind:
            return Result(
                planned=task.planned, observation=None, error="it broke", reset=None, seconds=1.0, sandbox="s",
                purpose=task.purpose,
            )  # fmt: skip
        if rule is None:
            seen = replace(goldens(8)[number % 8], r0=number)
        elif rule.model == "value-set":
            stalled = {"canary": canary(pod_ready=None, endpoints=None, traffic=None)}
            seen = faulty(**(stalled if task.purpose is Purpose.PLANNED else next(self.repeated)))
        elif self.late is not None:
            seen = faulty(milestones=self.late_alone if task.purpose is Purpose.ALONE else self.late)
        else:
            seen = faulty(pods=pods(5))
        return Result(
            planned=task.planned, observation=seen, error=None, reset=None, seconds=1.0, sandbox="s",
            purpose=task.purpose, trace=b"trace" if rule else None,
        )  # fmt: skip

    def finish(self) -> None:
        self.finishing = True

    def close(self) -> None:
        pass

    def retire(self, sandbox: str) -> None:
        raise AssertionError(f"{sandbox} is retired")

    def unfinished(self) -> Iterator[Result | FailedAttempt]:
        return iter(())


STALLED: dict[str, Any] = {"canary": canary(pod_ready=None, endpoints=None, traffic=None)}


class View:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.plans: list[dict[str, Any]] = []
        self.on_finished: Callable[[Purpose], object] = lambda purpose: None

    def planned(self, **figures: Any) -> None:
        figures.pop("folder")
        self.plans.append(figures)

    def more(self, repeats: int, why: str) -> None:
        self.notes.append(f"{repeats} more")

    def sandbox(self, name: str, state: str) -> None:
        raise AssertionError("an engine's, and this one says nothing")

    def finished(self, record: ExperimentRecord, purpose: Purpose) -> None:
        self.seen.append((record.planned.id, purpose.value))
        self.on_finished(purpose)

    def note(self, words: str) -> None:
        self.notes.append(words)


class Made:
    """A campaign in a folder, with its engine and view."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine, self.view, self.stop = folder, Engine(), View(), Stop()
        self.assets: Any = Versioned("1")

    def run(self, text: str = SPEC, **said: Any) -> Run:
        spec = parse_spec(text, file="small.yaml")
        return run_campaign(
            spec, text, self.folder, self.assets, self.view, beside=self.folder.parent, overrides=Overrides(**said),
            stop=self.stop, engine=self.engine,
        )  # fmt: skip

    def resume(self, *, mixed_versions: bool = False, **said: Any) -> Run:
        return resume_campaign(
            self.folder, self.assets, self.view, overrides=Overrides(**said), mixed_versions=mixed_versions,
            stop=Stop(), engine=self.engine,
        )  # fmt: skip


class Versioned(dict[str, Path]):
    """Binaries of a version."""

    def __init__(self, version: str) -> None:
        super().__init__(etcd=Path("/nowhere"))
        self.entries, self.origins = {"etcd": SimpleNamespace(version=version)}, {"etcd": "nowhere"}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """On a machine that bears three sandboxes."""
    monkeypatch.setattr(Host, "this", classmethod(lambda cls: cls(2, 24 << 30, "6", "3.11")))
    monkeypatch.setattr(host, "available_bytes", lambda: 20 << 30)
    monkeypatch.setattr(host, "inotify_free", lambda: 400)
    monkeypatch.setattr(rejudging, "load", lambda: ())
    monkeypatch.setattr(rejudging, "load", lambda: ())
    return Made(tmp_path / "run")


def test_a_campaign_does_its_whole_plan_and_judges_it_by_all_golden_runs(made: Made) -> None:
    with made.run() as run:
        assert [task.planned.id for task in made.engine.done] == [planned.id for planned in run.plan.experiments]
        classes = {r.planned.why: r.verdict.orchestrator for r in run.records() if not r.planned.golden}
        assert classes == {
            "a wrong word": OrchestratorFailure.STALL,
            "a lost pod": OrchestratorFailure.LESS_RESOURCES,
        }
        assert all(r.verdict.state is State.JUDGED for r in run.records()), "the first golden runs, too"
        (session,) = run.sessions()
        assert (session.why, session.added, session.document["why"]) == ("done", 6, "run")
        assert "ended" in run.metadata
        assert run.trace(next(r.planned.id for r in run.records() if not r.planned.golden)) == b"trace"
    assert made.view.plans == [{"golden": 4, "faults": 2, "repeats": 0, "sandboxes": 3, "done": 0}]


def test_a_resume_does_what_is_missing_with_what_the_command_line_said_then(made: Made) -> None:
    made.engine.breaks_after = 3
    with pytest.raises(ClusterError):
        made.run(parallelism=3, seed=9)
    with open_run(made.folder) as left:
        assert len(left.finished_ids()) == 3 and left.sessions()[-1].why == "failed: sandboxes do not start"
        missing = [task.planned.id for task in missing_tasks(left)]
        assert left.metadata["seed"] == 9
    made.engine.breaks_after = None
    made.engine.done.clear()
    with made.resume() as run:
        assert [task.planned.id for task in made.engine.done] == missing
        assert run.finished_ids() == {planned.id for planned in run.plan.experiments}
        judged = {r.planned.id: r.verdict.state for r in run.records()}
        assert set(judged.values()) == {State.JUDGED}, "by the golden runs of the session before, too"
        assert [session.why for session in run.sessions()] == ["failed: sandboxes do not start", "done"]
    assert [settings["parallel"] for settings in made.engine.made] == [3, 3]
    assert made.view.plans[1]["done"] == 3


def test_a_whole_run_has_nothing_to_resume_and_stays_as_it_is(made: Made) -> None:
    made.run().close()
    with pytest.raises(InputError, match=r"nothing is missing in .*: all 6 experiments are done"):
        made.resume()
    with open_run(made.folder, writable=True) as free:
        assert len(free.sessions()) == 1


def test_other_versions_are_refused_unless_they_are_to_be_mixed_and_then_told(made: Made) -> None:
    made.engine.breaks_after = 3
    with pytest.raises(ClusterError):
        made.run()
    made.engine.breaks_after, made.assets = None, Versioned("2")
    with pytest.raises(InputError, match="begun with other versions: etcd 1 then, 2 now"):
        made.resume()
    with made.resume(mixed_versions=True) as run:
        assert len(run.finished_ids()) == 6
    assert "another version than the run began with: etcd 1 then, 2 now" in made.view.notes


def test_a_run_that_another_process_adds_to_is_not_resumed(made: Made) -> None:
    with made.run(), pytest.raises(StoreError, match="is locked: process"):
        made.resume()


def test_findings_are_confirmed_once_all_is_done_and_the_record_says_how_often_they_came_again(made: Made) -> None:
    made.engine.repeated = iter([STALLED, {}])
    with made.run(SPEC + "confirm: {classes: [stall], times: 2}\n") as run:
        assert [task.purpose for task in made.engine.done] == [*[Purpose.PLANNED] * 6, *[Purpose.CONFIRM] * 2]
        (found,) = agreements(run, Purpose.CONFIRM)
        assert (found.was, found.same, found.times, found.again) == ("stall", 1, 2, ("stall", "none"))
        assert [repeat.number for repeat in run.repeats()] == [1, 2]
    assert made.view.notes == ["2 more"]
    with pytest.raises(InputError, match="nothing is missing"):
        made.resume()


def test_findings_of_a_run_that_was_done_without_can_be_confirmed_later(made: Made) -> None:
    made.run().close()
    made.engine.repeated = iter([STALLED])
    with made.resume(confirm=True) as run:
        assert [found.same for found in agreements(run, Purpose.CONFIRM)] == [1]
        assert len(list(run.records())) == 6


LATE = {"applied": 0.2, "pods-ready": 2.1, "traffic": 4.0, "settled": 16.0}


def classes(run: Run) -> list[str]:
    """Of the faults, in the order they were done."""
    return [each.verdict.orchestrator or each.verdict.state for each in run.records() if not each.planned.golden]


@pytest.mark.parametrize(
    ("alone", "come_to"), [(LATE, OrchestratorFailure.TIMING), ({**LATE, "settled": 6.0}, OrchestratorFailure.NONE)]
)
def test_what_was_late_beside_others_counts_by_how_it_went_alone(
    made: Made, alone: dict[str, float], come_to: OrchestratorFailure
) -> None:
    made.engine.late, made.engine.late_alone = LATE, alone
    with made.run() as run:
        again = [task.planned.golden for task in made.engine.done if task.alone]
        late = len(again) - sum(again)
        assert again == [True] * sum(again) + [False] * late and late >= 1, "golden runs first"
        assert sum(again) == min(ALONE_GOLDENS, run.planned_count(golden=True))
        assert made.view.notes == [f"{len(again)} more"]
        assert classes(run).count(come_to) == late and "ended" in run.metadata
    with pytest.raises(InputError, match="nothing is missing"):
        made.resume()


def test_what_stops_before_it_was_done_again_alone_has_nothing_concluded_from_it_until_a_resume(made: Made) -> None:
    made.engine.late, made.engine.late_alone = LATE, LATE
    made.view.on_finished = lambda purpose: purpose is Purpose.ALONE and made.stop.ask("enough")
    with made.run() as run:
        assert OrchestratorFailure.TIMING not in classes(run) and State.INCONCLUSIVE in classes(run)
        assert "ended" not in run.metadata
    with made.resume() as run:
        assert OrchestratorFailure.TIMING in classes(run) and State.INCONCLUSIVE not in classes(run)
        golden = [task.planned.id for task in made.engine.done if task.alone and task.planned.golden]
        assert len(golden) == len(set(golden)) == min(ALONE_GOLDENS, run.planned_count(golden=True))
        assert "ended" in run.metadata


def test_an_attempt_alone_that_told_nothing_is_made_again_by_a_resume(made: Made) -> None:
    made.engine.late, made.engine.late_alone = LATE, LATE
    made.engine.blind = {Purpose.ALONE}
    with made.run() as run:
        assert OrchestratorFailure.TIMING not in classes(run) and "ended" not in run.metadata
        first = sum(task.alone for task in made.engine.done)
    made.engine.blind = set()
    with made.resume() as run:
        assert OrchestratorFailure.TIMING in classes(run) and State.INCONCLUSIVE not in classes(run)
        assert sum(task.alone for task in made.engine.done) == 2 * first
        assert made.view.plans[-1]["golden"] == made.view.plans[-1]["faults"] == 0 < made.view.plans[-1]["repeats"]


def test_of_a_run_that_was_done_one_at_a_time_a_replay_beside_others_changes_nothing(made: Made) -> None:
    made.engine.late = LATE
    with made.run(parallelism=1) as run:
        late = next(r.planned.id for r in run.records() if r.verdict.orchestrator is OrchestratorFailure.TIMING)
    replay_experiments(
        made.folder, [late], made.assets, made.view, overrides=Overrides(parallelism=3), engine=made.engine
    )
    with open_run(made.folder, writable=True) as run:
        rejudging.rejudge(run)
        assert OrchestratorFailure.TIMING in classes(run)


def test_where_one_experiment_runs_at_a_time_what_is_late_counts_at_once(made: Made) -> None:
    made.engine.late = LATE
    with made.run(parallelism=1) as run:
        assert OrchestratorFailure.TIMING in classes(run) and not any(task.alone for task in made.engine.done)


def test_what_stops_early_confirms_nothing_and_a_resume_does_both(made: Made) -> None:
    made.engine.repeated = iter([STALLED])
    with made.run(SPEC + "stop: {experiments: 1}\n", confirm=True) as run:
        assert made.stop.why == "stop.experiments: 1 were done" and not list(run.repeats())
        assert len(run.finished_ids()) < 6 and run.sessions()[-1].why == made.stop.why
    with made.resume() as run:
        assert len(run.finished_ids()) == 6


def test_a_replay_is_judged_by_the_runs_golden_runs_and_kept_beside_the_first(made: Made) -> None:
    with made.run() as run:
        stall = next(planned for planned in run.plan.experiments if planned.why == "a wrong word")
    made.engine.repeated = iter([STALLED, {}, STALLED])
    (replayed,) = replay_experiments(
        made.folder, [stall.id[:5]], made.assets, made.view, times=3, stop=Stop(), engine=made.engine
    )
    assert replayed.first is not None and replayed.planned == stall
    found = agreement(replayed.first, replayed.again)
    assert (found.was, found.same, found.times, found.again) == ("stall", 2, 3, ("stall", "none", "stall"))
    with open_run(made.folder) as run:
        assert len(list(run.records())) == 6 and [each.purpose for each in run.repeats()] == ["replay"] * 3
        assert run.sessions()[-1].document["why"] == f"replay {stall.id}"
    made.engine.repeated = iter([{}])
    (again,) = replay_experiments(made.folder, [stall.id], made.assets, made.view, engine=made.engine)
    assert len(again.again) == 1, "only those of now"


def test_several_are_replayed_in_one_session_and_one_that_is_named_twice_once(made: Made) -> None:
    with made.run() as run:
        stall, lost = sorted((p for p in run.plan.experiments if not p.golden), key=lambda p: p.why, reverse=True)
    made.engine.done.clear()
    made.engine.repeated = iter([STALLED, {}])
    named = [lost.id, stall.id, stall.id[:8]]
    replayed = replay_experiments(made.folder, named, made.assets, made.view, times=2, engine=made.engine)
    assert [(each.planned, len(each.again)) for each in replayed] == [(lost, 2), (stall, 2)]
    assert [agreement(each.first, each.again).same for each in replayed if each.first] == [2, 1]
    assert [task.planned.id for task in made.engine.done] == [lost.id] * 2 + [stall.id] * 2
    with open_run(made.folder) as run:
        assert run.sessions()[-1].document["why"] == "replay 2 experiments" and len(run.sessions()) == 2


def test_a_golden_run_that_is_replayed_is_judged_and_is_no_golden_run_of_the_run(made: Made) -> None:
    with made.run() as run:
        golden = next(planned for planned in run.plan.experiments if planned.golden)
    (replayed,) = replay_experiments(made.folder, [golden.id], made.assets, made.view, engine=made.engine)
    assert [record.verdict.orchestrator for record in replayed.again] == [OrchestratorFailure.NONE]
    with open_run(made.folder) as run:
        assert len(list(run.goldens())) == 4


def test_an_experiment_that_is_not_in_the_plan_is_refused_in_words(made: Made) -> None:
    made.run().close()
    with pytest.raises(InputError, match=r"no one experiment 'zz' in .*: none begins so"):
        replay_experiments(made.folder, ["zz"], made.assets, made.view, engine=made.engine)
    with pytest.raises(InputError, match=r"no one experiment '' in .*: 6 begin so: "):
        replay_experiments(made.folder, [""], made.assets, made.view, engine=made.engine)


def test_a_run_that_was_left_while_all_was_judged_again_is_judged_by_a_resume(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("campaigns.running.session.rejudge", _interrupted)
        made.run()
    done = len(made.engine.done)
    with made.resume() as run:
        assert len(made.engine.done) == done and "ended" in run.metadata
        assert all(record.verdict.state is State.JUDGED for record in run.records(observations=False))
    with pytest.raises(InputError, match="nothing is missing"):
        made.resume()


def _interrupted(run: Run) -> None:
    raise KeyboardInterrupt


def test_a_replay_of_an_unfinished_run_does_not_end_it_and_no_stop_rule_holds_for_it(made: Made) -> None:
    text = SPEC + "stop: {experiments: 1}\n"
    with made.run(text) as run:
        first = next(record.planned.id for record in run.records(observations=False) if not record.planned.golden)
        assert missing_tasks(run)
    made.engine.repeated = iter([STALLED] * 3)
    (done,) = replay_experiments(made.folder, [first], made.assets, made.view, times=3, engine=made.engine)
    assert len(done.again) == 3
    with open_run(made.folder) as run:
        assert "ended" not in run.metadata


def test_experiments_in_which_the_harness_failed_for_the_first_time_count_as_errors_in_a_row(made: Made) -> None:
    made.engine._result = lambda task, number: FailedAttempt(task, "no space")  # type: ignore[method-assign]
    with made.run(SPEC + "stop: {errors: 2}\n") as run:
        assert len(made.engine.done) == 2 and len(run.failed_attempts()) == 2
    assert made.stop.why == "stop.errors: the harness failed in 2 experiments in a row"


def test_ctrl_c_after_a_rule_is_the_first_ctrl_c() -> None:
    stop, asked = Stop(), list[str]()
    stop.listen(lambda: asked.append("finish"))
    assert stop.ask("stop.after: 2 h are over") and stop.ask("Ctrl-C", interrupted=True)
    assert stop.why == "stop.after: 2 h are over" and stop.interrupted and len(asked) == 2
    assert not stop.ask("Ctrl-C", interrupted=True), "the second is for whoever raises"
