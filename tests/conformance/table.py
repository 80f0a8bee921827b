"""docs/conformance.md, from the state and cannot.yaml. Values in, text out."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.conformance.cases import Case
from tests.conformance.state import Result, Status

__all__ = ["host", "page"]

_WORDS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.TIMEOUT: "ran out of time",
    Status.SKIPPED: "skipped",
}
_CANNOT, _NOT_RUN = "can't", "not yet run"
_ORDER = ("passed", "failed", "ran out of time", "skipped", _CANNOT, _NOT_RUN)


def host() -> str:
    """The machine in words, e.g. `2 cores, 23 GiB, kernel 6.18, Python 3.11.2`."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GiB, kernel {platform.release()}, Python {platform.python_version()}"


def page(
    cases: Sequence[Case], *, results: Mapping[str, Result], cannot: Mapping[str, str], version: str, machine: str,
    images: Iterable[tuple[str, str]],
) -> str:  # fmt: skip
    """The whole page.

    cannot   case name → why
    version  of Kubernetes, suite and cluster alike
    machine  where it ran, in words
    images   name and what runs instead of it
    """
    outcomes = {case.name: _outcome(case, results, cannot) for case in cases}
    known = [results[case.name] for case in cases if case.name in results]
    lines = [
        "# Conformance: upstream's own tests against the sandbox",
        "",
        "Written by `make conformance` (`python -m tests.conformance`), not by hand. The reasons of those that can't",
        "pass stand in [cannot.yaml](../tests/conformance/cannot.yaml).",
        "",
        *_counts(Counter(outcomes.values())),
        "",
        f"- suite: the {len(cases)} `[Conformance]` cases of Kubernetes {version}, its own e2e.test, a process a case",
        "- cluster: a sandbox of the same version, through the unarmed forwarder; a fresh one every 60 cases",
        *_how(known, machine),
        "",
        "## Groups",
        "",
        "| group | " + " | ".join(_ORDER) + " |",
        "|---|" + "---|" * len(_ORDER),
    ]
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    for name, members in groups.items():
        counts = Counter(outcomes[case.name] for case in members)
        lines.append(f"| [{name}](#{name}) | " + " | ".join(str(counts[word]) for word in _ORDER) + " |")
    for name, members in groups.items():
        lines += ["", f"## {name}", "", "| case | outcome | seconds | |", "|---|---|---|---|"]
        lines += [
            _row(case, outcomes[case.name], results.get(case.name), cannot.get(case.name, "")) for case in members
        ]
    lines += ["", "## Images", "", "What runs where a case names an image:", "", "| image | what runs |", "|---|---|"]
    lines += [f"| `{name}` | {_escape(what)} |" for name, what in images]
    return "\n".join(lines) + "\n"


def _outcome(case: Case, results: Mapping[str, Result], cannot: Mapping[str, str]) -> str:
    """A case that can't pass is one even if it has run: a reason was found afterwards."""
    if case.name in cannot:
        return _CANNOT
    return _WORDS[results[case.name].status] if case.name in results else _NOT_RUN


def _counts(counts: Counter[str]) -> list[str]:
    head = " | ".join(_ORDER)
    return [f"| {head} | in all |", "|---|" + "---|" * len(_ORDER),
            "| " + " | ".join(f"**{counts[word]}**" for word in _ORDER) + f" | {counts.total()} |"]  # fmt: skip


def _how(known: Sequence[Result], machine: str) -> list[str]:
    if not known:
        return [f"- machine: {machine}"]
    commits = Counter(result.commit for result in known).most_common()
    days = sorted(result.at[:10] for result in known)
    return [
        f"- machine: {machine}; at most {max(result.beside for result in known) + 1} cases at a time",
        f"- commit: {', '.join(f'{commit} ({count} cases)' for commit, count in commits)}",
        f"- run: {days[0]}{f' to {days[-1]}' if days[-1] != days[0] else ''}, "
        f"{sum(result.seconds for result in known) / 60:.0f} min of cases",
    ]


def _row(case: Case, outcome: str, result: Result | None, why: str) -> str:
    seconds = f"{result.seconds:.1f}" if result and outcome not in (_CANNOT, _NOT_RUN) else ""
    note = why
    if not why and result:
        note = result.message
        if result.status is Status.PASSED and result.failed_before:
            note = f"failed {result.failed_before} times before at this commit"
            note += ", passed alone" if not result.beside else ""
    shown = outcome if outcome == "passed" else f"**{outcome}**"
    return f"| {_escape(case.title)} | {shown} | {seconds} | {_escape(note)} |"


def _escape(text: str) -> str:
    """Markdown and HTML that upstream's names and messages may hold by chance."""
    for mark in "\\`*_[]|":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("<", "&lt;").replace(">", "&gt;")
