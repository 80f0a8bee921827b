"""How far faults got over a run: adding up, and reading it from the store by several processes."""

from __future__ import annotations

from pathlib import Path

from campaigns.judging.aftermath import Aftermath
from campaigns.judging.spreading import Row, Spread, rows, spread_of, spreads
from campaigns.store import create_run
from classifiers.final_state import Difference, What
from classifiers.propagation import Healed, Propagation, Taken
from tests.builders import faulty, firing
from tests.campaigns.builders import SPEC, record, small_plan
from tests.mutineer.test_aftermath import FAULT, KEY, PLAN, WRITES, trace_of, with_replicas


def taken(by: str, steps: int | None) -> Taken:
    return Taken(identity=f"Pod/default/{by}", field="spec.x", at_s=1.0, by=by, steps=steps)


def ended(identity: str) -> Difference:
    return Difference(identity=identity, what=What.MADE)


def test_of_an_experiment_is_told_what_others_took_over_who_healed_it_and_which_others_ended_otherwise() -> None:
    went = Propagation(
        taken=(taken("kcm", 1), taken("scheduler", 3), taken("kcm", None)),
        healed=Healed(at_s=2.0, after_s=1.5, by="kcm"),
    )
    own = firing().identity
    after = Aftermath(went, (ended(own), ended("Pod/default/a"), ended("Pod/default/b"), ended("Job/default/c")))
    assert spread_of(record(), after) == Spread(
        id=record().planned.id, stored=True, taken=3, through=("kcm", "scheduler"), furthest=3, healed_s=1.5,
        healer="kcm", otherwise=("Pod", "Pod", "Job"),
    )  # fmt: skip
    assert spread_of(record(), Aftermath(None, None)) == Spread(id=record().planned.id)


def test_rows_count_experiments_the_most_frequent_first_and_all_last() -> None:
    known = {
        "a": Spread(id="a", stored=True, taken=2, through=("kcm",), furthest=2, healed_s=1.0, otherwise=("Pod", "Pod")),
        "b": Spread(id="b", stored=True, taken=1, through=("kcm", "x"), furthest=1, healed_s=3.0, otherwise=("Pod",)),
        "c": Spread(id="c"),
    }
    told = rows(known, {"c": "one", "a": "two", "b": "two", "without a trace": "one"})
    assert [row.name for row in told] == ["two", "one", "all"]
    assert told[0] == Row(
        name="two", experiments=2, stored=2, taken=2, furthest=2, healed=2, healed_s=2.0, otherwise=2,
        through={"kcm": 2, "x": 1}, kinds={"Pod": 2},
    )  # fmt: skip
    assert told[1] == Row(
        name="one", experiments=1, stored=0, taken=0, furthest=None, healed=0, healed_s=None, otherwise=None
    )
    assert (told[2].experiments, told[2].taken, told[2].kinds) == (3, 2, {"Pod": 2})
    assert rows({}, {"a": "one"}) == ()


def test_a_run_is_read_by_several_processes_and_what_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    other = next(each for each in small_plan().experiments if not each.golden and each.id != FAULT.id)
    fired = firing(key=KEY, identity="Deployment/default/web", field="spec.x", revision=11)
    with create_run(tmp_path / "run", SPEC, PLAN, {}) as run:
        for planned in (each for each in PLAN.experiments if each.golden):
            whole = record(planned)
            assert whole.observation is not None
            run.add(record(planned, observation=faulty(writes=WRITES, firings=())), trace=trace_of(with_replicas(3)))
        for planned in (FAULT, other):
            broken = b"broken" if planned is other else trace_of(with_replicas(11))
            run.add(record(planned, observation=faulty(writes=WRITES, firings=(fired,))), trace=broken)
    found = spreads(tmp_path / "run", [FAULT.id, other.id], lambda done, of: seen.append((done, of)))
    assert set(found) == {FAULT.id} and found[FAULT.id].otherwise == (), "its own object is not another"
    assert seen == [(1, 2), (2, 2)]
