from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.cases import Cannot, Case, cannot_reasons, parse_cannot, parse_cases, select

PLAIN = Case("[sig-node] Pods should get a host IP [NodeConformance] [Conformance]", "a.go")
SERIAL = Case("[sig-apps] Daemon set [Serial] should run [Conformance]", "b.go")
SLOW = Case("[sig-apps] CronJob should not schedule jobs when suspended [Slow] [Conformance]", "c.go")
ALL = [SERIAL, PLAIN, SLOW]


def test_upstreams_list_is_read_in_its_order() -> None:
    text = f"- codename: '{SERIAL.name}'\n  file: b.go\n  release: v1.9\n- codename: '{PLAIN.name}'\n  file: a.go\n"
    assert parse_cases(text) == [SERIAL, PLAIN]


def test_two_cases_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="same name"):
        parse_cases("- {codename: x, file: a}\n- {codename: x, file: b}\n")


def test_a_case_knows_its_group_its_title_and_whether_it_runs_alone() -> None:
    assert (PLAIN.group, PLAIN.title, PLAIN.alone) == ("sig-node", "Pods should get a host IP [NodeConformance]", False)
    assert SERIAL.alone
    assert Case("[sig-node] Taints [Disruptive] evicts [Conformance]", "").alone
    assert Case("no group [Conformance]", "").group == "other"


def test_a_slow_case_has_a_longer_limit() -> None:
    assert SLOW.limit_s > PLAIN.limit_s


def test_the_focus_matches_the_case_after_the_suites_name_and_no_longer_name() -> None:
    case = Case("[sig-x] a.b (root,0644) *not* `quoted` [Conformance]", "")
    assert re.search(case.focus, f"Kubernetes e2e suite {case.name}")
    assert not re.search(case.focus, f"{case.name} and more")
    assert not re.search(case.focus, case.name.replace("a.b", "a-b"))


def test_the_first_reason_that_matches_counts() -> None:
    entries = [Cannot("CronJob", "first"), Cannot(r"\[sig-apps\]", "second")]
    assert cannot_reasons(ALL, entries) == {SLOW.name: "first", SERIAL.name: "second"}


def test_a_reason_that_matches_no_case_is_an_error() -> None:
    with pytest.raises(ValueError, match="'Pods should fly' matches no conformance case"):
        cannot_reasons(ALL, [Cannot("Pods should fly", "wings")])


@pytest.mark.parametrize("text", ["- cases: x\n", "- {cases: x, why: ''}\n", "- {cases: x, why: y, more: z}\n"])
def test_a_reason_without_case_or_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the keys cases and why"):
        parse_cannot(text)


def test_the_reasons_that_ship_can_be_read_and_are_one_line_each() -> None:
    entries = parse_cannot((Path(__file__).parent / "cannot.yaml").read_text())
    assert entries
    for entry in entries:
        re.compile(entry.cases)
        assert "\n" not in entry.why


def test_without_a_wish_all_are_chosen_but_those_that_cannot_and_serial_ones_come_last() -> None:
    assert select(ALL, cannot={}, focus=None) == [PLAIN, SLOW, SERIAL]
    assert select(ALL, cannot={PLAIN.name: "why"}, focus=None) == [SLOW, SERIAL]


def test_focus_what_is_done_and_only_narrow_the_choice_together() -> None:
    assert select(ALL, cannot={}, focus="sig-apps") == [SLOW, SERIAL]
    assert select(ALL, cannot={}, focus="sig-apps", leave_out=[SLOW.name]) == [SERIAL]
    assert select(ALL, cannot={}, focus=None, only=[PLAIN.name, SLOW.name], leave_out=[SLOW.name]) == [PLAIN]
    assert select(ALL, cannot={}, focus=None, only=[]) == []
