"""How many sandboxes a machine bears side by side. Pure; what a machine has is asked by campaigns.running.host.

An experiment mostly waits: for pods to start, for the cluster to come to rest, for clients to go on for a while. So
cores bear more sandboxes than there are cores, up to the point where golden runs take longer. The number is

    min( cores · BUSY_SHARE · EXPERIMENT_WALL_S / EXPERIMENT_CPU_S,        rounded down
         available memory / SANDBOX_BYTES,
         free inotify instances / INOTIFY_PER_SANDBOX,
         experiments )                                                      and one at least
"""

from __future__ import annotations

from campaigns.environment import INOTIFY_PER_SANDBOX

__all__ = ["BUSY_SHARE", "EXPERIMENT_CPU_S", "EXPERIMENT_WALL_S", "SANDBOX_BYTES", "sandboxes_side_by_side"]

EXPERIMENT_WALL_S = 11.0
EXPERIMENT_CPU_S = 2.6
"""A golden deploy experiment with its reset, alone on two cores (`python -m benchmarks experiment`)."""
BUSY_SHARE = 0.5
"""Of the machine, on the average, by golden runs: what comes on top is the start of fresh sandboxes (about as much
CPU as four experiments each), and bursts, for pods start at once. Arbitrary within what was measured."""
SANDBOX_BYTES = 1_600 << 20
"""Memory of one sandbox under load: 960 MB were measured (control-plane notes), and pods and probes come on top."""


def sandboxes_side_by_side(cores: int, available_bytes: int, inotify_free: int, wanted: int) -> int:
    """The number; at least one, which is tried in any case, and no more than there are experiments (`wanted`)."""
    borne = int(cores * BUSY_SHARE * EXPERIMENT_WALL_S / EXPERIMENT_CPU_S)
    watched = inotify_free // INOTIFY_PER_SANDBOX
    return max(1, min(borne, available_bytes // SANDBOX_BYTES, watched, wanted))
