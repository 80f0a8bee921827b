"""Detection: what Kubernetes itself told of the failure, and which of it would have paged someone.

A sign is what no golden run showed: a component that ended or was not ready, error lines in its log, a metric that
rose, a warning among the events. Some signs are what a rule looks at that most clusters with Prometheus have
(github.com/kubernetes-monitoring/kubernetes-mixin, alerts/, and the mixins of etcd and CoreDNS); those of severity
critical page. Rules want a condition to last, mostly a quarter of an hour: a sign that has one says that it would come
if things stay as they are at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from classifiers import numbers
from classifiers.golden import Baseline
from classifiers.observation import ComponentHealth, Observation
from classifiers.signals import log_errors, metric_rises, not_ready_s, warnings
from classifiers.verdict import Means, Sign

__all__ = ["detected"]


_DOWN = {
    "kube-apiserver": "KubeAPIDown",
    "kube-controller-manager": "KubeControllerManagerDown",
    "kube-scheduler": "KubeSchedulerDown",
    "kubelet": "KubeletDown",
    "kube-proxy": "KubeProxyDown",
    "etcd": "etcdMembersDown",
    "coredns": "CoreDNSDown",
}
"""Component → the rule for one that can't be scraped any more; all of them critical."""
_OF_METRICS = {
    "apiserver_request_total": ("KubeAPIErrorBudgetBurn", True),
    "apiserver_request_terminations_total": ("KubeAPITerminatedRequests", False),
    "rest_client_requests_total": ("KubeClientErrors", False),
    "etcd_server_proposals_failed_total": ("etcdHighNumberOfFailedProposals", False),
}
"""Metric → the rule that looks at it, and whether it is critical."""


def detected(observation: Observation, baseline: Baseline) -> tuple[Sign, ...]:
    """What was told that golden runs were not told, in the order of time; what has no time last."""
    signs = [
        *_crashes(observation, baseline),
        *_not_ready(observation, baseline),
        *_logs(observation, baseline),
        *_metrics(observation, baseline),
        *_events(observation, baseline),
    ]
    return tuple(sorted(signs, key=lambda sign: (sign.at_s is None, sign.at_s or 0.0, sign.means, sign.component)))


def _crashes(observation: Observation, baseline: Baseline) -> Iterator[Sign]:
    for component in observation.components:
        golden = baseline.components.get(component.name)
        usual = golden.high if golden else 0.0
        if component.restarts <= usual and (component.alive or component.name in baseline.unready):
            continue
        times = f"ended {component.restarts} time{'s' if component.restarts != 1 else ''}"
        why = f"{times}, golden {usual:.0f}" if component.alive else "is dead at the end"
        yield _of_component(component, baseline, Means.CRASH, why, _first_restart_s(observation, component.name))


def _first_restart_s(observation: Observation, name: str) -> float | None:
    samples = (s for series in observation.over_time if series.name == name for s in series.samples)
    return next((s.at_s for s in samples if s.restarts or not s.alive), None)


def _not_ready(observation: Observation, baseline: Baseline) -> Iterator[Sign]:
    seen = not_ready_s(observation)
    for component in observation.components:
        since_s, lasted_s = seen.get(component.name, (None, 0.0))
        usual = baseline.not_ready_s.get(component.name)
        at_end = component.alive and component.ready is False and component.name not in baseline.unready
        if not at_end and lasted_s <= (usual.high if usual else 0.0) + numbers.NOT_READY_S:
            continue
        why = "is not ready at the end" if at_end else f"was not ready for {lasted_s:.0f} s"
        yield _of_component(component, baseline, Means.READYZ, why, since_s)


def _of_component(component: ComponentHealth, baseline: Baseline, means: Means, why: str, at_s: float | None) -> Sign:
    """Its rule fires only if it is down at the end: what has come back is scraped again."""
    down = not component.alive or component.ready is False
    alert = _down(component.name) if down and component.name not in baseline.unready else ""
    return Sign(means=means, component=component.name, why=why, at_s=at_s, alert=alert, pages=bool(alert))


def _down(name: str) -> str:
    plain = name.rpartition("/")[2]
    return next((rule for known, rule in _DOWN.items() if plain == known or plain.startswith(f"{known}-")), "")


def _logs(observation: Observation, baseline: Baseline) -> Iterator[Sign]:
    first = {each.component: each.first for each in observation.log_errors}
    for component, count in log_errors(observation).items():
        golden = baseline.log_errors.get(component)
        most = golden.upper(floor=numbers.LOG_ERRORS, ratio=1.0) if golden else numbers.LOG_ERRORS
        if count > most:
            lines = first.get(component, ())
            told = f": {lines[0]}" if lines else ""
            usual = golden.describe() if golden else "none"
            yield Sign(means=Means.LOG, component=component, why=f"{count} lines of errors, golden {usual}{told}")


def _metrics(observation: Observation, baseline: Baseline) -> Iterator[Sign]:
    for (component, name), rise in metric_rises(observation).items():
        golden = baseline.metric_rises.get((component, name))
        most = golden.upper(floor=numbers.METRIC_RISE, ratio=1.0) if golden else numbers.METRIC_RISE
        if rise > most:
            alert, pages = _OF_METRICS.get(name.partition("{")[0], ("", False))
            why = f"{name} rose by {rise:g}, golden {golden.describe() if golden else 'not at all'}"
            yield Sign(means=Means.METRIC, component=component, why=why, alert=alert, pages=pages)


def _events(observation: Observation, baseline: Baseline) -> Iterator[Sign]:
    """One for each reason and kind of object, at its first time."""
    told: dict[tuple[str, str], Sign] = {}
    events = sorted(warnings(observation), key=lambda warning: warning[1].at_s)
    counts = Counter(what for what, _ in events)
    for what, event in events:
        if what not in baseline.warnings and what not in told:
            more = f", {counts[what]} times in all" if counts[what] > 1 else ""
            why = f"{event.reason} of {event.about}: {event.message}{more}"
            told[what] = Sign(means=Means.EVENT, component=event.who, why=why, at_s=event.at_s)
    return iter(told.values())
