"""The numbers that define the classes: how long is a stall, what is late, what is a peak. They stand here and
nowhere else.

Each has its unit and its source or reason. Where a threshold is drawn from golden runs it is
`median ± max(floor, ratio * median, SPREADS * 1.4826 * MAD)` and never inside what golden runs themselves did:
a fault-free run that got so far has shown that it needs no fault to get there.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALONE_GOLDENS",
    "BACK_FOR_GOOD_S",
    "BEHIND_S",
    "CANARY_S",
    "COUNT_LASTS_S",
    "COUNT_SHIFT_S",
    "CRASH_LOOP_RESTARTS",
    "DORMANT_S",
    "ERROR_RATE_MARGIN",
    "ERROR_RATE_SIGMAS",
    "FINAL_MIN_SAMPLES",
    "FINAL_WINDOW_S",
    "HEAL_S",
    "LATENCY_FLOOR_S",
    "LATENCY_QUANTILE",
    "LATENCY_RATIO",
    "LOG_ERRORS",
    "LOSS_STOOD_S",
    "MAD_TO_SIGMA",
    "METRIC_RISE",
    "MIN_FAILURES",
    "MIN_GOLDENS",
    "MIN_LATENCY_SAMPLES",
    "MIN_SAMPLES",
    "MOSTLY_FAILS",
    "NOISY_LEAST",
    "NOISY_SHARE",
    "NOT_READY_S",
    "PEAK_SURGE",
    "QUIET_S",
    "RUNAWAY_FACTOR",
    "RUNAWAY_PER_S",
    "SETTLE_S",
    "SPREADS",
    "STEADY_S",
    "STUCK_S",
    "TIMING_FLOOR_S",
    "TIMING_RATIO",
    "UNSERVED_S",
    "UNSPOKEN_S",
    "VOLATILE_FIELDS",
    "VOLATILE_KINDS",
    "WRITES_SLACK",
]

MIN_GOLDENS: Final = 3
"""Golden runs. With one or two there is no spread to speak of: a median absolute deviation needs three."""

NOISY_SHARE: Final = 0.2
"""Share of golden runs. Where something is wrong without a fault in more than one of five, what is seen with one tells
little of the fault: of ten experiments without any effect two would be called failures."""

NOISY_LEAST: Final = 2
"""Golden runs in which something was wrong. One may be chance, however few they are."""

ALONE_GOLDENS: Final = 5
"""Golden runs made alone, of each workload of which something was late beside others. Nothing disturbs them, so they
agree within a second, and the floors below decide; two more than the least, in case that one can't be judged."""

MAD_TO_SIGMA: Final = 1.4826
"""Dimensionless. Makes the median absolute deviation comparable to a standard deviation (1 / Φ⁻¹(3/4), normal data)."""

SPREADS: Final = 6.0
"""Standard deviations. One false alarm in 1e9 for normal data; arrival times have longer tails, so the floor and the
ratio below do the work when golden runs agree well, and this one when they do not."""

TIMING_FLOOR_S: Final = 3.0
"""Seconds later than the golden median that are never called late. Arbitrary, because: kube-proxy syncs at most once a
second (its default minSyncPeriod), the kubelet's sync loop and an image back-off step are of the same size, and
sandboxes side by side on 2 cores took 1.5 to 6 s for what takes 0.75 s alone (control-plane notes)."""

TIMING_RATIO: Final = 0.5
"""Share of the golden median. A milestone that comes after one and a half times the golden time is late; below that a
busy machine explains it as well."""

BEHIND_S: Final = 1.0
"""Seconds. A run that lacked a milestone so long after the slowest golden run had it, when the fault came, was slow
before the fault. Less is chance: readiness is asked once a second, and kube-proxy's minSyncPeriod is as long."""

NOT_READY_S: Final = 1.0
"""Seconds longer than in any golden run. readyz is asked once a second, so that a single answer is within chance."""

UNSERVED_S: Final = 30.0
"""Seconds longer than in any golden run that a server is not ready and back at the end. A restart of kube-apiserver
takes 3 s on two idle cores; around a silent edit, with three sandboxes side by side, 12 s went by before it."""

LOG_ERRORS: Final = 5.0
"""Lines more than the golden median that are never a sign. Arbitrary: controllers log a conflict of two writers as an
error, and meet a few in each run."""

METRIC_RISE: Final = 3.0
"""Counts, requests or work items more than the golden median that are never a sign. Arbitrary, for the same reason."""

FINAL_WINDOW_S: Final = 3.0
"""Seconds before the last probe that count as "at the end". Three rounds of kube-proxy's default minSyncPeriod (1 s):
what has not been routed by then is not merely being programmed."""

FINAL_MIN_SAMPLES: Final = 3
"""Requests. A probe that times out after seconds makes few of them; where the window holds fewer, the last three
count."""

MIN_SAMPLES: Final = 5
"""Requests of one client in the whole experiment. Below it there was too little traffic to judge its service:
one that answers is asked 20 times a second, and one that hangs still fails once a time-out (some seconds)."""

MIN_FAILURES: Final = 3
"""Requests. One or two failures in a window may be a connection that met a pod on its way up or down, which golden
runs show too; with ERROR_RATE_MARGIN the line to `intermittent`."""

ERROR_RATE_MARGIN: Final = 0.02
"""Share of requests above the worst golden run. Two in a hundred: an order of magnitude above the 99.9 % that Service
owners usually promise, and above one lost request in a window of 60 (20 a second for 3 s)."""

