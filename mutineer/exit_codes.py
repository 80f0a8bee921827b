"""The exit codes of the `mutineer` command: documented, stable."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """0 is fine also for a campaign with findings: it did its job."""

    OK = 0
    GATE_FAILED = 1
    INPUT = 2
    """Wrong usage or input; click uses the same."""
    ENVIRONMENT = 3
    """The harness or its environment failed."""
    INCONCLUSIVE = 4
    """More inconclusive experiments than the policy allows; a rule that was armed by hand and never matched."""
    INTERRUPTED = 130
    """Ctrl-C, as shells have it (128 + SIGINT)."""
