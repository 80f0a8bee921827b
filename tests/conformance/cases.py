"""The conformance cases: which there are, which can't pass here, which are to be run. Values in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

__all__ = ["Cannot", "Case", "cannot_reasons", "parse_cannot", "parse_cases", "select"]

LIMIT_S = 420
"""Seconds for one case. Upstream waits 5 min for a pod (test/e2e/framework/timeouts.go), and tidies up afterwards."""
SLOW_LIMIT_S = 1200
"""Cases that upstream marks [Slow] take more than 2 min each, CronJob's up to 6 on an idle machine."""


@dataclass(frozen=True, slots=True)
class Case:
    """name: as upstream has it, e.g. `[sig-node] Pods should get a host IP [NodeConformance] [Conformance]`."""

    name: str
    file: str

    @property
    def group(self) -> str:
        """`sig-node`"""
        found = re.match(r"\[(sig-[^\]]+)\]", self.name)
        return found[1] if found else "other"

    @property
    def title(self) -> str:
        """The name without what all of the group's names have."""
        return self.name.removeprefix(f"[{self.group}] ").removesuffix(" [Conformance]")

    @property
    def alone(self) -> bool:
        """Upstream: must not run beside others."""
        return "[Serial]" in self.name or "[Disruptive]" in self.name

    @property
    def limit_s(self) -> int:
        return SLOW_LIMIT_S if "[Slow]" in self.name else LIMIT_S

    @property
    def focus(self) -> str:
        """A Go regular expression that matches this case alone (ginkgo puts the suite's name before it)."""
        return re.escape(self.name) + "$"


@dataclass(frozen=True, slots=True)
class Cannot:
    """One entry of cannot.yaml."""

    cases: str
    why: str


def parse_cases(text: str) -> list[Case]:
    """What `e2e.test --list-conformance-tests` prints, in its order. ValueError on names that are not unique."""
    cases = [Case(entry["codename"], entry["file"]) for entry in yaml.safe_load(text)]
    names = [case.name for case in cases]
    if len({*names}) != len(names):
        raise ValueError("two conformance cases have the same name")
    return cases


def parse_cannot(text: str) -> list[Cannot]:
    """cannot.yaml. ValueError on anything but `cases` and `why`."""
    entries: list[Any] = yaml.safe_load(text) or []
    for entry in entries:
        if {*entry} != {"cases", "why"} or not all(isinstance(value, str) and value for value in entry.values()):
            raise ValueError(f"cannot.yaml: expected the keys cases and why, both text, got {entry!r}")
    return [Cannot(entry["cases"], " ".join(entry["why"].split())) for entry in entries]


def cannot_reasons(cases: Sequence[Case], entries: Iterable[Cannot]) -> dict[str, str]:
    """Case name → why it can't pass; the first entry that matches counts. ValueError for entries that match nothing:
    upstream has renamed a case, or somebody mistyped it."""
    reasons: dict[str, str] = {}
    for entry in entries:
        matched = [case.name for case in cases if re.search(entry.cases, case.name)]
        if not matched:
            raise ValueError(f"cannot.yaml: {entry.cases!r} matches no conformance case")
        for name in matched:
            reasons.setdefault(name, entry.why)
    return reasons


def select(
    cases: Iterable[Case], *, cannot: Mapping[str, str], focus: str | None, leave_out: Iterable[str] = (),
    only: Iterable[str] | None = None,
) -> list[Case]:  # fmt: skip
    """Those to run, in upstream's order, those that must run alone last.

    focus      regular expression, searched for in the name
    leave_out  names that are done
    only       names to keep; None: all
    """
    left_out, kept = {*leave_out}, None if only is None else {*only}
    chosen = [
        case
        for case in cases
        if case.name not in cannot
        and case.name not in left_out
        and (kept is None or case.name in kept)
        and (focus is None or re.search(focus, case.name))
    ]
    return sorted(chosen, key=lambda case: case.alone)  # stable