ERROR_RATE_SIGMAS: Final = 3.0
"""Standard deviations of the share of failed requests, where the worst golden run's share is the chance that one fails:
one false alarm in 700. Nothing where golden requests do not fail; in `failover`, where 14 in 100 do, 10 in 100 more."""

MOSTLY_FAILS: Final = 0.5
"""Share of golden requests that fail at the end, from which on a service is not meant to be up there (a workload that
takes it away). A half, because golden runs either have it up or not."""

LATENCY_QUANTILE: Final = 0.9
"""The p90 of a client's latencies, failures counted as endless. Higher quantiles of some hundred requests are noise."""

LATENCY_FLOOR_S: Final = 0.1
"""Seconds above the golden p90 that are never called slower. A loopback request takes about 1 ms and a process that
waits for a core some ten: below a tenth of a second we would measure the machine. It is also where users begin to
notice (Nielsen, Usability Engineering, 1993, chapter 5)."""

LATENCY_RATIO: Final = 2.0
"""Share of the golden p90 on top of it: three times the golden latency is slower."""

MIN_LATENCY_SAMPLES: Final = 20
"""Requests. A p90 needs at least two samples above it."""

CRASH_LOOP_RESTARTS: Final = 2
"""Restarts more than any golden run. One restart may be a lost lease; two in an experiment of a minute is a loop (the
kubelet, too, backs off from the second crash on)."""

BACK_FOR_GOOD_S: Final = 20.0
"""Seconds. What had ended several times and then ran so long, to the end, is in no loop any more: a lease is lost in
ten, and the kubelet's second back-off (CrashLoopBackOff starts at 10 s and doubles) is as long."""

PEAK_SURGE: Final = 0.25
"""Share of the golden peak, rounded up. Kubernetes itself lets a Deployment have so many Pods too many while it rolls
(maxSurge 25 %, pkg/apis/apps/v1/defaults.go), so a peak up to there is not over-provisioning; one pod replaced is not
either. The end allows no surplus at all."""

RUNAWAY_PER_S: Final = 1.0
"""Objects of one kind created per second in the final window. A workload at its end creates none; a controller that
still makes one each second has no reason to stop."""

RUNAWAY_FACTOR: Final = 3.0
"""Times the golden creations of that kind. With the rate above: tells a runaway from a rollout that is merely late."""

LOSS_STOOD_S: Final = 5.0
"""Seconds. A dropped write whose key is not written again within them was lost for good as far as its sender is
concerned: clients retry within milliseconds to a second (client-go's retry.DefaultBackoff), controllers requeue from
5 ms on, doubled each time (workqueue.DefaultControllerRateLimiter), which makes ten tries in five seconds."""

WRITES_SLACK: Final = 3
"""Writes of one object beyond the golden range that tell nothing: status updates are batched as time allows. Golden
runs that vary among themselves widen it by their own range."""

COUNT_SHIFT_S: Final = 3
"""Whole seconds by which objects may come or go earlier or later than in golden runs: as TIMING_FLOOR_S."""

COUNT_LASTS_S: Final = 3
"""Whole seconds for which there are more or fewer objects than in golden runs before it counts, for the same reason."""

VOLATILE_KINDS: Final = frozenset({"Event", "Lease", "IPAddress"})
"""Kinds that are never counted: Events and Leases live by the clock, not by what the workload asks for; an IPAddress is
named after the address that happened to be free, and comes and goes with its Service, which is counted."""

VOLATILE_FIELDS: Final = ("managedFields", "lastHeartbeatTime")
"""Names in paths of fields that are never compared: who wrote which field when (the fields themselves are), and when a
kubelet last reported on its node, which it does each five minutes whatever happens."""

SETTLE_S: Final = 20.0
"""Seconds from the start, or from a fault at rest, in which a workload must come to rest. Golden runs of `deploy` take
2 to 4, of `stateful` 6 to 8. A default, as all that follow: `time_limits` in a spec may say otherwise."""

QUIET_S: Final = 1.0
"""Seconds without a write but volatile ones, once all is there: quiescent. Controllers react within milliseconds, and
what waits longest of what always comes, kube-proxy's sync, within a second."""

STUCK_S: Final = 6.0
"""The same while something is missing. Controllers that fail try again after 5 ms, doubled each time
(workqueue.DefaultControllerRateLimiter): within six seconds ten times."""

UNSPOKEN_S: Final = 11.0
"""The same where a pod is bound whose kubelet has told nothing of it yet. A kubelet that asks for a pod in the moment
after its binding may be refused (the node authorizer does not know of it yet), and its status manager tries again only
every ten seconds (syncPeriod, pkg/kubelet/status): one golden run of a hundred was so."""

DORMANT_S: Final = 13.0
"""Seconds after a fault at rest, or one in a Lease, before which nothing counts as rest: who leads by a Lease that
can't be renewed gives up 10 s after it last was (renewDeadline), tries each 2 s, and takes a moment to end."""

STEADY_S: Final = 1.5
"""Seconds for which clients go on once the workload has come to rest: 30 requests each, by which the end is told."""

CANARY_S: Final = 12.0
"""Seconds in which a new Deployment and Service must answer: a stall if they do not. Golden runs take 0.3 to 2."""

HEAL_S: Final = 20.0
"""Seconds in which the cluster must have come back once the fault is removed, and once more after a restart: recovered.
As SETTLE_S, for the workload starts no faster the second time."""
