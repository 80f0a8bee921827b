"""Draws a campaign's faults from recordings: by strata, by budget, by seed. Pure.

Which of a stratum are drawn is decided by the hash of the seed and of what each fault is, so that it is the same on any
machine and with any Python, and the larger of two samples holds all that the smaller one has of a stratum. Each that is
drawn is tried on the recorded bytes, with the code that will carry it out; what does nothing or can't be done is left
out, and another takes its place.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from campaigns.planning.candidates import Candidate, candidates
from campaigns.planning.generation import UNASKED
from campaigns.planning.recording import Recording, Subject
from campaigns.planning.sites import LeftOut, Surrounded, Traffic
from campaigns.planning.strata import Stratum, allocate
from campaigns.spec.fault_checks import check_fault
from campaigns.spec.sample_spec import Choice, SampleSpec
from injector.corrupt import corrupt
from injector.errors import InjectionError
from injector.roles import dependency_of, has_role
from injector.rules import JSONValue
from injector.targets import Channel

__all__ = ["Drawn", "NotPlanned", "Planned", "draw"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of the sample."""

    workload: str
    candidate: Candidate
    stratum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPlanned:
    """What was left out, and why: so many messages, fields or faults."""

    workload: str
    channel: str
    why: str
    number: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """The sample."""

    faults: tuple[Planned, ...]
    strata: tuple[Stratum, ...]
    left_out: tuple[NotPlanned, ...]


def draw(sample: SampleSpec, recordings: Mapping[str, Recording], *, seed: int) -> Drawn:
    """The faults that `sample` asks for, in these workloads, by their names."""
    population: dict[str, list[Planned]] = defaultdict(list)
    left_out: dict[str, LeftOut] = {}
    traffics = {workload: Traffic(recording) for workload, recording in recordings.items()}
    for workload, traffic in traffics.items():
        noted = left_out[workload] = LeftOut()
        for candidate in _asked_for(sample, traffic, seed, noted):
            stratum = "/".join(_VALUES[name](workload, candidate) for name in sample.strata)
            population[stratum].append(Planned(workload, candidate, stratum))
    wanted = allocate({name: len(faults) for name, faults in population.items()}, sample.budget, sample.at_least)
    chosen: list[Planned] = []
    strata = []
    for name in sorted(population):
        ranked = _ranked(population[name], seed, wanted[name])
        drawn, refused = _accepted(ranked, wanted[name], traffics, left_out)
        chosen += drawn
        if refused < len(population[name]):
            possible = _possible(len(population[name]), len(drawn), refused)
            strata.append(Stratum(name=name, population=possible, planned=len(drawn)))
    lines = (
        NotPlanned(workload=workload, channel=channel.value, why=why, number=number)
        for workload, noted in left_out.items()
        for (channel, why), number in sorted(noted.counts.items())
    )
    return Drawn(tuple(chosen), tuple(strata), tuple(lines))


def _possible(population: int, drawn: int, refused: int) -> int:
    """How many of a stratum can be done: of those that were tried, as many as were drawn; of the others, the share."""
    tried = drawn + refused
    return drawn + round((population - tried) * drawn / tried) if tried else population


_VALUES: Mapping[str, Callable[[str, Candidate], str]] = {
    "workload": lambda workload, _: workload,
    "channel": lambda _, candidate: candidate.site.channel.value,
    "model": lambda _, candidate: candidate.family,
    "role": lambda _, candidate: candidate.role,
    "dependency": lambda _, candidate: _dependency(candidate),
    "kind": lambda _, candidate: candidate.site.subject.kind,
    "operation": lambda _, candidate: (candidate.site.operation or "stored").replace("/", "-"),
}


def _dependency(candidate: Candidate) -> str:
    found = dependency_of(candidate.site.subject.kind, candidate.site.path) if candidate.site.path else None
    return found.value if found is not None else candidate.role


def _asked_for(sample: SampleSpec, traffic: Traffic, seed: int, left_out: LeftOut) -> Iterator[Candidate]:
    chosen = _Chosen(sample.targets.include, sample.targets.exclude)
    unasked = {kind: why for kind, why in UNASKED.items() if kind not in sample.targets.kinds}
    for channel in Channel:
        if channel.value not in sample.channels:
            continue

        for kind in (subject.kind for subject in traffic.subjects(channel) if chosen.meant(subject)):
            if kind in unasked:
                left_out.note(channel, f"{kind}: {unasked[kind]}")

        def asked(subject: Subject) -> bool:
            return chosen.meant(subject) and subject.kind not in unasked

        seen: set[str] = set()
        for candidate in candidates(
            traffic, channel, sample.models, seed=seed, left_out=left_out, asked=asked, wanted=chosen.field
        ):
            if (content := candidate.content) not in seen:
                seen.add(content)
                yield candidate


