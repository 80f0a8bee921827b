"""Where the time goes."""

from __future__ import annotations

from campaigns.running.timing import Stopwatch, overhead_s, whole_s


def test_parts_follow_each_other_without_a_gap_and_add_up() -> None:
    watch = Stopwatch()
    watch.enter("boot", 10.0)
    watch.enter("idle", 12.0)
    watch.enter("driving", 12.5)
    watch.enter("idle", 14.0)
    assert watch.take("idle", 15.0) == {"boot": 2.0, "idle": 1.5, "driving": 1.5}
    assert watch.take("idle", 15.25) == {"idle": 0.25}


def test_a_moment_that_comes_late_makes_no_negative_time() -> None:
    """The worker's words carry its own clock; they may be read after the runner has entered another part."""
    watch = Stopwatch()
    watch.enter("idle", 10.0)
    watch.enter("driving", 9.9)
    assert watch.take("idle", 11.0) == {"idle": 0.0, "driving": 1.0}


def test_overhead_is_what_is_neither_workload_nor_observing_nor_reset_and_judging_is_beside() -> None:
    times = {"boot": 1.0, "idle": 0.5, "arming": 0.25, "driving": 4.0, "canary": 2.0, "resetting": 1.0,
             "collecting": 0.125, "telling": 0.125, "judging": 7.0}  # fmt: skip
    assert whole_s(times) == 9.0 and overhead_s(times) == 2.0
