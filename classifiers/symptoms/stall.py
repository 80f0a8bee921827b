"""Stall: running services may go on, but the cluster makes no progress any more.

Three signs, each enough:

- the canary, a new Deployment and Service after the workload, does not come right: the API refused it, or a stage up to
  `endpoints` did not come within its deadline (the last stage, `traffic`, is the network's business);
- kube-controller-manager or kube-scheduler is dead, not ready or in a crash loop at the end;
- the workload hot-loops: it never settled, and not one Pod was ever made for it; components write and write and get
  nowhere with it (what piles up meanwhile is told as more-resources beside it). A workload that has settled at too few
  pods is not stalled but less-resources: it got where its stored state says; so is one where only some pods fail.

The canary is the arbiter because it is new and untouched by the fault: where it comes right, the control plane works,
and what is wrong with the workload is confined to it.
"""

from __future__ import annotations

from classifiers.components import CONTROLLERS, broken
from classifiers.golden import Baseline, created_per_kind
from classifiers.observation import Observation
from classifiers.verdict import OrchestratorFailure, Symptom

__all__ = ["PROGRESS_STAGES", "absent", "canary_refused", "detect"]

PROGRESS_STAGES = ("created", "pod-created", "pod-scheduled", "pod-ready", "endpoints")
"""The canary's stages that the control plane and the kubelets bring about, in order."""


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    signs = (
        *_canary(observation, baseline),
        *broken(observation, baseline, CONTROLLERS),
        *_hot_loop(observation, baseline),
    )
    return Symptom(orchestrator=OrchestratorFailure.STALL, why="; ".join(signs)) if signs else None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words."""
    reached = [(s, at) for s in PROGRESS_STAGES if (at := observation.canary.stages.get(s)) is not None]
    if not reached:
        return f"{' and '.join(CONTROLLERS)} are up"
    stage, after_s = reached[-1]
    golden = baseline.canary.get(stage)
    usual = f" (golden {golden.describe('s')})" if golden else ""
    return f"a new workload got to `{stage}` in {after_s:.1f} s{usual}; {' and '.join(CONTROLLERS)} are up"


def _canary(observation: Observation, baseline: Baseline) -> tuple[str, ...]:
    canary = observation.canary
    if canary_refused(observation, baseline):
        return (f"the API refused the canary: {canary.error}",)
    expected = [s for s in PROGRESS_STAGES if s in canary.stages and s in baseline.canary and baseline.canary[s].always]
    missing = [s for s in expected if canary.stages[s] is None]
    if not missing:
        return ()
    golden = baseline.canary[missing[0]]
    return (f"the canary never got to `{missing[0]}` within {canary.deadline_s:.0f} s (golden {golden.describe('s')})",)


def canary_refused(observation: Observation, baseline: Baseline) -> bool:
    """The canary's objects could not even be created, though golden runs could always. What the API said to a canary
    that was created all the same (a warning, a try that was repeated) is no refusal."""
    canary, golden = observation.canary, baseline.canary.get("created")
    return golden is not None and golden.always and canary.error is not None and canary.stages.get("created") is None


def _hot_loop(observation: Observation, baseline: Baseline) -> tuple[str, ...]:
    settled, pods = baseline.milestones.get("settled"), baseline.created.get("Pod")
    if settled is None or not settled.always or observation.milestones.get("settled") is not None:
        return ()
    # The canary's own pods count in both, so "none for the workload" is: as many fewer as the workload wants.
    made = created_per_kind(observation)
    wanted = observation.wanted_pods
    if not wanted or observation.pods or pods is None or made.get("Pod", 0) > pods.low - wanted:
        return ()
    return (f"the workload never settled, and not one of its {wanted} pods was made",)
