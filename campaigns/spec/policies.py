"""What a spec says of when a campaign stops by itself, and of which findings it does again.

    stop:
      after: 8h            # or minutes (90m), seconds (45s, or a number)
      experiments: 500
      findings: 20
      errors: 10           # in a row
    confirm:
      classes: [stall, outage]
      times: 1

What was begun is finished, and the run goes on with `mutineer resume`. All of it counts from the start of the session:
a resumed run has the same again.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from campaigns.spec.cluster_spec import Model

__all__ = ["ConfirmPolicy", "StopRules"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(value: object) -> float:
    """`90m` or a number of seconds."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)) and float(match[1]) > 0:
        return float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    raise ValueError(f"expected a time such as 8h, 90m or 45s, got {value!r}")


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?[smh]$"}]}
    ),
]
Count = Annotated[int, Field(ge=1)]
OrchestratorClass = Literal["outage", "stall", "network", "more-resources", "less-resources", "timing"]


class StopRules(Model):
    """When no more experiments are begun, besides when all are done. Whatever comes first; null: never by this one."""

    after: Duration | None = Field(None, description="So long after the start of the session: 8h, 90m, 45s, or seconds")
    experiments: Count | None = Field(None, description="So many experiments with a fault were done in the session")
    findings: Count | None = Field(None, description="So many of them had a class, of cluster or clients, but none")
    errors: Count | None = Field(10, description="The harness failed in so many experiments in a row")


class ConfirmPolicy(Model):
    """Findings that are done again, on a fresh sandbox each time, once the whole plan is done and judged."""

    classes: list[OrchestratorClass] = Field(["stall", "outage"], min_length=1, description="Of the cluster's failure")
    times: int = Field(1, ge=1, le=20, description="How often each of them is done again")
