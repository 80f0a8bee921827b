"""How many sandboxes a machine bears side by side. Pure; what a machine has is asked by campaigns.running.host.

An experiment mostly waits: for pods to start, for the cluster to come to rest, for clients to go on for a while. So
cores bear more sandboxes than there are cores, until they are busy. The number is

    min( cores · BUSY_SHARE / SANDBOX_CORES,                                rounded down
         available memory / SANDBOX_BYTES,
         free inotify instances / INOTIFY_PER_SANDBOX,
         experiments )                                                      and one at least
"""

from __future__ import annotations

from campaigns.environment import INOTIFY_PER_SANDBOX

__all__ = ["BUSY_SHARE", "SANDBOX_BYTES", "SANDBOX_CORES", "sandboxes_side_by_side"]

SANDBOX_CORES = 0.55
"""Kept busy by a sandbox at work on faults of `paper` in deploy and scale: three side by side on two cores took 1.65 of
them over a minute, all processes and the kernel counted. With four the cores were full, and fewer experiments were
done: 784 an hour, not 820 (`python -m benchmarks campaign --minutes 5 --sandboxes N`)."""
BUSY_SHARE = 0.9
"""Of the machine. Beyond it each experiment takes longer, and none comes of it."""
SANDBOX_BYTES = 1_600 << 20
"""Memory of one sandbox under load: 960 MB were measured (control-plane notes), and pods and probes come on top."""


def sandboxes_side_by_side(cores: int, available_bytes: int, inotify_free: int, wanted: int) -> int:
    """The number; at least one, which is tried in any case, and no more than there are experiments (`wanted`)."""
    borne = int(cores * BUSY_SHARE / SANDBOX_CORES)
    watched = inotify_free // INOTIFY_PER_SANDBOX
    return max(1, min(borne, available_bytes // SANDBOX_BYTES, watched, wanted))
