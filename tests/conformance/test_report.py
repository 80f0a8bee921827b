from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from tests.conformance.report import MESSAGE_LENGTH, Outcome, read_report
from tests.conformance.state import Status

NAME = "[sig-node] Pods shouldn't fly [Conformance]"
PROGRESS = """[TIMEDOUT] A suite timeout occurred
    In [It] (Node Runtime: 14.692s)
      At [By Step] creating pod (Step Runtime: 14.692s)
        pods.go:76
"""


def entry(name: str, status: str, inside: str = "", *, time: str = "2.5") -> str:
    return f'<testcase name={quoteattr(name)} status="{status}" time="{time}">{inside}</testcase>'


def junit(tmp_path: Path, *entries: str) -> Path:
    others = entry("[It] [sig-x] another", "skipped", '<skipped message="skipped"></skipped>', time="0")
    path = tmp_path / "junit_01.xml"
    path.write_text(f"<testsuites><testsuite>{others}{''.join(entries)}{others}</testsuite></testsuites>")
    return path


def test_a_pass_has_no_message(tmp_path: Path) -> None:
    assert read_report(junit(tmp_path, entry(f"[It] {NAME}", "passed")), NAME) == Outcome(Status.PASSED, 2.5)


def test_a_failure_is_told_by_its_first_line_and_kept_whole(tmp_path: Path) -> None:
    failure = '<failure message="pod ran &#xA;away" type="failed">[FAILED] pod ran\nIn [It] at: pods.go:7</failure>'
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", "failed", failure)), NAME)
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.FAILED, "pod ran")
    assert "In [It] at: pods.go:7" in outcome.detail


def test_a_failure_without_a_message_of_its_own_is_told_by_the_text(tmp_path: Path) -> None:
    failure = '<failure message="" type="failed">[FAILED] Expected pod to run\nmore</failure>'
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", "failed", failure)), NAME)
    assert outcome is not None
    assert outcome.message == "Expected pod to run"


def test_a_first_line_that_announces_the_second_brings_it_along_and_long_ones_are_cut(tmp_path: Path) -> None:
    failure = f'<failure message="Unexpected error:&#xA;    {"x" * 999}" type="failed">d</failure>'
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", "failed", failure)), NAME)
    assert outcome is not None
    assert outcome.message.startswith("Unexpected error: xxx")
    assert len(outcome.message) == MESSAGE_LENGTH


@pytest.mark.parametrize("status", ["timedout", "interrupted"])
def test_a_case_that_ran_out_of_time_says_at_which_step(tmp_path: Path, status: str) -> None:
    failure = f'<failure message="" type="{status}">{PROGRESS}</failure>'
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", status, failure)), NAME)
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.TIMEOUT, "ran out of time at: creating pod")


def test_a_panic_is_a_failure_in_words(tmp_path: Path) -> None:
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", "panicked", "<error></error>")), NAME)
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.FAILED, "panicked")


def test_a_case_that_skips_itself_says_why(tmp_path: Path) -> None:
    inside = '<skipped message="skipped - needs 9 nodes"></skipped>'
    outcome = read_report(junit(tmp_path, entry(f"[It] {NAME}", "skipped", inside)), NAME)
    assert outcome == Outcome(Status.SKIPPED, 2.5, "skipped - needs 9 nodes")


def test_a_failed_set_up_is_the_cases_failure(tmp_path: Path) -> None:
    failure = '<failure message="no nodes" type="failed"></failure>'
    unrun = entry(f"[It] {NAME}", "skipped", '<skipped message="skipped"></skipped>', time="0")
    outcome = read_report(junit(tmp_path, entry("[SynchronizedBeforeSuite]", "failed", failure), unrun), NAME)
    assert outcome is not None
    assert (outcome.status, outcome.message) == (Status.FAILED, "no nodes")


def test_a_report_in_which_the_case_did_not_run_tells_nothing(tmp_path: Path) -> None:
    unrun = entry(f"[It] {NAME}", "skipped", '<skipped message="skipped"></skipped>')
    assert read_report(junit(tmp_path, unrun), NAME) is None
    assert read_report(junit(tmp_path), NAME) is None


def test_a_missing_or_broken_off_report_tells_nothing(tmp_path: Path) -> None:
    assert read_report(tmp_path / "none.xml", NAME) is None
    path = junit(tmp_path, entry(f"[It] {NAME}", "failed"))
    path.write_text(path.read_text()[:60])
    assert read_report(path, NAME) is None
