"""Network: the objects that carry capacity are right, traffic is not.

Pods are ready as many as golden runs had, yet at the end a service does not answer, or not reliably, from some or all
nodes; or ready pods do not answer clients on other nodes at their own addresses; or the canary's Service got its
endpoints and still no traffic passed. Endpoints, kube-proxy, routes and pod addresses fail this way. So does DNS: a
service's name has to lead to its address whatever its pods do.

With fewer ready pods than golden, but some, a service has to answer from them: one that is wholly unreachable is
still a network failure, while a few failed requests are then the missing pods' doing. With none ready nobody could
answer, and the missing pods are the failure.

A Service (or EndpointSlice) that is missing altogether, because the write was lost, is judged as network too: all
pods run, what was paid for is there, and what a user would report is "the service can't be reached", not "we have
too few replicas". That an object is missing is kept beside it: less-resources holds as well.
"""

from __future__ import annotations

from classifiers.client import ClientView, client_views
from classifiers.golden import Baseline, ready_pods
from classifiers.observation import Observation, ProbeKind
from classifiers.symptoms.stall import PROGRESS_STAGES
from classifiers.verdict import ClientFailure, OrchestratorFailure, Symptom

__all__ = ["absent", "detect"]

_FAILING = (ClientFailure.UNREACHABLE, ClientFailure.INTERMITTENT)


def detect(observation: Observation, baseline: Baseline) -> Symptom | None:
    signs = (*_services(observation, baseline), *_canary(observation, baseline))
    return Symptom(orchestrator=OrchestratorFailure.NETWORK, why="; ".join(signs)) if signs else None


def absent(observation: Observation, baseline: Baseline) -> str:
    """Why it does not hold, in words."""
    if baseline.ready_pods is not None and not ready_pods(observation):
        return "no pod is ready, so nobody could answer"
    views = client_views(observation, baseline)
    served = sum(v.at_end not in _FAILING for v in views)
    few = "" if served == len(views) else ", the others no worse than the missing pods make them"
    return f"{served} of {len(views)} clients are served at the end as in golden runs{few}"


def _services(observation: Observation, baseline: Baseline) -> list[str]:
    ready, golden = ready_pods(observation), baseline.ready_pods
    views = client_views(observation, baseline)
    signs = []
    for path, kind in sorted({(v.service, v.kind) for v in views}):
        needs_pods = kind is not ProbeKind.DNS
        if needs_pods and (golden is None or not ready):
            continue
        few = needs_pods and golden is not None and ready < golden.low
        counts = _FAILING[:1] if few else _FAILING
        seen = [v for v in views if v.service == path]
        signs += [_words(path, seen, what, ready) for what in counts if any(v.at_end is what for v in seen)]
    return signs


def _words(service: str, seen: list[ClientView], what: ClientFailure, ready: int) -> str:
    failing = [v for v in seen if v.at_end is what]
    where = "every node" if len(failing) == len(seen) else ", ".join(v.vantage for v in failing)
    pods = "" if failing[0].kind is ProbeKind.DNS else f"{ready} pods are ready, but "
    return f"{pods}{service} is {what.value} from {where} at the end ({failing[0].why})"


def _canary(observation: Observation, baseline: Baseline) -> list[str]:
    stages, golden = observation.canary.stages, baseline.canary.get("traffic")
    if golden is None or not golden.always or "traffic" not in stages or stages["traffic"] is not None:
        return []
    if any(stages.get(stage) is None for stage in PROGRESS_STAGES if stage in baseline.canary):
        return []  # the control plane did not get that far: stall
    return [
        f"the canary's endpoints came, its traffic did not within {observation.canary.deadline_s:.0f} s "
        f"(golden {golden.describe('s')})"
    ]