@dataclass(frozen=True)
class _Chosen:
    """What a spec's targets take in and leave out."""

    include: Choice
    exclude: Choice

    def meant(self, subject: Subject) -> bool:
        """By kind and namespace."""
        kind, namespace = subject.kind, subject.namespace
        included = (not self.include.kinds or kind in self.include.kinds) and (
            not self.include.namespaces or namespace in self.include.namespaces
        )
        return included and kind not in self.exclude.kinds and namespace not in self.exclude.namespaces

    def field(self, kind: str, own: str, path: str) -> bool:
        """campaigns.planning.candidates.Wanted"""
        if self._included is not None and not self._included.fullmatch(path):
            return False
        if self._excluded is not None and self._excluded.fullmatch(path):
            return False

        def has(role: str) -> bool:
            return role == own or (bool(path) and has_role(kind, path, role))

        included = not self.include.roles or any(has(role) for role in self.include.roles)
        return included and not any(has(role) for role in self.exclude.roles)

    @cached_property
    def _included(self) -> re.Pattern[str] | None:
        return _globs(self.include.paths)

    @cached_property
    def _excluded(self) -> re.Pattern[str] | None:
        return _globs(self.exclude.paths)


def _globs(globs: Sequence[str]) -> re.Pattern[str] | None:
    """`*` stands for anything; brackets for themselves."""
    each = [".*".join(re.escape(part) for part in glob.split("*")) for glob in globs]
    return re.compile("|".join(each)) if each else None


def _ranked(faults: Sequence[Planned], seed: int, wanted: int) -> Iterator[Planned]:
    """In the order in which the seed draws them: those that are wanted first, more only if some of them can't be."""
    ranks = [(hashlib.sha256(f"{seed}:{each.candidate.content}".encode()).digest(), i) for i, each in enumerate(faults)]
    first = heapq.nsmallest(wanted, ranks)
    yield from (faults[number] for _, number in first)
    last = first[-1] if first else None
    yield from (faults[number] for rank, number in sorted(ranks) if last is None or (rank, number) > last)


def _accepted(
    ranked: Iterator[Planned], wanted: int, traffics: Mapping[str, Traffic], left_out: Mapping[str, LeftOut]
) -> tuple[list[Planned], int]:
    """The first that the injector takes, and how many before them it did not."""
    drawn: list[Planned] = []
    refused = 0
    while len(drawn) < wanted:
        planned = next(ranked, None)
        if planned is None:
            break
        why = _refusal(planned.candidate, traffics[planned.workload])
        if why is None:
            drawn.append(planned)
        else:
            left_out[planned.workload].note(planned.candidate.site.channel, f"drawn, but {why}")
            refused += 1
    return drawn, refused


def _refusal(candidate: Candidate, traffic: Traffic) -> str | None:
    """Why it can't be planned, None if it can."""
    site, target = candidate.site, candidate.target
    identity = {"identity": target.identity} if target.identity else {}
    document: dict[str, JSONValue] = {
        "channel": site.channel.value,
        "model": candidate.model,
        "parameters": dict(candidate.parameters),
        "target": {"kind": target.kind, "group": target.group, **identity, "field": target.field,
                   "operation": target.operation, "occurrence": target.occurrence,
                   **({"component": target.component} if target.component else {})},
    }  # fmt: skip
    problems = check_fault(document, file="recording", where="")
    if problems:
        return problems[0].message
    if site.value is None or site.value.content is None:
        return None
    try:
        _try_out(candidate, traffic, site.value.content)
    except InjectionError as error:
        return str(error)
    return None


def _try_out(candidate: Candidate, traffic: Traffic, content: bytes) -> None:
    """FaultError or CodecError where it can't be done to the recorded bytes."""
    site = candidate.site
    around = Surrounded(site.before, traffic)
    corrupt(content, candidate.model, candidate.parameters, site.path or None, around=around)
