from __future__ import annotations

from tests.conformance.cases import Case
from tests.conformance.state import Result, Status
from tests.conformance.table import host, page

CASES = [Case(f"[sig-{group}] {words} [Conformance]", "x.go") for group, words in (
    ("node", "passes"), ("node", "fails"), ("node", "skips"), ("apps", "hangs"), ("apps", "cannot"), ("apps", "waits"),
    ("apps", "flakes [Slow]"),
)]  # fmt: skip
NAMES = {case.title.split()[0]: case.name for case in CASES}


def result(status: Status, message: str = "", *, commit: str = "abc", beside: int = 0, failed: int = 0) -> Result:
    return Result(
        status=status, seconds=90, message=message, log="", commit=commit, at="2026-01-02T03:04:05+00:00",
        beside=beside, failed_before=failed,
    )  # fmt: skip


RESULTS = {
    NAMES["passes"]: result(Status.PASSED, beside=3),
    NAMES["fails"]: result(Status.FAILED, "expected <a|b> *c*"),
    NAMES["skips"]: result(Status.SKIPPED, "skipped - needs IPv6"),
    NAMES["hangs"]: result(Status.TIMEOUT, "ran out of time at: waiting"),
    NAMES["cannot"]: result(Status.FAILED, "an old failure"),
    NAMES["flakes"]: result(Status.PASSED, commit="def", failed=1),
}


def made(results: dict[str, Result] | None = None) -> str:
    return page(
        CASES, results=RESULTS if results is None else results, cannot={NAMES["cannot"]: "no cgroups"},
        version="v1.2.3", machine="a machine", images=[("registry/agnhost:1", "the real one")],
    )  # fmt: skip


def test_the_head_counts_every_case_once() -> None:
    assert "| **2** | **1** | **1** | **1** | **1** | **1** | 7 |" in made()


def test_the_head_says_what_ran_where_and_of_which_commits() -> None:
    text = made()
    assert "7 `[Conformance]` cases of Kubernetes v1.2.3" in text
    assert "a machine; at most 4 cases at a time" in text
    assert "commit: abc (5 cases), def (1 cases)" in text
    assert "run: 2026-01-02, 9 min of cases" in text


def test_groups_are_counted_and_listed_in_upstreams_order() -> None:
    text = made()
    assert "| [sig-node](#sig-node) | 1 | 1 | 0 | 1 | 0 | 0 |" in text
    assert "| [sig-apps](#sig-apps) | 1 | 0 | 1 | 0 | 1 | 1 |" in text
    assert text.index("## sig-node") < text.index("| passes |") < text.index("| fails |") < text.index("## sig-apps")


def test_a_failure_shows_its_message_with_all_marks_escaped() -> None:
    assert r"| fails | **failed** | 90.0 | expected &lt;a\|b&gt; \*c\* |" in made()


def test_a_case_that_cannot_pass_shows_its_reason_even_if_it_has_run() -> None:
    assert "| cannot | **can't** |  | no cgroups |" in made()


def test_other_outcomes_say_why() -> None:
    text = made()
    assert "| passes | passed | 90.0 |  |" in text
    assert "| skips | **skipped** | 90.0 | skipped - needs IPv6 |" in text
    assert "| hangs | **ran out of time** | 90.0 | ran out of time at: waiting |" in text
    assert "| waits | **not yet run** |  |  |" in text


def test_a_pass_after_failures_says_so() -> None:
    assert r"| flakes \[Slow\] | passed | 90.0 | failed 1 times before at this commit, passed alone |" in made()


def test_a_page_before_the_first_run_names_the_machine_only() -> None:
    text = made({})
    assert "- machine: a machine\n" in text
    assert "commit" not in text


def test_images_are_listed() -> None:
    assert "| `registry/agnhost:1` | the real one |" in made()


def test_the_host_is_told_in_words() -> None:
    assert "cores" in host() and "GiB" in host()
