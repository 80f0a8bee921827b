from __future__ import annotations

from typing import Any

import pytest

from campaigns.judging.comparison import Change, Ended, Row, Side, compare, ended
from campaigns.judging.statistics import Pairs, difference, mcnemar, paired_difference, wilson
from campaigns.record import PlannedExperiment
from classifiers.verdict import Activation, ClientFailure, OrchestratorFailure, State, Verdict

JUDGED = State.JUDGED


def end(identifier: str, orchestrator: str = "none", client: str = "none", **changes: Any) -> Ended:
    built: dict[str, Any] = {"id": identifier, "workload": "deploy", "state": JUDGED, "fired": True}
    built |= {"orchestrator": OrchestratorFailure(orchestrator), "client": ClientFailure(client), **changes}
    return Ended(**built)


def unjudged(identifier: str, *, fired: bool = True, stratum: str = "") -> Ended:
    return Ended(
        id=identifier,
        workload="deploy",
        state=State.INCONCLUSIVE,
        fired=fired,
        orchestrator=None,
        client=None,
        stratum=stratum,
    )


def side(*all_ended: Ended, name: str = "a", planned: tuple[str, ...] = (), **changes: Any) -> Side:
    ids = frozenset((*(each.id for each in all_ended), *planned))
    return Side(name=name, planned=ids, ended={each.id: each for each in all_ended}, **changes)


def row(rows: tuple[Row, ...], failure: str, of: str = "orchestrator") -> Row:
    return next(each for each in rows if (each.of, each.failure) == (of, failure))


def test_what_ended_otherwise_is_listed_the_gravest_turn_for_the_worse_first() -> None:
    a = side(end("e1"), end("e2", "stall"), end("e3"), end("e4", client="slower"), end("e5", "network"))
    b = side(end("e1", "network"), end("e2"), end("e3", "outage"), end("e4"), end("e5", "network"), name="b")
    found = compare(a, b)
    assert [(each.id, each.worse) for each in found.changed] == [
        ("e3", True),
        ("e1", True),
        ("e2", False),
        ("e4", False),
    ]
    assert (found.same, found.unclear, found.only_a, found.only_b) == (1, (), 0, 0)


def test_what_was_judged_in_one_run_alone_is_no_change_but_is_said() -> None:
    unclear = unjudged("e1")
    not_fired = end("e2", fired=False)
    a, b = side(end("e1", "stall"), end("e2"), end("e3")), side(unclear, not_fired, end("e3"), name="b")
    found = compare(a, b)
    assert found.changed == ()
    assert found.unclear == (Change(a.ended["e1"], unclear), Change(a.ended["e2"], not_fired))
    assert [each.b.words for each in found.unclear] == ["inconclusive", "not fired"]
    assert "2 of 3 experiments of b were not judged; they are in no share." in found.caveats


def test_shares_of_the_same_experiments_are_compared_in_pairs() -> None:
    a = side(*(end(f"e{n}", "stall" if n < 3 else "none") for n in range(10)), end("only-a", "stall"))
    b = side(*(end(f"e{n}", "stall" if 2 <= n < 8 else "none") for n in range(10)), name="b")
    stall = row(compare(a, b).rows, "stall")
    pairs = Pairs(both=1, only_a=2, only_b=5, neither=2)
    assert stall == Row(
        of="orchestrator",
        failure="stall",
        count_a=4,
        count_b=6,
        judged_a=11,
        judged_b=10,
        a=wilson(4, 11),
        b=wilson(6, 10),
        change=paired_difference(pairs),
        pairs=pairs,
        p=mcnemar(pairs),
    )


def test_without_a_common_experiment_they_are_two_samples() -> None:
    a, b = side(end("e1", client="slower"), end("e2")), side(end("e3"), end("e4"), name="b")
    found = compare(a, b)
    slower = row(found.rows, "slower", "client")
    assert slower.change == difference(wilson(1, 2), wilson(0, 2))
    assert (slower.pairs, slower.p) == (None, None)
    assert any("No experiment was judged in both runs" in words for words in found.caveats)


def test_where_nothing_was_judged_there_is_no_share_and_no_change() -> None:
    stall = row(compare(side(end("e1", "stall")), side(planned=("e1",), name="b")).rows, "stall")
    assert (stall.b, stall.change, stall.count_b) == (None, None, 0)


def test_a_share_is_weighted_where_the_strata_have_weights() -> None:
    drawn = [end(f"e{n}", "stall" if n < 3 else "none", stratum="few") for n in range(10)]
    drawn += [end(f"f{n}", "stall" if n < 1 else "none", stratum="many") for n in range(40)]
    weighted = side(*drawn, weights={"few": 100, "many": 900})
    found = row(compare(weighted, side(name="b")).rows, "stall")
    assert found.a is not None and found.a.estimate == pytest.approx(0.0525)
    plain = row(compare(side(*drawn), side(name="b")).rows, "stall")
    assert plain.a == wilson(4, 50)
    unknown = side(*drawn, weights={"few": 100, "many": 900, "none": 10})
    said = "Shares of a are weighted by its strata; of 1 of its 3 strata nothing was judged."
    assert said in compare(unknown, side(name="b")).caveats
    assert not any("weighted" in words for words in compare(side(*drawn), side(name="b")).caveats)


def test_what_differs_between_the_runs_is_named() -> None:
    a = side(
        end("e1"),
        end("e2"),
        metadata={"versions": {"kubernetes": "1.36.3", "etcd": "3.6.8"}, "cluster": {"nodes": 3}, "host": {"cores": 2}},
    )
    b = side(
        end("e1"),
        end("e3", workload="scale"),
        planned=("e4",),
        name="b",
        metadata={"versions": {"kubernetes": "1.37.0", "etcd": "3.6.8"}, "cluster": {"nodes": 5}, "host": {}},
    )
    assert list(compare(a, b).caveats) == [
        "The versions differ: kubernetes 1.36.3 → 1.37.0.",
        "The clusters differ: nodes 3 → 5.",
        "The machines differ, which moves what is slower or late: cores 2 → not recorded.",
        "The workloads differ: deploy → deploy, scale.",
        "The plans differ: of the planned experiments 1 are only in a and 2 are only in b.",
        "1 of 3 experiments of b are not finished.",
        "1 pairs are few: a kind of change that befalls up to 79 % of the experiments can stay unseen in them.",
        "Each experiment ran once in each run: one that ended otherwise may do so by chance (`mutineer replay RUN ID "
        "--times N` tells how stable it is).",
        "The faults were chosen, not drawn at random: the shares describe these lists of faults.",
        "Every interval holds by itself with 95 %: of many that are looked at, one in twenty misses.",
    ]


def test_many_pairs_of_drawn_experiments_under_the_same_conditions_leave_little_to_say() -> None:
    same = {"versions": {"etcd": "3.6.8"}, "sampled": True}
    drawn = [end(f"e{n}") for n in range(100)]
    found = compare(side(*drawn, metadata=same), side(*drawn, name="b", metadata=same))
    assert [words.split(":")[0].split(" (")[0] for words in found.caveats] == [
        "Each experiment ran once in each run",
        "A change is estimated from the experiments in both runs, without the strata's weights.",
        "Every interval holds by itself with 95 %",
    ]


def test_how_an_experiment_ended_is_told_by_its_verdict() -> None:
    planned = PlannedExperiment(id="e1", workload="deploy")
    made = Verdict(state=State.INCONCLUSIVE, reasons=("no",), activation=Activation.NOT_FIRED)
    assert ended(planned, made, stratum="few") == unjudged("e1", fired=False, stratum="few")
