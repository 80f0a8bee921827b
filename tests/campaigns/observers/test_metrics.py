"""Metrics: what a page says, and what is missing."""

from __future__ import annotations

from campaigns.observers.metrics import METRICS, Metric, MetricsReader, values_in
from classifiers.observation import MetricChange
from tests.builders import observation
from tests.campaigns.observers.looked_at import LookedAt

PAGE = b"""# HELP workqueue_depth Current depth of workqueue
# TYPE workqueue_depth gauge
workqueue_depth{name="deployment"} 3
workqueue_depth{name="with } and space"} 1e+01
workqueue_depth_other 100
# TYPE rest_client_requests_total counter
rest_client_requests_total{code="200",host="a",method="GET"} 1000
rest_client_requests_total{code="500",host="a",method="GET"} 2
rest_client_requests_total{code="503",host="a",method="PUT"} 1
rest_client_requests_total{code="<error>",host="a",method="PUT"} 4
plain 7.5
"""


def test_a_metric_is_the_sum_over_its_lines_that_are_of_interest() -> None:
    depth, requests, plain, absent = (
        Metric(n, "") for n in ("workqueue_depth", "rest_client_requests_total", "plain", "none")
    )
    failed = Metric("rest_client_requests_total", "", 'code="5..')
    found = values_in(PAGE, (depth, requests, failed, plain, absent))
    assert found == {
        "workqueue_depth": 13.0, "rest_client_requests_total": 1007.0, 'rest_client_requests_total{code="5..}': 3.0,
        "plain": 7.5, "none": 0.0,
    }  # fmt: skip


def test_before_and_after_are_told_and_what_does_not_answer_is_missing() -> None:
    scheduler = ("kube-scheduler", "/metrics")
    seen = LookedAt(
        pages={("etcd", "/metrics"): (200, b""), scheduler: (200, b'scheduler_pending_pods{queue="a"} 2\n')}
    )
    reader = MetricsReader(seen.cluster)
    reader.start()
    seen.pages[scheduler] = (0, b"Connection refused")
    seen.pages["etcd", "/metrics"] = (200, b"etcd_server_slow_apply_total 5\n")
    reader.stop()
    added = reader.add_to(observation(missing=("before",)))
    changes = {(c.component, c.name): (c.before, c.after) for c in added.metrics}
    assert changes["kube-scheduler", "scheduler_pending_pods"] == (2.0, None)
    assert changes["etcd", "etcd_server_slow_apply_total"] == (0.0, 5.0)
    assert {c.component for c in added.metrics} == {"kube-scheduler", "etcd"}, "the others serve no pages"
    assert added.missing == ("before", "metrics of kube-scheduler at the end: HTTP 0 Connection refused")
    assert added.blind == (), "no class is drawn from them"
    assert isinstance(added.metrics[0], MetricChange)


def test_every_metric_has_a_reason_and_a_name_of_its_own() -> None:
    for metrics in METRICS.values():
        assert all(metric.why for metric in metrics) and len({m.key for m in metrics}) == len(metrics)
