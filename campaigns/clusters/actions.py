"""What can be done to a component or a node. Apart from the Protocol, so that a plan can name it without loading what
does it."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Action"]


class Action(StrEnum):
    """What can be done to a component or a node."""

    STOP = "stop"
    """Ended in good order, and stays so until START."""
    START = "start"
    PAUSE = "pause"
    """Stands still, its connections open, until RESUME."""
    RESUME = "resume"
    KILL = "kill"
    """Ended without notice. A component is started again as the cluster would; a node stays dead until START."""
    RESTART = "restart"
