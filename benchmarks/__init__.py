"""Measurements with goals. `python -m benchmarks` runs all of them; each module's `measure` gives its figures.

A figure that compares two things comes from rounds that alternate between them, so that whatever else the machine does
meets both alike, and is the median over the rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Figure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. `goal` is the bound it should keep (`at_least` tells which side), None where it is only told.
    `profile`: what it is made of, a line each: shown where the goal is missed."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False
    profile: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal
