"""What a format is given, what it is, and the registry of those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from campaigns.judging.gate import Gate, Outcome
from campaigns.record import ExperimentRecord, PlannedExperiment
from campaigns.store import Run
from mutineer.report.sentences import what_was_done

__all__ = ["Experiment", "Exported", "Format", "Registry", "exported"]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One planned experiment with a fault. `record` (without its observation) is None while it is not finished.
    `broken`: the limits of the gate that it breaks, in words; empty where no policy was given."""

    planned: PlannedExperiment
    record: ExperimentRecord | None
    broken: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What was done. It holds no value of a stored object."""
        assert self.planned.rule is not None
        return what_was_done(self.planned.rule, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A run: its experiments in the order of the plan. `gate` is None where no policy was given. `started` is ISO 8601,
    "" where it is not known; `golden` is how many golden runs were done."""

    name: str
    experiments: tuple[Experiment, ...]
    gate: Gate | None = None
    started: str = ""
    golden: int = 0


class Format(Protocol):
    """One format."""

    name: str
    """As `--format` has it."""
    description: str
    """One line for the help."""

    def write(self, run: Exported, out: BinaryIO) -> None:
        """Writes the whole run."""


class Registry:
    """Formats by name; a name that is taken is a ValueError."""

    def __init__(self) -> None:
        self._formats: dict[str, Format] = {}

    def add(self, made: Format) -> None:
        if made.name in self._formats:
            raise ValueError(f"a format named {made.name!r} is registered already")
        self._formats[made.name] = made

    def names(self) -> tuple[str, ...]:
        """In order of registration."""
        return tuple(self._formats)

    def __getitem__(self, name: str) -> Format:
        return self._formats[name]

    def __iter__(self) -> Iterator[Format]:
        return iter(self._formats.values())


def exported(run: Run, records: dict[str, ExperimentRecord], gate: Gate | None) -> Exported:
    """The values of a run, of which `records` (by id) are finished. `gate`: of the policy that the user gave."""
    broken: dict[str, list[str]] = {}
    for check in gate.checks if gate is not None else ():
        if check.outcome is Outcome.FAILED:
            words = f"{check.what}: {check.allowed}, found {check.found} of {check.of} {check.of_what}"
            for each in check.experiments:
                broken.setdefault(each, []).append(words + (f" ({check.why})" if check.why else ""))
    started = run.metadata.get("started")
    return Exported(
        name=run.folder.resolve().name,
        experiments=tuple(
            Experiment(planned, records.get(planned.id), tuple(broken.get(planned.id, ())))
            for planned in run.plan.experiments
            if planned.rule is not None
        ),
        gate=gate,
        started=started if isinstance(started, str) else "",
        golden=sum(record.planned.golden for record in records.values()),
    )
